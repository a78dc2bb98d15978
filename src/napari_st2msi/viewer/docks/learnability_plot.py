"""Any two properties of ions against each other, and what is known of the ion looked at."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.evaluation.tiers import FINDINGS, TIERS
from napari_st2msi.report.figures import FLOOR
from napari_st2msi.report.folds import FOLD_COLOURS
from napari_st2msi.report.learnability import TIER_COLOURS
from napari_st2msi.report.words import fixed
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.scatter import Kind, Scatter
from napari_st2msi.viewer.parts.style import Look
from napari_st2msi.viewer.parts.words import Words

_SYMBOLS = {1: "o", 2: "t1", 3: "s"}
#: The same as signs of a text.
TIER_SIGNS = {1: "●", 2: "▲", 3: "■"}
# On dark ground the colours of paper are too dark.
_DARK = {1: "#4cb4e7", 2: "#f0a13a", 3: "#98a2ad"}
_OTHER = "#8a94a0"
_MOST_CLASSES = 7
# Properties that span powers of ten.
_LOGARITHMIC = ("mean_intensity", "signal_to_noise")


def tier_kinds(look: Look | None) -> list[Kind]:
    """Return how the tiers are drawn, the first first."""
    colours = _DARK if look is not None and look.dark else TIER_COLOURS
    return [Kind(f"tier {tier}", colours[tier], _SYMBOLS[tier]) for tier in TIERS]


class PlotView(QWidget):
    """A scatter with the choice of its axes and colours, and the words of the ion looked at."""

    #: The user clicked an ion.
    chosen = Signal(str)
    #: The user picked out ions; none to show all again.
    brushed = Signal(frozenset)

    def __init__(self) -> None:
        super().__init__()
        self.found: Learnability | None = None
        self._look: Look | None = None
        self._ion: str | None = None
        self._kinds: list[Kind] = []
        self.across, self.up, self.colour = ChoiceField([]), ChoiceField([]), ChoiceField([])
        choices, rows = form()
        rows.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        for title, field in (("Across", self.across), ("Up", self.up), ("Colour", self.colour)):
            field.setAccessibleName(title)
            field.changed.connect(self._draw)
            rows.addRow(title, field)
        self.scatter = Scatter(self._tip)
        self.scatter.setToolTip("Click an ion to look at it; drag over several to see them alone")
        self.scatter.chosen.connect(self.chosen)
        self.scatter.brushed.connect(self.brushed)
        self.legend, self.rank = Words(), Words(role="note")
        self.title = QElidingLabel()
        self.title.setProperty("role", "title")
        self.reason, self.beside = Words(), Words(role="note")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        for part in (choices, self.scatter, self.legend, self.rank, self.title, self.reason, self.beside):
            layout.addWidget(part)

    # -- what is shown --------------------------------------------------------------------------

    def show_found(self, found: Learnability) -> None:
        """Show other ions, or the same judged anew; what is chosen stays where it is there."""
        before = self.found
        self.found = found
        axes, known = axes_of(found), {field: field.value() for field in (self.across, self.up, self.colour)}
        first = {self.across: "moran_i", self.up: f"{found.judged_by}_gain", self.colour: "tier"}
        has_classes = bool((found.table["class"] != "").any())
        colours = [("tier", "tier"), ("finding", "what was found")] + [("class", "chemical class")] * has_classes
        for field, choices in ((self.across, axes), (self.up, axes), (self.colour, colours)):
            keep = before is not None and known[field] in dict(choices)
            field.set_choices(choices, known[field] if keep else first[field])
        self._draw()
        self.show_ion(self._ion)

    def show_axes(self, across: str, up: str) -> None:
        """Show one property against another."""
        for field, name in ((self.across, across), (self.up, up)):
            field.blockSignals(True)
            field.set_value(name)
            field.blockSignals(False)
        self._draw()

    def show_ion(self, ion: str | None) -> None:
        """Mark an ion, and say what was found of it and why."""
        self._ion = ion
        self.scatter.mark(ion)
        known = self.found is not None and ion is not None and ion in self.found.table.index
        for part in (self.title, self.beside):
            part.setVisible(known)
        if not known:
            self.reason.setText("Click a point to see what was found of that ion, and why.")
            return
        assert self.found is not None
        row = self.found.table.loc[[ion]].iloc[0]
        self.title.setText(str(row["label"]))
        reason = str(row["reason"])
        self.reason.setText(reason[:1].upper() + reason[1:] + ".")
        self.beside.setText(ion_in_words(self.found, row))

    def show_brushed(self, ions: frozenset[str]) -> None:
        """Let all other ions fade."""
        self.scatter.show_brushed(ions)

    def set_look(self, look: Look) -> None:
        """Follow theme and font size."""
        self._look = look
        self.scatter.set_look(look)
        if self.found is not None:
            self._draw()

    # -- drawing --------------------------------------------------------------------------------

    def _draw(self) -> None:
        found = self.found
        if found is None:
            return
        names = [self.across.value(), self.up.value()]
        words = dict(axes_of(found))
        group, self._kinds = self._groups(found.table)
        xy = np.column_stack([_drawn(found.table, name) for name in names])
        keys = found.table.index.astype(str).tolist()
        self.scatter.show_points(keys, xy, group, self._kinds, (_title(words, names[0]), _title(words, names[1])))
        # The buttons above it are the legend of tiers.
        self.legend.setVisible(self.colour.value() != "tier")
        self.legend.setText(self._legend(group))
        self.rank.setText(self._rank_in_words(xy, names))

    def _groups(self, table: pd.DataFrame) -> tuple[NDArray[np.int64], list[Kind]]:
        by = self.colour.value()
        if by == "tier":
            return table["tier"].to_numpy(dtype=np.int64) - 1, tier_kinds(self._look)
        if by == "finding":
            names = [name for name in FINDINGS if (table["finding"] == name).any()]
        else:
            names = table["class"][table["class"] != ""].value_counts().index[:_MOST_CLASSES].tolist()
        kinds = [Kind(str(name), colour) for name, colour in zip(names, FOLD_COLOURS, strict=False)]
        kinds.append(Kind("other", _OTHER))
        place = pd.Index(names).get_indexer(table[by])
        return np.where(place < 0, len(names), place).astype(np.int64), kinds

    def _legend(self, group: NDArray[np.int64]) -> str:
        counts = np.bincount(group, minlength=len(self._kinds))
        signs = {symbol: TIER_SIGNS[tier] for tier, symbol in _SYMBOLS.items()}
        parts = [
            f'<span style="color:{kind.colour}">{signs[kind.symbol]}</span>&nbsp;{kind.name.replace(" ", "&nbsp;")}'
            f"&nbsp;{count:,}"
            for kind, count in zip(self._kinds, counts, strict=True)
            if count
        ]
        return " &nbsp; ".join(parts)

    def _rank_in_words(self, xy: NDArray[np.float64], names: list[str]) -> str:
        assert self.found is not None
        values = self.found.table[names].astype(float).to_numpy()
        known = np.isfinite(values).all(axis=1)
        parts = []
        if known.sum() >= 3 and (np.ptp(values[known], axis=0) > 0).all():
            ranks = pd.DataFrame(values[known]).rank().to_numpy()
            rho = fixed(float(np.corrcoef(ranks.T)[0, 1]), 2).replace("-", "−")
            parts.append(f"Spearman {rho} over {known.sum():,} ions.")
        if clipped := int((values[known] < xy[known] - 1e-12).any(axis=1).sum()):
            parts.append(f"{clipped:,} below {fixed(FLOOR, 2)} {'is' if clipped == 1 else 'are'} drawn there.")
        if missing := int((~known).sum()):
            parts.append(f"{missing:,} without a value {'is' if missing == 1 else 'are'} left out.")
        return " ".join(parts).replace("-", "−")

    def _tip(self, ion: str) -> str:
        assert self.found is not None
        row = self.found.table.loc[[ion]].iloc[0]
        return f"{row['label']}\n{row['reason']}"


def axes_of(found: Learnability) -> list[tuple[str, str]]:
    """Return what can be drawn: columns of the table, and what they are called."""
    parts = [(name, words) for name, words in PROPERTIES.items() if found.table[name].notna().any()]
    parts.append(("relative_r2", "Share of the ceiling"))
    for name in found.protocols:
        where = protocol_words(name)
        parts += [
            (f"{name}_r2", f"R² · {where}"),
            (f"{name}_gain", f"Gain · {where}"),
            (f"{name}_r2_coordinates", f"R² of coordinates · {where}"),
            (f"{name}_r2_position", f"R² of position · {where}"),
        ]
    return [*parts, ("mz", "m/z")]


def ion_in_words(found: Learnability, row: pd.Series) -> str:
    """Return R² and gain of an ion under every protocol, and what its properties alone let expect."""
    lines = []
    for name in found.protocols:
        r2, gain, low, high = (float(row[f"{name}_{key}"]) for key in ("r2", "gain", "gain_lower", "gain_upper"))
        if np.isfinite(r2):
            between = f" [{fixed(low, 2)}, {fixed(high, 2)}]" if np.isfinite(low + high) else ""
            lines.append(f"{protocol_words(name)}: R² {fixed(r2, 2)}, gain {fixed(gain, 2)}{between}")
    likely = {tier: float(row[f"tier_likely_{tier}"]) for tier in TIERS}
    if np.isfinite(list(likely.values())).all():
        lines.append("by its properties alone: " + ", ".join(f"tier {k} {v:.0%}" for k, v in likely.items()))
    return "\n".join(lines).replace("-", "−")


def _drawn(table: pd.DataFrame, name: str) -> NDArray[np.float64]:
    """Return values as they are drawn: intensities by powers of ten, skill not below the floor of figures."""
    values = table[name].to_numpy(dtype=float)
    if name in _LOGARITHMIC:
        return np.log10(np.where(values > 0, values, np.nan))
    skill = name == "relative_r2" or "_r2" in name or "_gain" in name
    return np.where(values < FLOOR, FLOOR, values) if skill else values


def _title(words: dict[str, str], name: str) -> str:
    return f"log10 {words[name].lower()}" if name in _LOGARITHMIC else words[name]
