"""What to compare: models, what they see of genes, and ways of holding out, by ticks or from a config."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QWidget
from superqt import QFlowLayout

from napari_st2msi.benchmarking.config import OWN_FEATURES, Config
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.models.registry import BASELINES, model_names
from napari_st2msi.recipe import PRESETS, Recipe
from napari_st2msi.report.benchmark import NO_FEATURES
from napari_st2msi.viewer.parts.choice_words import words_for

#: What works without genes belongs into every comparison.
FIRST_MODELS = ("two_stage", "ridge", "coordinates", "position")


def model_words(name: str) -> str:
    """Return what a model is called in a row of a table."""
    return words_for(name).partition(" (")[0]


def features_words(name: str) -> str:
    """Return what models see, in few words."""
    if name == NO_FEATURES:
        return "no gene"
    return "as in Train" if name == OWN_FEATURES else words_for(name)


def names_in_words(names: Mapping[Any, Any]) -> str:
    """Return what a combination is, from its names, without that of the data."""
    model, features, protocol = (str(names[name]) for name in ("model", "features", "protocol"))
    seed = f" · seed {names['seed']}" if names["seed"] else ""
    return f"{model_words(model)} · {features_words(features)} · {protocol_words(protocol)}{seed}"


class Ticks(QWidget):
    """A tick for each of several names, as many in a line as there is room for.

    Parameters
    ----------
    names
        Names and what they are called.
    ticked
        Which are ticked at first.
    """

    #: The choice changed.
    changed = Signal()

    def __init__(self, names: Sequence[tuple[str, str]], ticked: Sequence[str]) -> None:
        super().__init__()
        self.boxes: dict[str, QCheckBox] = {}
        layout = QFlowLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setHorizontalSpacing(12)
        layout.setVerticalSpacing(3)
        for name, words in names:
            box = QCheckBox(words)
            box.setChecked(name in ticked)
            box.toggled.connect(lambda _: self.changed.emit())
            self.boxes[name] = box
            layout.addWidget(box)

    def chosen(self) -> tuple[str, ...]:
        """Return the ticked ones."""
        return tuple(name for name, box in self.boxes.items() if box.isChecked())

    def summary(self) -> str:
        """Return what is ticked, in few words."""
        ticked = [box.text() for box in self.boxes.values() if box.isChecked()]
        return ", ".join(ticked) if len(ticked) < 4 else f"{len(ticked)} of {len(self.boxes)}"


def models_ticks(ticked: Sequence[str]) -> Ticks:
    """Return the choice of models, those without genes last."""
    names = sorted(model_names(), key=lambda name: name in BASELINES)
    without = f" ({features_words(NO_FEATURES)})"
    return Ticks([(name, model_words(name) + without * (name in BASELINES)) for name in names], ticked)


def features_ticks(ticked: Sequence[str]) -> Ticks:
    """Return the choice of what models see."""
    return Ticks([(name, features_words(name)) for name in (OWN_FEATURES, *PRESETS)], ticked)


def config_of(
    title: str, recipe: Recipe, models: Sequence[str], features: Sequence[str], protocols: Sequence[str]
) -> Config:
    """Return the config of what is ticked.

    Raises
    ------
    RecipeProblem
        Nothing is ticked of something.
    """
    chosen = {"models": models, "features": features, "protocols": protocols}
    return Config.of(
        {"title": title, "recipe": recipe.model_dump(), **{name: list(given) for name, given in chosen.items()}}
    )


def n_combinations(models: Sequence[str], features: Sequence[str], protocols: Sequence[str]) -> int:
    """Return how many combinations that makes; what sees no gene is there once for all features."""
    without = sum(name in BASELINES for name in models)
    return ((len(models) - without) * len(features) + without) * len(protocols)


def config_in_words(path: Path, config: Config) -> str:
    """Return what a config compares."""
    counts = {
        "model": len(config.models),
        "set of features": len(config.features),
        "way of holding out": len(config.protocols),
        "seed": len(config.seeds),
    }
    plural = {"set of features": "sets of features", "way of holding out": "ways of holding out"}
    parts = [f"{n} {name if n == 1 else plural.get(name, name + 's')}" for name, n in counts.items()]
    names = ", ".join(each.name for each in config.data) or "the paired sections that are ticked"
    held = ", ".join(protocol_words(each.name) for each in config.protocols)
    return f"'{path.name}': {', '.join(parts)}, on {names}. Held out: {held}."
