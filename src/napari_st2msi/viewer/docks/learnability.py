"""The Learnability dock: of every ion whether genes encode it, position explains it, or it is noise."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakSet

from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget
from superqt import QFlowLayout

from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.evaluation.tiers import Tiers
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import learnability_work
from napari_st2msi.viewer.docks.learnability_choices import ProtocolsView
from napari_st2msi.viewer.docks.learnability_counts import FamousView, TierCounts
from napari_st2msi.viewer.docks.learnability_expect import ExpectView
from napari_st2msi.viewer.docks.learnability_kept import kept
from napari_st2msi.viewer.docks.learnability_plot import PlotView
from napari_st2msi.viewer.docks.learnability_splits import SplitsView
from napari_st2msi.viewer.docks.learnability_work import Asked, Assessed
from napari_st2msi.viewer.docks.train_forms import genes_in_words, model_in_words
from napari_st2msi.viewer.docks.train_view import SectionsView
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.close_guard import CloseGuard
from napari_st2msi.viewer.parts.dock import Dock, Level, form
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.recipe_form import RecipeForm
from napari_st2msi.viewer.parts.style import Look, look_of
from napari_st2msi.viewer.parts.words import Words


class LearnabilityDock(Dock):
    """Assesses which ions of paired sections can be learned from genes, and shows which and why.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Assess")
        self._kept = kept(self.state)
        self.guard = CloseGuard(self._loses, parent=self)
        self._judging = Jobs(self.state, self)
        self.empty = EmptyState()
        self.body.addWidget(self.empty)
        self.sections = SectionsView()
        self.sections_group = self.add_group("Sections", self.sections, summary=self.sections.summary)
        self.protocols = ProtocolsView(self._kept.ticked)
        self.how_group = self.add_group("Held out", self._how(), summary=self.protocols.summary)
        self.counts, self.plot = TierCounts(), PlotView()
        self.ions_group = self.add_group("Ions", self._ions())
        self.famous = FamousView()
        self.famous_group = self.add_group("What smoothness tells", self.famous)
        self.criteria = RecipeForm(Tiers())
        self.judged_by = ChoiceField([])
        self.criteria_group = self.add_group("Criteria of tiers", self._judging_view(), open=False,
                                             summary=self._criteria_in_words)  # fmt: skip
        self.expect = ExpectView(self)
        self.expect_group = self.add_group("A new metabolite", self.expect, open=False, summary=self.expect.summary)
        self.splits = SplitsView(self.viewer)
        self.splits_group = self.add_group("Splits on the tissue", self.splits)
        self.results = (self.ions_group, self.famous_group, self.criteria_group, self.expect_group,
                        self.splits_group)  # fmt: skip
        self._connect()
        self.on_look(look_of(self.viewer))
        self._on_data()
        self._find_again()

    def _how(self) -> QWidget:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.model_words = Words(role="note")
        self.change_model = flat("Change the model", "Model, genes and ions are chosen in the Train dock")
        self.change_model.clicked.connect(partial(open_dock, self.viewer, "Train"))
        line = QHBoxLayout()
        line.addWidget(self.change_model)
        line.addStretch()
        layout.addWidget(self.protocols)
        layout.addWidget(self.model_words)
        layout.addLayout(line)
        return content

    def _ions(self) -> QWidget:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self.every = flat("All ions", "Show the other ions again, here and in the table of the Explore dock")
        self.image = flat("Show its image", "Look at the ion in the Explore dock")
        self.every.clicked.connect(partial(self._brush, frozenset()))
        self.image.clicked.connect(partial(open_dock, self.viewer, "Explore"))
        line = QFlowLayout()  # at large fonts they do not fit beside each other
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.image)
        line.addWidget(self.every)
        for part in (self.counts, self.plot):
            layout.addWidget(part)
        layout.addLayout(line)
        return content

    def _judging_view(self) -> QWidget:
        content, rows = form()
        rows.addRow("Judged by", self.judged_by)
        self.judged_by.setToolTip("The way of holding out whose scores decide the tiers")
        rows.addRow(self.criteria)
        return content

    def _connect(self) -> None:
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Data"))
        self.sections.changed.connect(self._on_choice)
        self.protocols.changed.connect(self._on_choice)
        self.plot.chosen.connect(self._choose)
        self.plot.brushed.connect(self._brush)
        self.counts.brushed.connect(self._brush)
        self.famous.chosen.connect(self._show_smoothness)
        self.criteria.changed.connect(self._judge)
        self.judged_by.changed.connect(self._judge)
        self._judging.done.connect(self._on_judged)
        self._judging.failed.connect(self.messages.show_error)
        self.jobs.started.connect(self._refresh)
        self.jobs.ended.connect(self._on_end)
        state = self.state
        for signal in (state.section_changed, state.sections_changed, state.paired_changed):
            self.follow(signal, self._on_data)
        self.follow(state.learnability_changed, self._on_learnability)
        self.follow(state.recipe_changed, self._on_recipe)
        self.follow(state.ion_changed, self._on_ion)
        self.follow(state.brushed_changed, self._on_brushed)

    # -- what it works on -----------------------------------------------------------------------

    def chosen_sections(self) -> list[Section]:
        """Return the sections to assess ions of, together."""
        paired = self._paired_sections()
        return self.sections.chosen() if len(paired) > 1 else paired

    def _paired_sections(self) -> list[Section]:
        return [section for section in self.state.sections if self.state.work(section).paired is not None]

    def _asked(self) -> Asked:
        works = [(section, self.state.work(section).paired) for section in self.chosen_sections()]
        pairs = [(section, paired) for section, paired in works if paired is not None]
        sections, parts = tuple(each[0] for each in pairs), tuple(each[1] for each in pairs)
        return Asked(sections, parts, self.state.recipe, self.protocols.chosen())

    def _find_again(self) -> None:
        """Tick what was ticked in a dock that was closed, and say if that stopped what ran."""
        self.sections.leave_out(self._kept.left_out)
        self._offer_groups()
        self.protocols.tick(self._kept.ticked)
        self._refresh()
        if self._kept.running:
            self._kept.running = False
            self.messages.show_warning("Assessing was stopped when this dock was closed. Press Assess to begin again.")

    # -- assessing ------------------------------------------------------------------------------

    def on_primary(self) -> None:
        """Predict spots held out in every way that is ticked, and tell ions by it."""
        asked = self._asked()
        if not asked.parts:
            self.messages.show_warning("Tick a paired section to assess.")
        elif not asked.protocols:
            self.how_group.expand()
            self.messages.show_warning("Tick a way of holding out spots.")
        else:
            section = self.state.section
            before = None if section is None else self._kept.assessed.get(section)
            call = partial(learnability_work.assess, asked, self.criteria.value, before)
            self._kept.running = True
            self.run(Job("Assessing", call), self._on_assessed)

    def _on_assessed(self, assessed: Assessed) -> None:
        for section, paired in zip(assessed.asked.sections, assessed.asked.parts, strict=True):
            if section in self.state.sections:
                self._kept.assessed[section] = assessed
                self.state.set_learnability(assessed.found, section)
                if self.state.work(section).paired is not paired:
                    self.state.mark_stale("learnability", "paired again since", section)
        self.how_group.collapse()
        explore = ("Explore ions", partial(open_dock, self.viewer, "Explore"))
        self.messages.show_result(found_in_words(assessed.found), action=explore)

    def _judge(self, *_: Any) -> None:
        """Judge tiers by other criteria; what is under way is judged anew when it is done."""
        found, by = self.state.learnability, self.judged_by.value()
        if found is not None and by is not None and not self.criteria.reason:
            call = partial(learnability_work.judge, found, self.criteria.value, by)
            self._judging.start(Job("Judge tiers", call))

    def _on_judged(self, found: Learnability) -> None:
        shown = self.state.learnability
        if shown is None or shown.evaluations is not found.evaluations:
            return  # another section is looked at, or it was assessed anew
        for section in self.state.sections:
            work = self.state.work(section)
            if work.learnability is shown:
                stale = work.stale.get("learnability")
                self.state.set_learnability(found, section)
                if stale is not None:  # other criteria do not make it of the spots that are paired now
                    self.state.mark_stale("learnability", stale, section)

    # -- following the state --------------------------------------------------------------------

    def on_look(self, look: Look) -> None:
        """Draw in the colours of the theme."""
        if hasattr(self, "splits"):  # the first look comes before the parts
            self.plot.set_look(look)
            self.counts.set_look(look)

    def _show_smoothness(self, column: str) -> None:
        """Set Moran's I against an outcome in the scatter, and bring that into view."""
        self.plot.show_axes("moran_i", column)
        self.ions_group.expand()
        self.scroll.verticalScrollBar().setValue(self.ions_group.y())

    def on_front(self, front: bool) -> None:
        """Watch the window that the dock has come to lie in."""
        self.guard.watch(self)

    def _loses(self) -> str:
        running = "Ions are being assessed, and closing napari stops it. Nothing of it would be kept."
        return running if self.jobs.running else ""

    def _on_end(self) -> None:
        self._kept.running = False
        self._refresh()

    def _choose(self, ion: str) -> None:
        self.state.ion = ion

    def _brush(self, ions: frozenset[str], *_: Any) -> None:
        self.state.brushed = ions

    def _on_ion(self, ion: str | None) -> None:
        self.plot.show_ion(ion)
        self._show_ion_buttons()

    def _on_brushed(self) -> None:
        self.plot.show_brushed(self.state.brushed)
        self.counts.show_brushed(self.state.brushed)
        self._show_ion_buttons()

    def _show_ion_buttons(self) -> None:
        found, n = self.state.learnability, len(self.state.brushed)
        self.every.setVisible(bool(n))
        self.every.setText(f"All ions ({n:,} marked)")
        self.image.setVisible(found is not None and self.state.ion in found.table.index)

    def _on_data(self, *_: Any) -> None:
        self.sections.show_sections(self._paired_sections())
        self._offer_groups()
        self._show_found()

    def _on_choice(self) -> None:
        self._kept.ticked = self.protocols.chosen()
        chosen = self.chosen_sections()
        self._kept.left_out = WeakSet(each for each in self._paired_sections() if each not in chosen)
        self._offer_groups()

    def _offer_groups(self) -> None:
        self.protocols.offer_groups(self._asked().parts, self.state.recipe)
        self._refresh()

    def _on_recipe(self, _recipe: Any) -> None:
        self._refresh()

    def _on_learnability(self, section: Section) -> None:
        if section is self.state.section:
            self._show_found()
            self._refresh()

    def _show_found(self) -> None:
        """Show what was found of the section looked at."""
        found = self.state.learnability
        self.splits.show_found(self.state.section, found)
        if found is None:
            return
        self.counts.show_found(found)
        self.plot.show_found(found)
        self.famous.show_found(found)
        self.expect.show_found(found)
        if self.criteria.value != found.criteria and not self._judging.running:
            self.criteria.set_value(found.criteria)
        self.judged_by.set_choices([(name, protocol_words(name)) for name in found.protocols], found.judged_by)
        self._on_ion(self.state.ion)
        self._on_brushed()

    def _refresh(self, *_: Any) -> None:
        """Show what can be done with the section looked at."""
        section, running = self.state.section, self.jobs.running
        ready = section is not None and self.state.paired is not None
        self._show_empty()
        self.sections_group.setVisible(ready and len(self._paired_sections()) > 1)
        self.how_group.setVisible(ready)
        for group in self.results:
            group.setVisible(self.state.learnability is not None)
        for group in (self.sections_group, self.how_group, self.criteria_group, self.expect_group):
            group.update_title()
        self.sections.setEnabled(not running)
        self.how_group.content().setEnabled(not running)
        recipe = self.state.recipe
        self.model_words.setText(f"Model: {model_in_words(recipe.model)}. Genes: {genes_in_words(recipe.genes)}.")
        self.run_bar.setVisible(ready or running)
        self.say(*self._state_in_words())

    def _show_empty(self) -> None:
        section, words = self.state.section, ("", "")
        if section is None:
            words = ("Open a section first.", "Open the Data dock")
        elif self.state.paired is None and self.state.learnability is None:
            if section.has_st and section.has_msi:
                words = (f"'{section.name}' is not paired yet: its spots have no ions to assess.", "Open the Data dock")
            else:
                words = (f"'{section.name}' needs genes and ions of the same tissue to tell which ions genes encode.",
                         "Open the Data dock")  # fmt: skip
        self.empty.setVisible(bool(words[0]))
        self.empty.say(*words)

    def _criteria_in_words(self) -> str:
        chosen = self.criteria.value
        sure = ", surely" if chosen.sure else ""
        return f"gain over {chosen.least_gain:g}{sure} · {chosen.least_share:.0%} of the ceiling"

    def _state_in_words(self) -> tuple[str, Level]:
        section = self.state.section
        if self.jobs.running:
            return f"{self.jobs.title} in the background", "running"
        if section is None or (self.state.paired is None and self.state.learnability is None):
            return "Nothing to assess yet.", "empty"
        stale = self.state.work().stale
        if "paired" in stale:
            return f"{section.name} · {stale['paired'].rstrip('.')}. Pair again in the Data dock first.", "stale"
        if "learnability" in stale:
            return f"{section.name} · {stale['learnability'].rstrip('.')}. Press Assess.", "stale"
        asked, known = self._asked(), self._kept.assessed.get(section)
        names = section.name if len(asked.sections) < 2 else f"{len(asked.sections)} sections"
        if known is not None and not (
            asked.predicts_as(known.asked) and set(asked.protocols) == set(known.asked.protocols)
        ):
            return f"{names} · choices changed since. Press Assess.", "stale"
        found = self.state.learnability
        if found is not None:
            return f"{names} · {len(found.table):,} ions, judged by {protocol_words(found.judged_by)}", "ready"
        spots = sum(int(part.covered.sum()) for part in asked.parts)
        ions = self.state.paired.ions.n_vars if self.state.paired is not None else 0
        return f"{names} · {spots:,} paired spots · {ions:,} ions · not assessed yet", "ready"


def found_in_words(found: Learnability) -> str:
    """Return how many ions are in which tier, and what could not be done."""
    counted = ", ".join(f"{number:,} in tier {tier}" for tier, number in found.counts.items())
    return " ".join([f"Of {len(found.table):,} ions: {counted}.", *found.notes])
