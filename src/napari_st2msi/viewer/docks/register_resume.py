"""Landmarks of an earlier session that were not saved: they are offered, and taken up again."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from typing import Any

from napari_st2msi.errors import St2msiError
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_autosave import Autosave
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.parts.messages import MessageArea


class Resuming:
    """Offers what was left unsaved of a section, in the message area.

    Parameters
    ----------
    editor
        The landmarks.
    autosave
        What keeps them beside the section.
    messages
        Where they are offered.
    """

    def __init__(self, editor: LandmarkEditor, autosave: Autosave, messages: MessageArea) -> None:
        self._editor, self._autosave, self._messages = editor, autosave, messages

    def offer(self, section: Section) -> None:
        """Offer to go on with landmarks that were not saved, if there are any."""
        try:
            facts = self._autosave.offer()
        except St2msiError as problem:
            self._messages.show_warning(str(problem))
            return
        if facts is not None and facts.get("pairs"):
            words = unsaved_in_words(len(facts["pairs"]), self._autosave.when(section))
            self._messages.show_warning(words, action=("Resume", partial(self.resume, facts)))

    def resume(self, facts: dict[str, Any]) -> None:
        """Go on with landmarks that were not saved; that can be undone."""
        try:
            self._editor.restore(facts)
        except St2msiError as problem:
            self._messages.show_error(str(problem))
        else:
            self._messages.show_result(f"Resumed {len(facts['pairs'])} landmarks.")


def unsaved_in_words(n: int, when: datetime | None) -> str:
    """Return that landmarks were left unsaved, and when."""
    kept = f"{n} landmarks of this section were" if n != 1 else "A landmark of this section was"
    return f"{kept} not saved." if when is None else f"{kept} not saved on {when:%d %B at %H:%M}."
