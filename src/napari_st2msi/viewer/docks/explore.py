"""The Explore dock: every ion with its scores; the one chosen as measured, predicted and residual."""

from __future__ import annotations

from functools import partial
from typing import Any

import pandas as pd
from qtpy.QtCore import Qt, QTimer
from qtpy.QtGui import QIcon, QKeySequence, QShortcut
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_st2msi.errors import St2msiError
from napari_st2msi.section import Section
from napari_st2msi.viewer import keys
from napari_st2msi.viewer.docks.explore_cautions import Cautions
from napari_st2msi.viewer.docks.explore_pages import Pages
from napari_st2msi.viewer.explore_source import (
    KINDS,
    Gathered,
    baselines_in_words,
    coverage_in_words,
    gather,
    scores_in_words,
)
from napari_st2msi.viewer.ion_query import HELP
from napari_st2msi.viewer.ion_table import IonTable
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.layers import DIVERGING, INTENSITY
from napari_st2msi.viewer.parts.colour_bar import ColourBar, short
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.key_list import show_keys
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.style import Look, restyle
from napari_st2msi.viewer.pictures import PICTURES, Picture, Pictures
from napari_st2msi.viewer.thumbnails import icon

# How long the user must rest on an ion, or the mouse on a place, before the slower things follow.
_REST_MS = 150
_CURSOR_MS = 60
_LETTERS: dict[Picture, str] = {"measured": "M", "predicted": "P", "residual": "R"}


