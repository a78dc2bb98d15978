"""What keys and buttons of the Register dock do to its landmarks."""

from __future__ import annotations

from qtpy.QtWidgets import QAbstractButton

from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.parts.messages import MessageArea


class Commands:
    """Undo, redo, and what is done to the landmark selected.

    Parameters
    ----------
    editor
        The landmarks.
    add
        The button that is down while clicks add landmarks.
    messages
        Where it is said what was undone, until the next edit.
    """

    def __init__(self, editor: LandmarkEditor, add: QAbstractButton, messages: MessageArea) -> None:
        self._editor, self._add, self._messages = editor, add, messages
        self._said = ""
        editor.changed.connect(self._on_edit)

    def undo(self) -> None:
        """Take back the last edit."""
        self._say("Undone", self._editor.undo())

    def redo(self) -> None:
        """Do again what was taken back."""
        self._say("Done again", self._editor.redo())

    def delete(self) -> None:
        """Delete the landmark selected."""
        if (id := self._editor.selected) is not None:
            self._editor.delete(id)

    def disable(self) -> None:
        """Leave the landmark selected out of the fit, or use it again."""
        if (id := self._editor.selected) is not None:
            self._editor.enable(id, not self._editor.pair(id).enabled)

    def accept(self) -> None:
        """Place the landmark selected where it is predicted."""
        if (id := self._editor.selected) is not None:
            self._editor.confirm(id)

    def stop(self) -> None:
        """Stop adding, or select nothing."""
        if self._add.isChecked():
            self._add.setChecked(False)
        else:
            self._editor.select(None)

    def _say(self, done: str, step: str) -> None:
        # An offer, such as to resume, is worth more.
        if step and not self._messages.action.isVisible():
            self._said = f"{done}: {step}."
            self._messages.show_result(self._said)

    def _on_edit(self) -> None:
        """Take away what was said of an edit before."""
        if self._said and self._messages.text == self._said:
            self._messages.clear()
        self._said = ""
