"""The parts of the Data dock that lay MSI over ST and give every spot its ions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_st2msi.errors import FileProblem
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Pairing
from napari_st2msi.registration.persistence import registration_of
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField, PathField, words_for
from napari_st2msi.viewer.parts.recipe_form import RecipeForm
from napari_st2msi.viewer.parts.words import Words

if TYPE_CHECKING:
    from napari_st2msi.registration.registration import Registration

_TRANSFORMS = (("affine", "affine"), ("similarity", "similarity (no shear)"))


class RegisterView(QWidget):
    """Landmarks and the kind of transform."""

    #: Other landmarks or another transform were chosen.
    changed = Signal()
    #: The user wants to register.
    pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.landmarks = PathField("those of the section", filters="Landmarks (*.csv);;All files (*)")
        self.landmarks.edit.setToolTip("A CSV of pairs of points in MSI and in ST. Empty: those the section came with.")
        self.landmarks.setAccessibleName("Landmarks")
        self.transform = ChoiceField(_TRANSFORMS)
        self.transform.setAccessibleName("Transform")
        self.transform.setToolTip("Both may mirror. An affine needs three landmarks at least, a similarity two.")
        self.result = Words(role="note")
        self.button = flat("Register again", "Lay MSI over ST by the landmarks")
        rows, layout = form()
        layout.addRow("Landmarks", self.landmarks)
        layout.addRow("Transform", self.transform)
        _stack(self, rows, self.result, self.button)
        self.landmarks.changed.connect(self.changed)
        self.transform.changed.connect(self.changed)
        self.button.clicked.connect(self.pressed)

    @property
    def file(self) -> Path | None:
        """The landmarks to use instead of those of the section."""
        return self.landmarks.value()

    def summary(self) -> str:
        """Return what came of it, or what is chosen, in few words."""
        return self.result.text().partition("\n")[0] or str(self.transform.value())

    def say(self, text: str) -> None:
        """Show what came of it."""
        self.result.setText(text)
        self.result.setVisible(bool(text))


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


def registration_in_words(registration: Registration) -> str:
    """Return how far off a registration is where nobody clicked."""
    used = int(registration.landmarks.enabled.sum())
    error = registration.left_out
    if not np.isfinite(error["median"]):
        return f"{used} landmarks: too few to measure the error."
    return (
        f"{used} landmarks. One left out is missed by {error['median']:,.0f} µm (median), "
        f"{error['max']:,.0f} µm at most."
    )


def registered_in_words(section: Section) -> str:
    """Return how a section that is registered came to be so, and how far off it is."""
    try:
        registration = registration_of(section)
    except FileProblem as error:
        return str(error)
    if registration is None:
        return "ST and MSI were in one frame when they were opened."
    return "\n".join([registration_in_words(registration), *registration.warnings])


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


def _stack(outer: QWidget, content: QWidget, result: Words, button: QPushButton) -> None:
    layout = QVBoxLayout(outer)
    layout.setContentsMargins(0, 0, 0, 4)
    layout.setSpacing(4)
    layout.addWidget(content)
    layout.addWidget(result)
    row = QHBoxLayout()
    row.addWidget(button)
    row.addStretch()
    layout.addLayout(row)
