"""What the Register dock lays out itself: tools and table of landmarks, and the choice of transform."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_st2msi.registration.registration import Candidate, Registration
from napari_st2msi.registration.transforms import POINT_TRANSFORMS
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_candidates import CandidateTable
from napari_st2msi.viewer.docks.register_context import sides_of
from napari_st2msi.viewer.docks.register_table import LandmarkTable, Row
from napari_st2msi.viewer.docks.register_work import Choices
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import SIDES, Pair, Side
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.dock import Level, form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.words import Words

_MIRRORED = ((None, "found by the fit"), (False, "no"), (True, "yes"))
_NEEDED = 3


class LandmarksView(QWidget):
    """Tools to place landmarks, what to do next, and the table of their errors."""

    def __init__(self, editor: LandmarkEditor) -> None:
        super().__init__()
        self._editor = editor
        self.add = QToolButton()
        self.add.setText("Add landmarks")
        self.add.setCheckable(True)
        self.add.setToolTip("Click the same place on both sides; either side first (L)")
        self.add.setProperty("role", "flat")
        self.undo = _small("↶", "Undo", "Ctrl+Z")
        self.redo = _small("↷", "Redo", "Ctrl+Shift+Z")
        self.disable = _small("Disable", "Leave the selected landmark out of the fit, or use it again", "E")
        self.delete = _small("Delete", "Delete the selected landmark", "Del")
        self.hint = Words()
        self.table = LandmarkTable(editor)
        self.result = Words(role="note")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(ButtonRow(self.add, self.undo, self.redo, self.disable, self.delete))
        layout.addWidget(self.hint)
        layout.addWidget(self.table)
        layout.addWidget(self.result)

    def show_rows(self, rows: list[Row]) -> None:
        """Show landmarks with their errors."""
        self.table.set_rows(rows)
        self.table.show_landmark(self._editor.selected)
        self.table.setVisible(bool(rows))

    def show_state(self) -> None:
        """Show what can be done, and what to do next."""
        editor = self._editor
        self.undo.setEnabled(editor.can_undo)
        self.redo.setEnabled(editor.can_redo)
        selected = next((pair for pair in editor.pairs if pair.id == editor.selected), None)
        self.delete.setEnabled(selected is not None)
        self.disable.setEnabled(selected is not None)
        self.disable.setText("Enable" if selected is not None and not selected.enabled else "Disable")
        self.hint.setText(next_in_words(editor.pairs, selected, self.add.isChecked(), editor.sides))

    def say(self, text: str) -> None:
        """Show what came of the fit."""
        self.result.setText(text)
        self.result.setVisible(bool(text))


class TransformView(QWidget):
    """Which transform is fitted, and how all of them did."""

    #: The choice changed; carries the `Choices`.
    changed = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        kinds = [(kind, each.label) for kind, each in POINT_TRANSFORMS.items()]
        self.transform = ChoiceField([("auto", "automatic: smallest error left out"), *kinds])
        self.transform.setAccessibleName("Transform")
        self.mirrored = ChoiceField(_MIRRORED)
        self.mirrored.setAccessibleName("Mirrored")
        self.mirrored.setToolTip("Whether one of the two sections lies upside down on its slide")
        self.table = CandidateTable()
        self.note = Words("Median, mean and maximum are errors of landmarks left out.", role="note")
        self._chosen = ""
        rows, layout = form()
        layout.addRow("Transform", self.transform)
        layout.addRow("Mirrored", self.mirrored)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 4)
        outer.setSpacing(4)
        outer.addWidget(rows)
        outer.addWidget(self.table)
        outer.addWidget(self.note)
        for field in (self.transform, self.mirrored):
            field.changed.connect(lambda: self.changed.emit(self.value))
        self.show_candidates(())

    @property
    def value(self) -> Choices:
        """What is chosen."""
        return Choices(self.transform.value(), self.mirrored.value())

    def set_value(self, choices: Choices) -> None:
        """Show a choice without announcing it."""
        for field, value in ((self.transform, choices.transform), (self.mirrored, choices.reflection)):
            field.blockSignals(True)
            field.set_value(value)
            field.blockSignals(False)

    def show_candidates(self, candidates: tuple[Candidate, ...]) -> None:
        """Show how all transforms did."""
        self.table.set_candidates(candidates)
        self.table.setVisible(bool(candidates))
        self.note.setVisible(bool(candidates))
        self._chosen = next((one.label for one in candidates if one.chosen), "")

    def summary(self) -> str:
        """Return what is chosen in few words."""
        if self.transform.value() != "auto":
            return str(self.transform.box.currentText())
        return f"automatic: {self._chosen}" if self._chosen else "automatic"


def next_in_words(
    pairs: tuple[Pair, ...], selected: Pair | None, adding: bool, sides: Mapping[Side, str] = SIDES
) -> str:
    """Return what to do next; `sides` says what the two sides are called."""
    if selected is not None and selected.predicted is not None:
        where = sides[selected.predicted]
        return f"Landmark {selected.id} is predicted in the {where}: drag it to its place, or click it to accept it."
    lacking = None if selected is None else next((side for side in sides if not selected.placed(side)), None)
    if selected is not None and lacking is not None:
        word = "Now click" if adding else "Press L, then click"
        return f"{word} landmark {selected.id} in the {sides[lacking]}."
    n_complete = sum(pair.complete for pair in pairs)
    more = _NEEDED - n_complete
    still = "" if more <= 0 else f" {more} more {'pair is' if more == 1 else 'pairs are'} needed."
    if adding:
        return f"Click a place that you recognise, on either side.{still}"
    if not pairs:
        return "Press Add landmarks, then click the same place on both sides."
    return f"Drag a marker to move it, or add more.{still}"


def standing_in_words(
    name: str, n: int, *, changes: int, pending: bool, registered: bool, unsaved: bool, verb: str
) -> tuple[str, Level]:
    """Return how far a section has come, and whether that is what it holds.

    Parameters
    ----------
    n
        How many landmarks there are.
    changes
        How many edits are not applied.
    pending
        Whether there is a registration to apply.
    verb
        What the button that applies it says.
    """
    parts = [name, f"{n} landmark{'' if n == 1 else 's'}"]
    if not pending and not changes:
        parts.append(("registered, not saved" if unsaved else "registered") if registered else "not registered yet")
        return " · ".join(parts), "ready"
    if changes and registered:
        parts.append(f"{changes} change{'' if changes == 1 else 's'} not applied")
    else:
        parts.append("not applied" if pending else "not registered yet")
    return " · ".join(parts) + (f". Press {verb}." if pending else ""), "stale"


def fit_in_words(registration: Registration) -> str:
    """Return how well a registration fits, and what to heed."""
    return "\n".join([errors_in_words(registration), *registration.warnings])


def applied_in_words(section: Section, registration: Registration) -> str:
    """Return what was done when a registration was applied."""
    words = f"MSI lies over the {sides_of(section)['fixed']}. {errors_in_words(registration)}"
    return words if section.has_st else f"{words} There are no spots, so there is no confidence for each of them."


def errors_in_words(registration: Registration) -> str:
    """Return the errors of a registration in one line."""
    used = int(registration.landmarks.enabled.sum())
    if registration.source != "landmarks":
        how = "Found from the images" if registration.source == "automatic" else "Refined on the images"
        if not len(registration.landmarks):
            return f"{how}."
        return f"{how}. RMS at the {used} landmarks {_um(registration.rms_um)}."
    error = registration.left_out
    known = [one for one in registration.candidates if one.chosen]
    kind = known[0].label if known else POINT_TRANSFORMS[registration.transform.kind].label
    if not np.isfinite(error["median"]):
        return f"{used} landmarks, {kind}: too few to measure the error. RMS {_um(registration.rms_um)}."
    return (
        f"{used} landmarks, {kind}. One left out is missed by {_um(error['median'])} (median), "
        f"{_um(error['max'])} at most. RMS {_um(registration.rms_um)}."
    )


def _um(value: float) -> str:
    return f"{value:,.0f} µm" if value >= 9.95 else f"{value:.1f} µm"


def _small(text: str, tip: str, key: str) -> QPushButton:
    button = flat(text, f"{tip} ({key})")
    button.setAccessibleName(tip)
    return button
