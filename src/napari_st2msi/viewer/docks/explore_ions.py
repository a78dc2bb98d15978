"""The page of the Explore dock with the table of ions, and what is known of the one looked at."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLineEdit, QToolButton, QVBoxLayout, QWidget
from superqt import QElidingLabel, QFlowLayout

from napari_st2msi.errors import St2msiError
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.viewer.aside import wanted
from napari_st2msi.viewer.explore_source import (
    KINDS,
    Gathered,
    baselines_in_words,
    coverage_in_words,
    scores_in_words,
)
from napari_st2msi.viewer.ion_query import HELP
from napari_st2msi.viewer.ion_table import IonTable
from napari_st2msi.viewer.layers import DIVERGING, INTENSITY
from napari_st2msi.viewer.parts.buttons import tool
from napari_st2msi.viewer.parts.colour_bar import ColourBar, short
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.style import restyle
from napari_st2msi.viewer.parts.words import Words
from napari_st2msi.viewer.pictures import PICTURES, Picture, Pictures
from napari_st2msi.viewer.thumbnails import icon

#: The keys of the pictures.
LETTERS: dict[Picture, str] = {"measured": "M", "predicted": "P", "residual": "R"}
# How long the user must rest on an ion, or the mouse on a place, before the slower things follow.
_REST_MS = 150
_CURSOR_MS = 60
_SPACING = 3


class IonsPage(QWidget):
    """A search, a table, and the ion looked at in words, buttons and colour bars.

    Parameters
    ----------
    dock
        The dock that this is a page of: its viewer and state are used.
    pictures
        The layers that the buttons show.
    """

    def __init__(self, dock: Dock, pictures: Pictures) -> None:
        super().__init__()
        self.viewer, self.state, self.pictures = dock.viewer, dock.state, pictures
        self.gathered: Gathered | None = None
        self._build()
        self._rest = _single_shot(self, _REST_MS, pictures.come_to_rest)
        self._cursor_rest = _single_shot(self, _CURSOR_MS, self.show_cursor)
        pictures.changed.connect(self._show_buttons)
        self.viewer.cursor.events.position.connect(self._on_cursor)

    def _build(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find ions: PC(34:1), 798.54 ± 5 ppm, r2>0.2")
        self.search.setToolTip(HELP)
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._on_query)
        self.table = IonTable()
        self.table.chosen.connect(self._on_chosen)
        self.table.starred.connect(self.state.toggle_favourite)
        self.count = Words(role="note")
        self.every = tool("All ions", "Show the other ions again, here and in the scatter of the Learnability dock")
        self.every.clicked.connect(self._show_every)

        self.title = QElidingLabel()
        self.title.setProperty("role", "title")
        self.verdict = Words()
        self.scores = Words(role="note")
        self.train = tool("Train a model")
        self.train.clicked.connect(partial(open_dock, self.viewer, "Train"))

        self.buttons: dict[Picture, QToolButton] = {}
        for picture in PICTURES:
            button = tool(picture.capitalize(), f"Show {picture} ({LETTERS[picture]})", checkable=True)
            button.clicked.connect(partial(self.show_picture, picture))
            self.buttons[picture] = button
        self.grid = tool("Side by side", "Side by side, or stacked (G)", checkable=True)
        self.grid.clicked.connect(self.toggle_grid)
        self.where = QComboBox()
        self.where.addItem("Measured pixels", "pixels")
        self.where.addItem("Measured per spot", "spots")
        self.where.setToolTip("Show measured as MSI pixels, or as the spots they were paired with")
        self.where.activated.connect(self._on_where)
        # At large fonts they do not fit beside each other.
        choices = QFlowLayout()
        choices.setContentsMargins(0, 0, 0, 0)
        choices.setHorizontalSpacing(_SPACING)
        choices.setVerticalSpacing(_SPACING)
        for choice in (*self.buttons.values(), self.grid, self.where):
            choices.addWidget(choice)
        self.intensity, self.residual = ColourBar(), ColourBar()
        self.cursor_words = Words(role="note")

        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addWidget(self.search)
        layout.addWidget(self.table, 1)
        counted = QHBoxLayout()
        counted.addWidget(self.count, 1)
        counted.addWidget(self.every)
        layout.addLayout(counted)
        for part in (self.title, self.verdict, self.scores):
            layout.addWidget(part)
        layout.addWidget(self.train, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addLayout(choices)
        for part in (self.intensity, self.residual, self.cursor_words):
            layout.addWidget(part)

    # -- what is shown --------------------------------------------------------------------------

    def show_gathered(self, gathered: Gathered | None) -> None:
        """Take the ions of a section, or that there are none."""
        self.gathered = gathered
        if gathered is None:
            return
        self.table.ions.set_painter(self._draw_icon)
        self.table.set_frame(gathered.frame, self.state.favourites)
        self.show_brushed()
        self.cursor_words.setToolTip(gathered.intervals)
        self.where.setVisible(len(gathered.sites) > 1 and gathered.source.spots is not None)
        self.where.setCurrentIndex(self.where.findData(self.pictures.measured_at))
        self._show_buttons()

    def first_ion(self) -> str | None:
        """Return the ion to look at when none was chosen: the first row, or the brightest ion before there are scores.

        Without scores the table begins at the lowest m/z, which is often all noise.
        """
        if self.gathered is None or not self.table.ions.rowCount():
            return None
        frame = self.gathered.frame
        if "r2" in frame or "mean_intensity" not in frame:
            return self.table.ions.ion(0)
        return str(frame["mean_intensity"].idxmax())

    def show_ion(self, ion: str) -> None:
        """Look at an ion of the table."""
        self.table.show_ion(ion)
        self.pictures.show_ion(ion, self._label(ion))
        self._show_words(ion)
        self._show_bars()
        self._rest.start()

    def _label(self, ion: str) -> str:
        assert self.gathered is not None
        return str(self.gathered.frame.loc[ion, "label"])

    def _show_words(self, ion: str) -> None:
        assert self.gathered is not None
        row = self.gathered.frame.iloc[int(self.gathered.frame.index.get_indexer(pd.Index([ion]))[0])]
        self.title.setText(self._label(ion))
        verdict = str(row.get("verdict", "") or "") if self.gathered.scored else ""
        self.verdict.setText(" · ".join(filter(None, (verdict[:1].upper() + verdict[1:], self._tier(row)))))
        covered = coverage_in_words(row, self.gathered.level)
        lines = (scores_in_words(row), baselines_in_words(row), covered)
        self.scores.setText("\n".join(filter(None, lines)))
        self.verdict.setVisible(bool(self.verdict.text()))
        self.scores.setVisible(bool(self.scores.text()))
        source = self.gathered.source
        self.train.setVisible(source.predicted is None and source.section.has_st)

    def _tier(self, row: pd.Series) -> str:
        """Return the tier of an ion, and by which way of holding out: it may be another than that of the verdict."""
        found, tier = self.state.learnability, row.get("tier")
        if found is None or pd.isna(tier):
            return ""
        return f"Tier {int(tier)}, judged by {protocol_words(found.judged_by)}"

    def _show_bars(self) -> None:
        values, gathered = self.pictures.values, self.gathered
        if values is None or gathered is None:
            return
        shown = [picture for picture in self.pictures.available if picture != "residual"]
        predicted = "predicted" in shown
        words, explain = KINDS.get(gathered.kind, ("", ""))
        explain = f"{explain} {gathered.note}".strip()
        self.intensity.show_scale(
            f"{', '.join(shown).capitalize()} (intensity)",
            INTENSITY,
            values.limits,
            provenance=words if predicted else "",
            clipped=values.clipped,
            explain=explain,
        )
        self.residual.setVisible("residual" in self.pictures.available)
        self.residual.show_scale(
            "Measured − predicted (intensity)",
            DIVERGING,
            (-values.spread, values.spread),
            provenance=words,
            explain=explain,
        )

    def _draw_icon(self, ion: str) -> QIcon:
        gathered = self.gathered
        if gathered is None or gathered.binning is None:
            return QIcon()
        source = gathered.source
        columns = source.pixels or source.spots
        if columns is None or ion not in columns:
            columns = source.predicted
        return QIcon() if columns is None else icon(gathered.binning.mean(columns.take(ion)))

    def _show_buttons(self) -> None:
        for picture, button in self.buttons.items():
            layer = self.pictures.layer(picture)
            button.setEnabled(picture in self.pictures.available)
            button.setChecked(layer is not None and wanted(layer))
        self.grid.setChecked(self.pictures.grid)
        self.grid.setEnabled(len(self.pictures.available) > 1)

    # -- what the user does ---------------------------------------------------------------------

    def show_picture(self, picture: Picture, *_: Any) -> None:
        """Bring a picture to the front; side by side, switch it on or off."""
        if self.pictures.ion is not None:
            self.pictures.show(picture, self._label(self.pictures.ion))
        self._show_buttons()

    def toggle_grid(self, *_: Any) -> None:
        """Put the pictures side by side, or on a stack."""
        self.pictures.set_grid(not self.pictures.grid)
        self._show_buttons()

    def _on_chosen(self, ion: str) -> None:
        self.state.ion = ion

    def _on_query(self, text: str) -> None:
        wrong = ""
        try:
            self.table.ions.set_query(text)
        except St2msiError as error:
            wrong = str(error)
        self.search.setProperty("wrong", "true" if wrong else "false")
        self.search.setToolTip(wrong or HELP)
        restyle(self.search)
        self._count(wrong)

    def show_brushed(self) -> None:
        """Show only the ions that are brushed, if some are."""
        self.table.ions.set_only(self.state.brushed)
        self._count()

    def _show_every(self) -> None:
        self.state.brushed = frozenset()

    def _count(self, wrong: str = "") -> None:
        shown, every = self.table.ions.rowCount(), len(self.table.ions.frame)
        brushed = ", of those marked in the scatter" if self.state.brushed else ""
        self.count.setText(wrong or ("" if shown == every else f"{shown:,} of {every:,} ions{brushed}"))
        self.count.setVisible(bool(self.count.text()))
        self.every.setVisible(bool(self.state.brushed))

    def _on_where(self, _place: int) -> None:
        if self.pictures.ion is not None:
            self.pictures.measure_at(self.where.currentData(), self._label(self.pictures.ion))
            self._show_bars()

    # -- the cursor -----------------------------------------------------------------------------

    def _on_cursor(self, _event: Any = None) -> None:
        if self.isVisible() and not self._cursor_rest.isActive():
            self._cursor_rest.start()

    def show_cursor(self) -> None:
        """Say what lies at the cursor."""
        if self.pictures.values is None:
            return
        place = tuple(self.viewer.cursor.position)
        found = self.pictures.at(place)
        step = (self.pictures.values.limits[1] - self.pictures.values.limits[0]) / 50
        said = {picture: f"{picture} {short(value, step)}" for picture, value in found.items()}
        between = self.pictures.interval_at(place) if "predicted" in said else None
        if between is not None and self.gathered is not None:
            level = "" if self.gathered.level is None else f" at {self.gathered.level:.0%}"
            low, high = (short(end, step) for end in between)
            said["predicted"] += f" ({low} to {high}{level})"
        words = " · ".join(said.values())
        self.cursor_words.setText(f"At the cursor: {words}" if words else "At the cursor: nothing measured")


def _single_shot(parent: QWidget, ms: int, slot: Any) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(ms)
    timer.timeout.connect(slot)
    return timer
