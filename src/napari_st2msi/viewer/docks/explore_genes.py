"""The page of the Explore dock that shows the genes behind the ion looked at."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QWidget

from napari_st2msi.explain.attention import has_attention
from napari_st2msi.explain.attribution import METHODS
from napari_st2msi.explain.checks import Checks
from napari_st2msi.viewer import explaining, layers
from napari_st2msi.viewer.docks.explore_compare import Comparison, Wanted
from napari_st2msi.viewer.docks.explore_page import Page, column_in, pathways_among, rows_with
from napari_st2msi.viewer.explaining import Attended, Explained
from napari_st2msi.viewer.ion_values import spread_of
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.bars import Bars
from napari_st2msi.viewer.parts.deletion_plot import DeletionPlot
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.group import Group
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.style import Look, look_of
from napari_st2msi.viewer.parts.words import Words

_REST_MS = 250
_ATTENTION = "magma"
_SHOWN, _COLUMNS = 15, 10
EVIDENCE = "Model evidence, not causation: what the model uses, not what makes the ion."


class GenesPage(Page):
    """Ranked genes, one of them or a pathway over the tissue, checks, and genes × ions.

    Parameters
    ----------
    dock
        The dock that this is a page of: its viewer, state and messages are used.

    Attributes
    ----------
    found
        What genes bring to the ion, and what the ion attends to, as far as they were worked out.
    """

    role: ClassVar[layers.Role] = "attribution"

    def __init__(self, dock: Dock) -> None:
        super().__init__(dock)
        self.found: dict[str, Explained | Attended] = {}
        self._pathways: dict[str, list[str]] = {}
        self._explaining, self._checking = Jobs(self.state, self), Jobs(self.state, self)
        self._build()
        self._explaining.done.connect(self._on_explained)
        self._explaining.progressed.connect(self.run_bar.progress)
        self._explaining.ended.connect(self.run_bar.hide)
        self._checking.done.connect(self._on_checked)
        for jobs in (self._explaining, self._checking):
            jobs.failed.connect(dock.messages.show_error)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._explain)

    def _build(self) -> None:
        self.evidence = Words(EVIDENCE, role="note")
        self.how = Words(role="note")
        self.spots.changed.connect(self._show_ranked)
        self.kind = QComboBox()
        self.kind.addItem("What genes bring", "contributions")
        self.kind.addItem("What the model attends to", "attention")
        self.kind.activated.connect(self._explain)
        self.kind.hide()
        self.bars = Bars("Genes behind the ion, strongest first")
        self.bars.chosen.connect(self.show_gene)
        self.unit = Words(role="note")
        self.gene = SearchEdit("Find a gene or a pathway")
        self.gene.chosen.connect(self.show_gene)
        self.run_bar = RunBar("")
        self.run_bar.cancel_pressed.connect(self._explaining.cancel)
        self.run_bar.hide()
        self.deletion, self.checked = DeletionPlot(), Words(role="note")
        self.deletion.set_look(look_of(self.viewer))
        checks = QWidget()
        below = column_in(checks)
        below.addWidget(self.deletion)
        below.addWidget(self.checked)
        self.checks = Group("Checks", checks)
        self.comparison = Comparison(self.dock, self._to_compare)
        self.comparison.chosen.connect(self._on_cell)
        self.matrix = Group("Genes × ions", self.comparison, open=False)

        for part in (self.title, self.evidence):
            self.column.addWidget(part)
        self.column.addLayout(rows_with(("Spots", self.spots)))
        for part in (self.kind, self.bars, self.unit):
            self.column.addWidget(part)
        self.column.addLayout(rows_with(("On the tissue", self.gene)))
        for part in (self.colour_bar, self.run_bar, self.how, self.checks, self.matrix):
            self.column.addWidget(part)
        self.column.addStretch()

    def set_look(self, look: Look) -> None:
        """Follow theme and font size."""
        self.deletion.set_look(look)

    def refresh(self) -> None:
        """Follow another section, model or ion."""
        section, model, ion = self.state.section, self.state.model, self.state.ion
        self.comparison.follow(section, model)
        self.spots.set_section(section if section is not None and section.has_st else None)
        why = ""
        if section is None or not section.has_st:
            why = "Genes are needed to explain ions, and this section has none."
        elif model is None:
            why = "Train a model in this session, or load one, to see which genes are behind its predictions."
        elif ion is None or ion not in model.ions.index:
            why = "The model does not predict this ion. Choose another one in the table."
        if self._say_empty(why, "Open the Train dock" if section is not None and model is None else ""):
            self._explaining.shut()
            return
        assert model is not None
        attends = has_attention(model.predictor)
        self.kind.setVisible(attends)
        if not attends:
            self.kind.setCurrentIndex(0)
        if not self.front:
            return
        if self.shown is not None:
            self._explain()
        else:
            self._rest.start()

    # -- explaining -----------------------------------------------------------------------------

    @property
    def shown(self) -> Explained | Attended | None:
        """What is ranked and shown over the tissue; None until it is worked out for the ion looked at."""
        found, section = self.found.get(self.kind.currentData()), self.state.section
        fits = (
            found is not None
            and section is not None
            and found.model is self.state.model
            and found.ion == self.state.ion
            and found.genes is section.st
        )
        return found if fits else None

    def _explain(self, *_: Any) -> None:
        section, model, ion = self.state.section, self.state.model, self.state.ion
        if not self.front or section is None or model is None or ion is None or ion not in model.ions.index:
            return
        self.title.setText(f"Genes behind {self._label(ion)}")
        self._checking.cancel()
        if self.shown is not None:
            self._show()
            return
        self.run_bar.show()
        if self.kind.currentData() == "attention":
            self.run_bar.begin("Reading attention")
            call: Any = partial(explaining.attend, model, section, ion)
        else:
            self.run_bar.begin("Working out what each gene brings")
            call = partial(explaining.explain, model, section, ion, self.found.get("contributions"))
        self._explaining.start(Job("Explain", call))

    def _on_explained(self, found: Explained | Attended) -> None:
        self.found["attention" if isinstance(found, Attended) else "contributions"] = found
        if self.shown is found:
            self._show()

    def _show(self) -> None:
        """Show what was worked out, and work out the checks."""
        found = self.shown
        assert found is not None
        self.how.setText(how_found(found))
        self._offer(found)
        self._show_ranked()
        self.checked.setText("Working out the checks.")
        self._checking.start(Job("Check the explanation", partial(explaining.check, found)))

    def _offer(self, found: Explained | Attended) -> None:
        """Offer genes, and the pathways that some of them belong to."""
        names = found.names.astype(str).tolist()
        self._pathways = pathways_among(names)
        self.gene.set_choices([(name, name) for name in (*self._pathways, *names)])

    def _show_ranked(self) -> None:
        shown = self.shown
        if shown is None:
            return
        mask = self.spots.mask()
        if mask is not None and not mask[shown.rows].any():
            self.unit.setText("No spot lies in the drawn region. Draw around some.")
            self.bars.show_rows([])
            return
        ranked = shown.ranked(mask).head(_SHOWN)
        words = "{:.2g}".format if isinstance(shown, Attended) else signed
        self.bars.show_rows([(str(gene), str(gene), float(bar), words(bar)) for gene, bar in ranked.items()])
        if isinstance(shown, Attended):
            self.unit.setText(f"Mean share of attention over {self.spots.summary}. What is read need not be used.")
        elif mask is None:
            self.unit.setText(f"Mean size of contributions in {shown.unit}; right: more of the gene, more of the ion.")
        else:
            self.unit.setText(
                f"Mean contribution over {self.spots.summary}, in {shown.unit}, against the training mean."
            )
        self.show_gene(self.gene.key or str(ranked.index[0]))

    def show_gene(self, name: str) -> None:
        """Show over the tissue what a gene, or the genes of a pathway together, bring to the ion."""
        shown = self.shown
        genes = self._pathways.get(name, [name])
        if shown is None or not shown.names.isin(genes).any():
            return
        self.gene.choose(name)
        self.bars.choose(name)
        if not self.front:
            return
        assert self.state.section is not None
        values, what = shown.of(genes, int(self.state.section.st.n_obs)), name.partition(" (pathway")[0]
        spread = spread_of(values)
        attention = isinstance(shown, Attended)
        self._show_values(
            values,
            (0.0, spread) if attention else (-spread, spread),
            _ATTENTION if attention else layers.DIVERGING,
            name=f"{'attention' if attention else 'attribution'} · {what} → {self._label(shown.ion)}",
            what=f"{what} → ion",
            unit=shown.unit,
            explain=EVIDENCE,
        )

    def _on_checked(self, checks: Checks) -> None:
        self.deletion.show_curve(checks.deletion)
        self.checked.setText(
            checks_in_words(checks, "most attended" if isinstance(self.shown, Attended) else "strongest")
        )
        self.checks.update_title()

    # -- genes × ions ---------------------------------------------------------------------------

    def _to_compare(self) -> Wanted | None:
        """Return what to compare: the ion looked at, favourites and the best predicted ones, in the chosen spots."""
        section, model = self.state.section, self.state.model
        if section is None or not section.has_st or model is None:
            return None
        wanted = [str(self.state.ion), *sorted(self.state.favourites), *self._best]
        ions = [ion for ion in dict.fromkeys(wanted) if ion in model.ions.index][:_COLUMNS]
        labels = {ion: self._label(ion).removeprefix("m/z ") for ion in ions}
        attention = self.kind.currentData() == "attention"
        return Wanted(section, section.st, model, labels, self.spots.mask(), self.spots.summary, attention)

    def _on_cell(self, gene: str, ion: str) -> None:
        self.gene.choose(gene)
        if ion == self.state.ion:
            self.show_gene(gene)
        else:
            self.state.ion = ion


def how_found(found: Explained | Attended) -> str:
    """Return how something was worked out, and what it leaves open."""
    n = int(found.genes.n_obs)
    some = "" if len(found.rows) == n else f" {len(found.rows):,} of the spots are explained."
    if isinstance(found, Attended):
        return f"The mean over heads, layers and networks; of each spot and ion it adds up to 1.{some}"
    left = found.attribution.relative_gap
    rest = f"leave {left:.1%} of it unexplained" if left >= 5e-4 else "add up to it"
    return (
        f"By {METHODS[found.attribution.method]}. What the prediction differs by from that at the training mean is "
        f"shared out among genes: their contributions {rest}.{some}"
    )


def signed(value: float) -> str:
    """Return a number with its sign, as people write it."""
    return f"{value:+.2g}".replace("-", "−")


def checks_in_words(checks: Checks, which: str) -> str:
    """Return what the checks say of the genes that are the strongest, or the most attended."""
    times, n = checks.deletion.advantage, checks.deletion.compared
    text = f"Taking the {n} {which} genes to their mean moves the prediction {times:.1f} × as far as {n} random ones."
    if checks.random_weights is not None:
        text += f" Ranks of genes correlate {checks.random_weights:.2f} with those of networks with random weights"
        text += " (near 0 is good)."
    if checks.agreement is not None:
        text += f" The model's networks agree with each other by {checks.agreement:.2f}."
    return text
