"""The page of the Explore dock that changes genes and shows what the model expects of the ions."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from qtpy.QtWidgets import QHBoxLayout, QWidget

from napari_st2msi.errors import St2msiError
from napari_st2msi.explain.perturb import Change, Perturbation
from napari_st2msi.section import Section
from napari_st2msi.viewer import explaining, layers
from napari_st2msi.viewer.docks.explore_page import Page, column_in, pathways_among, rows_with
from napari_st2msi.viewer.ion_values import spread_of
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.bars import Bars
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.fields import ChoiceField, NumberField
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.words import Words

_SHOWN = 15
_MOST_COUNTS = 1e6


class ChangePage(Page):
    """Choose genes, what to do with them and where; see which ions change, and where.

    Parameters
    ----------
    dock
        The dock that this is a page of: its viewer, state and messages are used.
    """

    role: ClassVar[layers.Role] = "change"

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self.found: tuple[Section, Perturbation] | None = None
        self.genes: list[str] = []
        self._pathways: dict[str, list[str]] = {}
        self._offered: Section | None = None
        self._of: Section | None = None
        self._jobs = Jobs(self.state, self)
        self._build()
        self._jobs.done.connect(self._on_changed)
        self._jobs.failed.connect(dock.messages.show_error)
        self._jobs.progressed.connect(self.run_bar.progress)
        self._jobs.ended.connect(self.run_bar.end)

    def _build(self) -> None:
        self.note = Words("What the model expects if these genes change and no other follows them.", role="note")
        self.search = SearchEdit("Add a gene or a pathway")
        self.search.chosen.connect(self.add)
        self.chosen_words = Words("No gene yet.")
        self.clear_button = flat("Clear", "Choose other genes")
        self.clear_button.clicked.connect(self.clear)
        self.how = ChoiceField([("knock_out", "knock out"), ("scale", "multiply counts by"), ("set", "set counts to")])
        self.how.changed.connect(self._show_amount)
        self.amount = NumberField(0.0, _MOST_COUNTS)
        self.amount.set_value(2.0)
        self.run_bar = RunBar("Predict the change")
        self.run_bar.pressed.connect(self.run)
        self.run_bar.cancel_pressed.connect(self._jobs.cancel)
        self.bars = Bars("Ions, most changed first", name_share=0.5)
        self.bars.chosen.connect(self._on_ion)
        self.unit = Words(role="note")
        self.result = QWidget()
        below = column_in(self.result)
        for part in (self.title, self.bars, self.unit, self.colour_bar):
            below.addWidget(part)
        self.result.hide()
        chosen, change = QHBoxLayout(), QHBoxLayout()
        chosen.addWidget(self.chosen_words, 1)
        chosen.addWidget(self.clear_button)
        change.addWidget(self.how, 2)
        change.addWidget(self.amount, 1)
        self.column.addWidget(self.note)
        self.column.addLayout(
            rows_with(("Genes", self.search), ("", chosen), ("Change", change), ("Spots", self.spots))
        )
        self.column.addWidget(self.run_bar)
        self.column.addWidget(self.result)
        self._show_amount()
        self._show_genes()

    def refresh(self) -> None:
        """Follow another section, model or ion."""
        section, model = self.state.section, self.state.model
        with_genes = section is not None and section.has_st
        self.spots.set_section(section if with_genes else None)
        why = ""
        if not with_genes:
            why = "There are no genes to change in this section."
        elif model is None:
            why = "Train a model in this session, or load one, to see what it expects of changed genes."
        if self._say_empty(why, "Open the Train dock" if with_genes else ""):
            return
        assert section is not None
        if section is not self._offered:
            self._offer(section)
        if self.found is not None and self.found[0] is section:
            self._show_ion()
        else:
            self.result.hide()

    def _offer(self, section: Section) -> None:
        """Offer the genes of a section, and the pathways that it has genes of."""
        self._offered = section
        names = section.st.var_names.astype(str).tolist()
        self._pathways = pathways_among(names)
        self.search.set_choices([(name, name) for name in (*self._pathways, *names)])
        self.clear()

    # -- choosing -------------------------------------------------------------------------------

    def add(self, name: str) -> None:
        """Add a gene, or the genes of a pathway."""
        self.genes = list(dict.fromkeys([*self.genes, *self._pathways.get(name, [name])]))
        self.search.choose(None)
        self._show_genes()

    def clear(self) -> None:
        """Choose no gene."""
        self.genes = []
        self._show_genes()

    def _show_genes(self) -> None:
        some = ", ".join(self.genes[:6])
        more = f" and {len(self.genes) - 6:,} more" if len(self.genes) > 6 else ""
        self.chosen_words.setText(f"{some}{more}" if self.genes else "No gene yet.")
        self.clear_button.setEnabled(bool(self.genes))
        self.run_bar.set_verb("Predict the change", enabled=bool(self.genes), why_not="Add a gene first.")

    def _show_amount(self) -> None:
        self.amount.setVisible(self.how.value() != "knock_out")

    # -- changing -------------------------------------------------------------------------------

    def run(self) -> None:
        """Predict what changes."""
        section, model = self.state.section, self.state.model
        if section is None or model is None:
            return
        self.amount.finish()
        how = self.how.value()
        try:
            change = Change(tuple(self.genes), how, 0.0 if how == "knock_out" else float(self.amount.value() or 0.0))
        except St2msiError as error:
            self.dock.messages.show_warning(str(error))
            return
        self.dock.messages.clear()
        self.run_bar.begin("Predicting before and after the change")
        call = partial(explaining.perturb, model, section, change, self.spots.mask())
        self._of = section
        self._jobs.start(Job("Change genes", call))

    def _on_changed(self, found: Perturbation) -> None:
        # A job that was superseded is never heard of again, so this is what the last one was about.
        assert self._of is not None
        self.found = self._of, found
        if self._of is not self.state.section:
            return
        rows = [
            (str(ion), self._label(str(ion)).removeprefix("m/z "), float(value), f"{value:+.1%}".replace("-", "−"))
            for ion, value in found.ranked()["relative"].head(_SHOWN).items()
        ]
        self.bars.show_rows(rows)
        where = f"{int(found.changed.sum()):,} of {len(found.spots):,} spots"
        self.title.setText(f"{found.changes[0].words()} in {where}")
        unused = f" The model does not use {', '.join(found.unused[:3])}." if found.unused else ""
        self.unit.setText(f"Change of the mean intensity in the changed spots.{unused}")
        self._show_ion()

    def _show_ion(self) -> None:
        """Show over the tissue how the ion looked at changes."""
        section, ion = self.state.section, self.state.ion
        if section is None or self.found is None or self.found[0] is not section:
            return
        self.result.show()
        found = self.found[1]
        self.bars.choose(ion)
        if not self.front or ion not in found.ions.index:
            return
        values = found.change[:, found.ions.index.get_loc(ion)]
        spread = spread_of(values)
        self._show_values(
            values,
            (-spread, spread),
            layers.DIVERGING,
            name=f"change · {found.changes[0].words()} → {self._label(str(ion))}",
            what="Predicted change",
            unit="intensity",
            explain=self.note.text(),
        )

    def _on_ion(self, ion: str) -> None:
        self.state.ion = ion
        self._show_ion()
