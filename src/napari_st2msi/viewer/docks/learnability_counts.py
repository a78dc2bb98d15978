"""How many ions are in each tier, and what Moran's I is worth under each way of holding out."""

from __future__ import annotations

from functools import partial

import numpy as np
import pandas as pd
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.evaluation.tiers import TIERS
from napari_st2msi.report.learnability import TOO_FEW
from napari_st2msi.report.words import fixed
from napari_st2msi.viewer.docks.learnability_plot import TIER_SIGNS, tier_kinds
from napari_st2msi.viewer.parts.buttons import ButtonRow, tool
from napari_st2msi.viewer.parts.style import Look
from napari_st2msi.viewer.parts.words import Words


class TierCounts(QWidget):
    """A button for each tier with how many ions are in it; pressed, these are shown alone."""

    #: The user wants these ions alone, or all again when empty.
    brushed = Signal(frozenset)

    def __init__(self) -> None:
        super().__init__()
        self._ions: dict[int, frozenset[str]] = {}
        self.buttons = {tier: tool("", f"Tier {tier}: {words}", checkable=True) for tier, words in TIERS.items()}
        row = ButtonRow(*self.buttons.values())
        for tier, button in self.buttons.items():
            button.clicked.connect(partial(self._on_clicked, tier))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(row)
        layout.addWidget(
            Words("Prediction can stand in (1), can guide (2), or adds nothing: measure it (3).", role="note")
        )

    def show_found(self, found: Learnability) -> None:
        """Count the ions of other tiers."""
        self._ions = {
            tier: frozenset(found.table.index[found.table["tier"] == tier].astype(str)) for tier in self.buttons
        }
        for tier, button in self.buttons.items():
            button.setText(f"{TIER_SIGNS[tier]} Tier {tier}: {found.counts[tier]:,}")
            button.setEnabled(bool(self._ions[tier]))

    def show_brushed(self, ions: frozenset[str]) -> None:
        """Press the button whose ions are shown alone."""
        for tier, button in self.buttons.items():
            button.setChecked(bool(ions) and ions == self._ions.get(tier))

    def set_look(self, look: Look) -> None:
        """Write in the colours of the scatter."""
        for kind, button in zip(tier_kinds(look), self.buttons.values(), strict=True):
            button.setStyleSheet(f'QToolButton[role="flat"]:!checked {{ color: {kind.colour}; }}')

    def _on_clicked(self, tier: int, wanted: bool) -> None:
        self.brushed.emit(self._ions[tier] if wanted else frozenset())


class FamousView(QWidget):
    """Spearman's correlation of Moran's I with skill and with gain, under each way of holding out side by side."""

    #: The user clicked a number; carries the column of the table that Moran's I was correlated with.
    chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(3)
        self._grid.setVerticalSpacing(3)
        self.numbers: dict[str, QWidget] = {}
        self.words = Words(role="note")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addLayout(self._grid)
        layout.addWidget(self.words)

    def show_found(self, found: Learnability) -> None:
        """Show other correlations."""
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        self.numbers = {}
        columns = {
            ("coordinates", "r2"): "coordinates",
            (found.model, "r2"): "model",
            (found.model, "gain"): "gain",
        }
        for place, title in enumerate(columns.values(), start=1):
            label = QElidingLabel(title)  # at large fonts
            label.setToolTip(title)
            label.setProperty("role", "note")
            label.setAlignment(Qt.AlignmentFlag.AlignRight)
            self._grid.addWidget(label, 0, place)
        famous = found.famous()
        for row, (protocol, held) in enumerate(found.protocols.items(), start=1):
            name = Words(protocol_words(protocol))
            name.setToolTip(held)
            self._grid.addWidget(name, row, 0)
            for place, (predictor, outcome) in enumerate(columns, start=1):
                value = _value(famous, protocol, predictor, outcome)
                column = f"{protocol}_{outcome}" + ("_coordinates" if predictor == "coordinates" else "")
                number = tool("" if np.isnan(value) else fixed(value, 2).replace("-", "−"), "Show it in the scatter")
                number.setStyleSheet("padding: 3px 1px;")  # three of them and a name have to fit at large fonts
                number.setEnabled(not np.isnan(value))
                number.clicked.connect(partial(self._on_clicked, column))
                self.numbers[column] = number
                self._grid.addWidget(number, row, place, Qt.AlignmentFlag.AlignRight)
        self._grid.setColumnStretch(0, 1)
        if not any(number.isEnabled() for number in self.numbers.values()):
            self.words.setText(TOO_FEW)
            return
        self.words.setText(
            "Spearman's correlation over ions of Moran's I with R² of coordinates alone (the nearest spots, no gene), "
            "R² of the model, and what genes add (gain). Where coordinates follow it as the model does, R² tells of "
            "smoothness; only gain says whether genes encode an ion."
        )

    def _on_clicked(self, column: str, _checked: bool = False) -> None:
        self.chosen.emit(column)


def _value(famous: pd.DataFrame, protocol: str, predictor: str, outcome: str) -> float:
    known = (predictor, outcome) in famous.columns and protocol in famous.index
    return float(famous[predictor, outcome].to_dict()[protocol]) if known else float("nan")
