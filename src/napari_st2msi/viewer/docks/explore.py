"""The Explore dock: what there is to look at of a section, on three pages."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QKeySequence, QShortcut

from napari_st2msi.section import Section
from napari_st2msi.viewer import keys
from napari_st2msi.viewer.docks.compare_choices import model_words
from napari_st2msi.viewer.docks.explore_cautions import Cautions
from napari_st2msi.viewer.docks.explore_ions import LETTERS, IonsPage
from napari_st2msi.viewer.docks.explore_pages import Pages
from napari_st2msi.viewer.explore_source import KINDS, Gathered, gather
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.key_list import show_keys
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.style import Look
from napari_st2msi.viewer.pictures import Pictures


class ExploreDock(Dock):
    """Browse ions: a table, and the pictures of the ion chosen; and the genes behind it.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.pictures = Pictures(self.viewer)
        self.cautions = Cautions(self)
        self._reading = Jobs(self.state, self)
        self._reading.done.connect(self._on_gathered)
        self._reading.failed.connect(self._on_unreadable)
        self.ions = IonsPage(self, self.pictures)
        self.pages = Pages(self, self.ions, self.pictures)
        self.empty = EmptyState()
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Data"))
        self.body.setAlignment(Qt.AlignmentFlag(0))
        self.body.addWidget(self.pages, 1)
        self.body.addWidget(self.empty, 1)
        self.keys = keys.Keys(
            self.viewer,
            {
                "Up": partial(self.ions.table.step, -1),
                "Down": partial(self.ions.table.step, 1),
                **{letter: partial(self.pages.show_picture, picture) for picture, letter in LETTERS.items()},
                "A": self.pages.toggle_genes,
                "G": self.ions.toggle_grid,
                "F": self._toggle_favourite,
            },
            self.pictures.blink,
        )
        self._help_key = QShortcut(QKeySequence("?"), self)
        self._help_key.setContext(Qt.ShortcutContext.WindowShortcut)
        self._help_key.activated.connect(self.show_keys)
        self.viewer.layers.events.inserted.connect(self._on_layer)
        state = self.state
        self.follow(state.model_changed, self._on_model)
        self.follow(state.section_changed, self._on_section)
        for signal in (
            state.registration_changed,
            state.paired_changed,
            state.evaluation_changed,
            state.prediction_changed,
            state.learnability_changed,
        ):
            self.follow(signal, self._on_content)
        self.follow(state.ion_changed, self._on_ion)
        self.follow(state.favourites_changed, self._on_favourites)
        self.follow(state.brushed_changed, self.ions.show_brushed)
        self._on_section(state.section)

    def on_look(self, look: Look) -> None:
        """Follow the font size."""
        if hasattr(self, "pages"):
            self.ions.table.fit_columns()
            self.pages.genes.set_look(look)

    # -- what is shown --------------------------------------------------------------------------

    @property
    def gathered(self) -> Gathered | None:
        """What is shown; None while there is nothing."""
        return self.ions.gathered

    def _on_section(self, section: Section | None) -> None:
        if section is None:
            self._show_nothing("No section is open. Open one to look at its ions.")
        else:
            self._read()

    def _on_content(self, section: Section) -> None:
        if section is self.state.section:
            self._read()

    def _on_model(self, _section: Section) -> None:
        self.pages.refresh()

    def _read(self) -> None:
        work = self.state.work()
        if not (work.section.has_msi or work.section.paired or work.paired is not None or work.prediction is not None):
            self._show_nothing(
                "This section has genes and no ions. Open its MSI beside it, or predict its ions with a trained model."
            )
            return
        self._say("reading ions", "running")
        paired = None if work.paired is None else work.paired.ions
        call = partial(gather, work.section, paired, work.evaluation, work.prediction, work.learnability)
        self._reading.start(Job("Read ions", call))

    def _on_gathered(self, gathered: Gathered) -> None:
        self.pictures.set_source(gathered.source, gathered.sites)
        self.empty.hide()
        self.pages.show()
        self.ions.show_gathered(gathered)
        self.pages.show_gathered(gathered)
        self._say_ready(gathered)
        self.cautions.show(gathered)
        if self.state.ion in gathered.frame.index:
            self._on_ion(self.state.ion)
        elif (first := self.ions.first_ion()) is not None:
            self.state.ion = first

    def _on_unreadable(self, text: str, details: str) -> None:
        self.messages.show_error(text, details)
        self._say("cannot be shown", "stale")

    def _show_nothing(self, why: str) -> None:
        """Say why there are no ions; what is still being read is of another section."""
        self._reading.shut()
        self.cautions.forget()
        self.ions.show_gathered(None)
        self.pictures.set_source(None)
        self.pages.hide()
        self.empty.say(why, "Open data")
        self.empty.show()
        self._say("no ions", "empty")

    def _say(self, words: str, level: Any) -> None:
        section = self.state.section
        self.say(words if section is None else f"{section.name} · {words}", level)

    def _say_ready(self, gathered: Gathered) -> None:
        stale, source = self.state.work().stale, gathered.source
        parts = [f"{len(gathered.frame):,} ions"]
        if source.pixels is not None:
            parts.append(f"{source.pixels.n:,} pixels")
        if source.predicted is not None:
            model = f"by {model_words(gathered.model)}" if gathered.model else ""
            how = ", ".join(filter(None, (model, KINDS.get(gathered.kind, ("",))[0])))
            parts.append(f"predicted {how}".strip())
        elif source.section.has_st:
            parts.append("not predicted yet")
        if source.pixels is not None and source.section.has_st and not source.section.registered:
            parts.append("MSI beside ST, not registered")
        old = stale.get("evaluation") or stale.get("prediction")
        if old:
            parts.append(f"{old}: train again")
        self._say(" · ".join(parts), "stale" if old else "ready")

    # -- the ion --------------------------------------------------------------------------------

    def _on_ion(self, ion: str | None) -> None:
        if ion is not None and self.gathered is not None and ion in self.gathered.frame.index:
            self.ions.show_ion(ion)
            self.pages.refresh()

    # -- what the user does ---------------------------------------------------------------------

    def _toggle_favourite(self) -> None:
        if self.state.ion is not None and self.gathered is not None:
            self.state.toggle_favourite(self.state.ion)

    def _on_favourites(self) -> None:
        self.ions.table.ions.set_favourites(self.state.favourites)

    def show_keys(self) -> None:
        """List the keys."""
        show_keys(self, keys.WORDS)

    # -- the viewer -----------------------------------------------------------------------------

    def _on_layer(self, event: Any) -> None:
        section = self.state.section
        if section is not None and self.pictures.is_own(event.value):
            self.keys.claim(event.value)

    def on_front(self, front: bool) -> None:
        """Take the keys while the dock is seen."""
        self._help_key.setEnabled(front)
        if front:
            self.keys.bind()
        else:
            self.keys.release()