class ExploreDock(Dock):
    """Browse ions: a table, and the pictures of the ion chosen.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.pictures = Pictures(self.viewer)
        self.gathered: Gathered | None = None
        self.cautions = Cautions(self)
        self._reading = Jobs(self.state, self)
        self._reading.done.connect(self._on_gathered)
        self._reading.failed.connect(self._on_unreadable)
        self._build()
        self._rest = _single_shot(self, _REST_MS, self.pictures.come_to_rest)
        self._cursor_rest = _single_shot(self, _CURSOR_MS, self._show_cursor)
        self.keys = keys.Keys(
            self.viewer,
            {
                "Up": partial(self.table.step, -1),
                "Down": partial(self.table.step, 1),
                **{letter: partial(self._show_picture, picture) for picture, letter in _LETTERS.items()},
                "A": self.pages.toggle_genes,
                "G": self._toggle_grid,
                "F": self._toggle_favourite,
            },
            self.pictures.blink,
        )
        self._help_key = QShortcut(QKeySequence("?"), self)
        self._help_key.setContext(Qt.ShortcutContext.WindowShortcut)
        self._help_key.activated.connect(self.show_keys)
        self.viewer.layers.events.inserted.connect(self._on_layer)
        self.viewer.cursor.events.position.connect(self._on_cursor)
        state = self.state
        self.pictures.changed.connect(self._show_buttons)
        self.follow(state.model_changed, self._on_model)
        self.follow(state.section_changed, self._on_section)
        for signal in (
            state.registration_changed,
            state.paired_changed,
            state.evaluation_changed,
            state.prediction_changed,
        ):
            self.follow(signal, self._on_content)
        self.follow(state.ion_changed, self._on_ion)
        self.follow(state.favourites_changed, self._on_favourites)
        self._on_section(state.section)

    # -- layout ---------------------------------------------------------------------------------

    def _build(self) -> None:
        self.search = QLineEdit()
        self.search.setPlaceholderText("Find ions: PC(34:1), 798.54 ± 5 ppm, r2>0.2")
        self.search.setToolTip(HELP)
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._on_query)
        self.table = IonTable()
        self.table.chosen.connect(self._on_chosen)
        self.table.starred.connect(self.state.toggle_favourite)
        self.count = _note()

        self.title = QElidingLabel()
        self.title.setProperty("role", "title")
        self.verdict = QLabel()
        self.verdict.setWordWrap(True)
        self.scores = _note()
        self.train = QToolButton()
        self.train.setText("Train a model")
        self.train.setProperty("role", "flat")
        self.train.clicked.connect(partial(open_dock, self.viewer, "Train"))

        self.buttons: dict[Picture, QToolButton] = {}
        row = QHBoxLayout()
        row.setSpacing(3)
        for picture in PICTURES:
            button = _toggle(picture.capitalize(), f"Show {picture} ({_LETTERS[picture]})")
            button.clicked.connect(partial(self._show_picture, picture))
            self.buttons[picture] = button
            row.addWidget(button)
        row.addStretch()
        self.grid = _toggle("Side by side", "Side by side, or stacked (G)")
        self.grid.clicked.connect(self._toggle_grid)
        self.where = QComboBox()
        self.where.addItem("Measured pixels", "pixels")
        self.where.addItem("Measured per spot", "spots")
        self.where.setToolTip("Show measured as MSI pixels, or as the spots they were paired with")
        self.where.setMinimumWidth(90)  # its words are cut before the dock grows wider
        self.where.activated.connect(self._on_where)
        below = QHBoxLayout()
        below.setSpacing(3)
        below.addWidget(self.grid)
        below.addWidget(self.where, 1)
        below.addStretch()
        self.intensity, self.residual = ColourBar(), ColourBar()
        self.cursor = _note()

        ions = QWidget()
        layout = QVBoxLayout(ions)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(5)
        layout.addWidget(self.search)
        layout.addWidget(self.table, 1)
        layout.addWidget(self.count)
        layout.addWidget(self.title)
        layout.addWidget(self.verdict)
        layout.addWidget(self.scores)
        layout.addWidget(self.train, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addLayout(row)
        layout.addLayout(below)
        layout.addWidget(self.intensity)
        layout.addWidget(self.residual)
        layout.addWidget(self.cursor)
        self.ions = ions
        self.pages = Pages(self, ions, self.pictures)
        self.empty = EmptyState()
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Data"))
        self.body.setAlignment(Qt.AlignmentFlag(0))
        self.body.addWidget(self.pages, 1)
        self.body.addWidget(self.empty, 1)

    def on_look(self, look: Look) -> None:
        """Follow the font size."""
        if hasattr(self, "table"):
            self.table.fit_columns()
            self.pages.genes.set_look(look)

    # -- what is shown --------------------------------------------------------------------------

    def _on_section(self, section: Section | None) -> None:
        if section is None:
            self._reading.shut()
            self.cautions.forget()
            self.gathered = None
            self.pictures.set_source(None)
            self._show_empty("No section is open. Open one to look at its ions.", "Open data")
            return
        self._read()

    def _on_content(self, section: Section) -> None:
        if section is self.state.section:
            self._read()

    def _on_model(self, _section: Section) -> None:
        self.pages.refresh()

    def _read(self) -> None:
        work = self.state.work()
        if not (work.section.has_msi or work.section.paired or work.paired is not None or work.prediction is not None):
            self.cautions.forget()
            self.gathered = None
            self.pictures.set_source(None)
            self._show_empty(
                "This section has genes and no ions. Open its MSI beside it, or predict its ions with a trained model.",
                "Open data",
            )
            return
        self._say("reading ions", "running")
        paired = None if work.paired is None else work.paired.ions
        self._reading.start(Job("Read ions", partial(gather, work.section, paired, work.evaluation, work.prediction)))

    def _on_gathered(self, gathered: Gathered) -> None:
        self.gathered = gathered
        self.pictures.set_source(gathered.source, gathered.sites)
        self.empty.hide()
        self.pages.show()
        self.table.ions.set_painter(self._draw_icon)
        self.table.set_frame(gathered.frame, self.state.favourites)
        self.pages.show_gathered(gathered)
        self._count()
        self._say_ready()
        self.cautions.show(gathered)
        self.cursor.setToolTip(gathered.intervals)
        self.where.setVisible(len(gathered.sites) > 1 and gathered.source.spots is not None)
        self.where.setCurrentIndex(self.where.findData(self.pictures.measured_at))
        ion = self.state.ion
        if ion in gathered.frame.index:
            self._on_ion(ion)
        elif self.table.ions.rowCount():
            # Before there are scores the table begins at the lowest m/z, which is often all noise.
            scored = "r2" in gathered.frame or "mean_intensity" not in gathered.frame
            self.state.ion = self.table.ions.ion(0) if scored else str(gathered.frame["mean_intensity"].idxmax())
        self._show_buttons()

    def _on_unreadable(self, text: str, details: str) -> None:
        self.messages.show_error(text, details)
        self._say("cannot be shown", "stale")

    def _show_empty(self, text: str, verb: str) -> None:
        self.pages.hide()
        self.empty.say(text, verb)
        self.empty.show()
        self._say("no ions", "empty")

    def _say(self, words: str, level: Any) -> None:
        section = self.state.section
        self.say(words if section is None else f"{section.name} · {words}", level)

    def _say_ready(self) -> None:
        assert self.gathered is not None
        stale = self.state.work().stale
        parts = [f"{len(self.gathered.frame):,} ions"]
        source = self.gathered.source
        if source.pixels is not None:
            parts.append(f"{source.pixels.n:,} pixels")
        if source.predicted is not None:
            parts.append(f"predicted {KINDS.get(self.gathered.kind, ('',))[0]}".strip())
        elif source.section.has_st:
            parts.append("not predicted yet")
        if source.pixels is not None and source.section.has_st and not source.section.registered:
            parts.append("MSI beside ST, not registered")
        old = stale.get("evaluation") or stale.get("prediction")
        if old:
            parts.append(f"{old}: train again")
        self._say(" · ".join(parts), "stale" if old else "ready")

    # -- the ion --------------------------------------------------------------------------------

    def _on_chosen(self, ion: str) -> None:
        self.state.ion = ion

    def _on_ion(self, ion: str | None) -> None:
        gathered = self.gathered
        if gathered is None or ion is None or ion not in gathered.frame.index:
            return
        self.table.show_ion(ion)
        self.pictures.show_ion(ion, self._label(ion))
        self._show_words(ion)
        self._show_bars()
        self._rest.start()
        self.pages.refresh()

    def _label(self, ion: str) -> str:
        assert self.gathered is not None
        return str(self.gathered.frame.loc[ion, "label"])

    def _show_words(self, ion: str) -> None:
        assert self.gathered is not None
        row = self.gathered.frame.iloc[int(self.gathered.frame.index.get_indexer(pd.Index([ion]))[0])]
        self.title.setText(self._label(ion))
        verdict = str(row.get("verdict", "") or "")
        self.verdict.setText(verdict[:1].upper() + verdict[1:] if self.gathered.scored else "")
        covered = coverage_in_words(row, self.gathered.level)
        lines = (scores_in_words(row), baselines_in_words(row), covered)
        self.scores.setText("\n".join(filter(None, lines)))
        self.verdict.setVisible(bool(self.verdict.text()))
        self.scores.setVisible(bool(self.scores.text()))
        source = self.gathered.source
        self.train.setVisible(source.predicted is None and source.section.has_st)

    def _show_bars(self) -> None:
        values, gathered = self.pictures.values, self.gathered
        if values is None or gathered is None:
            return
        shown = [picture for picture in self.pictures.available if picture != "residual"]
        predicted = "predicted" in shown
        words, explain = KINDS.get(gathered.kind, ("", ""))
        self.intensity.show_scale(
            f"{', '.join(shown).capitalize()} (intensity)",
            INTENSITY,
            values.limits,
            provenance=words if predicted else "",
            clipped=values.clipped,
            explain=f"{explain} {gathered.note}".strip(),
        )
        self.residual.setVisible("residual" in self.pictures.available)
        self.residual.show_scale(
            "Measured − predicted (intensity)",
            DIVERGING,
            (-values.spread, values.spread),
            provenance=words,
            explain=f"{explain} {gathered.note}".strip(),
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

    # -- what the user does ---------------------------------------------------------------------

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

    def _count(self, wrong: str = "") -> None:
        shown, every = self.table.ions.rowCount(), len(self.table.ions.frame)
        self.count.setText(wrong or ("" if shown == every else f"{shown:,} of {every:,} ions"))
        self.count.setVisible(bool(self.count.text()))

    def _show_picture(self, picture: Picture, *_: Any) -> None:
        if self.pictures.ion is not None:
            self.pictures.show(picture, self._label(self.pictures.ion))
        self._show_buttons()

    def _toggle_grid(self, *_: Any) -> None:
        self.pictures.set_grid(not self.pictures.grid)
        self._show_buttons()

    def _toggle_favourite(self) -> None:
        if self.state.ion is not None and self.gathered is not None:
            self.state.toggle_favourite(self.state.ion)

    def _on_favourites(self) -> None:
        self.table.ions.set_favourites(self.state.favourites)

    def _on_where(self, _place: int) -> None:
        if self.pictures.ion is not None:
            self.pictures.measure_at(self.where.currentData(), self._label(self.pictures.ion))
            self._show_bars()

    def _show_buttons(self) -> None:
        for picture, button in self.buttons.items():
            layer = self.pictures.layer(picture)
            button.setEnabled(picture in self.pictures.available)
            button.setChecked(layer is not None and layer.visible)
        self.grid.setChecked(self.pictures.grid)
        self.grid.setEnabled(len(self.pictures.available) > 1)

    def show_keys(self) -> None:
        """List the keys."""
        show_keys(self, keys.WORDS)

    # -- the viewer -----------------------------------------------------------------------------

    def _on_layer(self, event: Any) -> None:
        section = self.state.section
        if section is not None and self.pictures.is_own(event.value):
            self.keys.claim(event.value)

    def _on_cursor(self, _event: Any = None) -> None:
        if self.isVisible() and not self._cursor_rest.isActive():
            self._cursor_rest.start()

    def _show_cursor(self) -> None:
        if self.pictures.values is None:
            return
        found = self.pictures.at(tuple(self.viewer.cursor.position))
        step = (self.pictures.values.limits[1] - self.pictures.values.limits[0]) / 50
        said = {picture: f"{picture} {short(value, step)}" for picture, value in found.items()}
        between = self.pictures.interval_at(tuple(self.viewer.cursor.position)) if "predicted" in said else None
        if between is not None and self.gathered is not None:
            level = "" if self.gathered.level is None else f" at {self.gathered.level:.0%}"
            low, high = (short(end, step) for end in between)
            said["predicted"] += f" ({low} to {high}{level})"
        words = " · ".join(said.values())
        self.cursor.setText(f"At the cursor: {words}" if words else "At the cursor: nothing measured")

    def on_front(self, front: bool) -> None:
        """Take the keys while the dock is seen."""
        self._help_key.setEnabled(front)
        if front:
            self.keys.bind()
        else:
            self.keys.release()


def _note() -> QLabel:
    label = QLabel()
    label.setProperty("role", "note")
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
    return label


def _toggle(text: str, tip: str) -> QToolButton:
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(True)
    button.setProperty("role", "flat")
    return button


def _single_shot(parent: QWidget, ms: int, slot: Any) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(ms)
    timer.timeout.connect(slot)
    return timer
