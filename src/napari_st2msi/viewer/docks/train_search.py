"""The group Search of the Train dock: how training searches, and a search of now that fills in the forms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.evaluation.search import TRIALS
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.recipe_form import RecipeForm, split_unit
from napari_st2msi.viewer.parts.words import Words

if TYPE_CHECKING:
    from napari_st2msi.evaluation.search import Search
    from napari_st2msi.recipe import Recipe

_NOTE = (
    "With trials, Train searches anew before each fit, and so measures what a search is worth. "
    "Search settings makes one search now, on inner folds, and puts what it found into the forms."
)


class SearchPart(QWidget):
    """The form of the recipe's search, and a button that searches now.

    Parameters
    ----------
    form
        Edits `recipe.search`.
    """

    #: Search now.
    pressed = Signal()

    def __init__(self, form: RecipeForm[Any]) -> None:
        super().__init__()
        tip = f"Try {TRIALS} settings of the model, or as many as Trials says, and put the best into the forms"
        self.button = flat("Search settings", tip)
        self.button.clicked.connect(self.pressed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(form)
        layout.addWidget(Words(_NOTE, role="note"))
        row = QHBoxLayout()
        row.addWidget(self.button)
        row.addStretch()
        layout.addLayout(row)


def found_in_words(before: Recipe, found: Search) -> str:
    """Say what a search changed, under the titles of the forms, and what it may be worth."""
    best, first = float(found.history["best"].iloc[-1]), float(found.history["r2"].iloc[0])
    if not np.isfinite(best):
        return f"{found.ended} None was scored, so the settings are as they were."
    if not found.changed:
        return f"{found.ended} None was better than the settings as they are (mean R² {first:.3f} on inner folds)."
    changed = "; ".join(_change(path, before, value) for path, value in found.changed.items())
    was = f"{first:.3f}" if np.isfinite(first) else "unknown"
    return (
        f"{found.ended} Changed: {changed}. Mean R² on inner folds: {best:.3f} (was {was}). "
        "The best of many is flattered; set Trials and train to measure what a search is worth."
    )


def _change(path: str, before: Recipe, value: Any) -> str:
    section, name = path.split(".")
    choices = getattr(before, section)
    title = split_unit(type(choices).model_fields[name].title or name)[0]
    return f"{title} {_value(getattr(choices, name))} → {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, tuple | list):
        return ", ".join(_value(each) for each in value)
    return "none" if value is None else words_for(value) if isinstance(value, str) else f"{value:,}"
