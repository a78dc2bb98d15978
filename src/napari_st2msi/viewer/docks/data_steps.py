"""The parts of the Data dock that lay MSI over ST and give every spot its ions."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_st2msi.errors import FileProblem
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.persistence import registration_of
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_view import fit_in_words
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.recipe_form import RecipeForm
from napari_st2msi.viewer.parts.words import Words


class RegisterView(QWidget):
    """How MSI lies over ST, and the way to the dock that decides it."""

    #: The user wants to register, or to see how it was done.
    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.result = Words(role="note")
        self.button = flat("Open Register", "Landmarks, their errors, and how MSI lies over ST")
        _stack(self, None, self.result, self.button)
        self.button.clicked.connect(self.pressed)

    def summary(self) -> str:
        """Return what holds, in few words."""
        return str(self.result.text().partition("\n")[0])

    def say(self, text: str) -> None:
        """Show what holds."""
        self.result.setText(text)


class PairView(QWidget):
    """How pixels become the ions of spots, and what came of it."""

    #: The choices changed; carries them.
    changed = Signal(object)
    #: The user wants to pair.
    pressed = Signal()

    def __init__(self, choices: Pairing) -> None:
        super().__init__()
        by_distance = ("nearest", "inverse_distance")
        self.form = RecipeForm(
            choices,
            shown_when={
                "radius_um": lambda chosen: chosen["method"] == "radius",
                "k": lambda chosen: chosen["method"] in by_distance,
                "max_distance_um": lambda chosen: chosen["method"] in by_distance,
                "min_coverage": lambda chosen: chosen["method"] in ("overlap", "sum"),
                "spot_diameter_um": lambda chosen: chosen["method"] in ("overlap", "sum"),
            },
        )
        self.result = Words(role="note")
        self.button = flat("Pair again", "Give every spot the ions of the pixels under it")
        _stack(self, self.form, self.result, self.button)
        self.form.changed.connect(self.changed)
        self.button.clicked.connect(self.pressed)

    def summary(self) -> str:
        """Return the choices in few words."""
        return pairing_in_words(self.form.value)

    def say(self, text: str) -> None:
        """Show what came of it."""
        self.result.setText(text)
        self.result.setVisible(bool(text))


def registered_in_words(section: Section) -> str:
    """Return how a section that is registered came to be so, and how far off it is."""
    try:
        registration = registration_of(section)
    except FileProblem as error:
        return str(error)
    if registration is None:
        return "ST and MSI were in one frame when they were opened."
    return fit_in_words(registration)


def pairing_in_words(choices: Pairing) -> str:
    """Return how pixels and spots are paired, in few words."""
    words = words_for(choices.method)
    if choices.method == "radius":
        return f"{words} of {choices.radius_um:g} µm"
    if choices.method in ("nearest", "inverse_distance"):
        return f"{words} · {choices.k} pixels"
    return f"{words} · at least {choices.min_coverage:.0%} covered"


def paired_in_words(paired: PairedDataset, n_spots: int) -> str:
    """Return what a pairing gave: how many spots have ions, from how many pixels, how well covered."""
    covered = paired.covered
    n_covered = int(covered.sum())
    if not n_covered:
        return f"None of {n_spots:,} spots has ions."
    obs = paired.obs[covered]
    text = f"{n_covered:,} of {n_spots:,} spots have ions"
    if n_covered < n_spots:
        text += f"; {n_spots - n_covered:,} have too little MSI under them and are left out"
    pixels, coverage = float(np.median(obs["n_pixels"])), float(np.median(obs["coverage"]))
    if pixels > 0:
        text += f". Median {pixels:g} pixels a spot, {coverage:.0%} of its area covered"
    return text + "."


def _stack(outer: QWidget, content: QWidget | None, result: Words, button: QPushButton) -> None:
    layout = QVBoxLayout(outer)
    layout.setContentsMargins(0, 0, 0, 4)
    layout.setSpacing(4)
    if content is not None:
        layout.addWidget(content)
    layout.addWidget(result)
    row = QHBoxLayout()
    row.addWidget(button)
    row.addStretch()
    layout.addLayout(row)
