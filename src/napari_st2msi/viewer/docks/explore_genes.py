"""The page of the Explore dock that shows the genes behind the ion looked at."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QFormLayout, QScrollArea, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_st2msi.explain.attention import has_attention
from napari_st2msi.explain.attribution import METHODS, RegionAttribution
from napari_st2msi.explain.checks import Checks
from napari_st2msi.training.folder import TrainedModel
from napari_st2msi.viewer import explaining, layers
from napari_st2msi.viewer.docks.explore_spots import SpotsChoice
from napari_st2msi.viewer.explaining import Attended, Explained
from napari_st2msi.viewer.ion_values import spread_of
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.bars import Bars
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.colour_bar import ColourBar
from napari_st2msi.viewer.parts.deletion_plot import DeletionPlot
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.group import Group
from napari_st2msi.viewer.parts.heatmap import Heatmap
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.style import Look, look_of
from napari_st2msi.viewer.parts.words import Words

_REST_MS = 250
_ATTENTION = "magma"
_SHOWN, _ROWS, _COLUMNS = 15, 14, 10
EVIDENCE = "Model evidence, not causation: what the model uses, not what makes the ion."


class GenesPage(QScrollArea):
    """Ranked genes, one of them over the tissue, checks, and genes × ions.

    Parameters
    ----------
    dock
        The dock that this is a page of: its viewer, state and messages are used.
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self.dock, self.viewer, self.state = dock, dock.viewer, dock.state
        self.explained: Explained | None = None
        self.attended: Attended | None = None
        self.front = False
        self._labels: dict[str, str] = {}
        self._best: list[str] = []
        self._build()
        self._explaining, self._checking, self._comparing, self._attending = (Jobs(self.state, self) for _ in range(4))
        self._attending.done.connect(self._on_attended)
        self._explaining.done.connect(self._on_explained)
        self._checking.done.connect(self._on_checked)
        self._comparing.done.connect(self._on_compared)
        for jobs in self._every_job:
            jobs.failed.connect(dock.messages.show_error)
            jobs.ended.connect(self._on_ended)
            jobs.progressed.connect(self.run_bar.progress)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._explain)

    def _build(self) -> None:
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.empty = EmptyState()
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Train"))
        self.title = QElidingLabel()
        self.title.setProperty("role", "title")
        self.evidence = Words(EVIDENCE, role="note")
        self.how = Words(role="note")
        self.spots = SpotsChoice(self.viewer)
        self.spots.changed.connect(self._show_ranked)
        self.kind = QComboBox()
        self.kind.addItem("What genes bring", "contributions")
        self.kind.addItem("What the model attends to", "attention")
        self.kind.activated.connect(self._on_kind)
        self.kind.hide()
        self.bars = Bars("Genes behind the ion, strongest first")
        self.bars.chosen.connect(self.show_gene)
        self.unit = Words(role="note")
        self.gene = SearchEdit("Find a gene")
        self.gene.chosen.connect(self.show_gene)
        self.colour_bar = ColourBar()
        self.run_bar = RunBar("")
        self.run_bar.cancel_pressed.connect(self._cancel)
        self.run_bar.hide()
        self.deletion, self.checked = DeletionPlot(), Words(role="note")
        self.deletion.set_look(look_of(self.viewer))
        self.compare_button = flat("Compare ions", "Genes behind the favourites and the best predicted ions")
        self.compare_button.clicked.connect(self.compare)
        self.heatmap = Heatmap("Genes by ions")
        self.heatmap.chosen.connect(self._on_cell)
        self.compared = Words(role="note")

        fields = QFormLayout()
        fields.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields.addRow("Spots", self.spots)
        tissue = QFormLayout()
        tissue.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        tissue.addRow("On the tissue", self.gene)
        self.content = QWidget()
        layout = _column(self.content)
        for part in (self.title, self.evidence):
            layout.addWidget(part)
        layout.addLayout(fields)
        layout.addWidget(self.kind)
        layout.addWidget(self.bars)
        layout.addWidget(self.unit)
        layout.addLayout(tissue)
        layout.addWidget(self.colour_bar)
        layout.addWidget(self.run_bar)
        layout.addWidget(self.how)
        checks, matrix = QWidget(), QWidget()
        for holder, parts in (
            (checks, (self.deletion, self.checked)),
            (matrix, (self.compare_button, self.heatmap, self.compared)),
        ):
            column = _column(holder)
            for part in parts:
                column.addWidget(part)
        self.checks = Group("Checks", checks)
        self.matrix = Group("Genes × ions", matrix, open=False)
        layout.addWidget(self.checks)
        layout.addWidget(self.matrix)
        layout.addStretch()
        whole = QWidget()
        outer = _column(whole)
        outer.addWidget(self.empty)
        outer.addWidget(self.content)
        outer.addStretch()
        self.setWidget(whole)

    def set_look(self, look: Look) -> None:
        """Follow theme and font size."""
        self.deletion.set_look(look)

    # -- coming and going -----------------------------------------------------------------------

    def enter(self) -> None:
        """Be looked at: explain the ion, show the layer."""
        self.front = True
        self.refresh()

    def leave(self) -> None:
        """Be looked at no longer: hide the layer."""
        self.front = False
        self.spots.stop()
        if (layer := self._layer()) is not None:
            layer.visible = False

    def set_ions(self, labels: dict[str, str], best: list[str]) -> None:
        """Take the words for ions, and the ions, best predicted first."""
        self._labels, self._best = labels, best

    def refresh(self) -> None:
        """Follow another section, model or ion."""
        section, model, ion = self.state.section, self.state.model, self.state.ion
        self.spots.set_section(section if section is not None and section.has_st else None)
        why = ""
        if section is None or not section.has_st:
            why = "Genes are needed to explain ions, and this section has none."
        elif model is None:
            why = "Train a model in this session, or load one, to see which genes are behind its predictions."
        elif ion is None or ion not in model.ions.index:
            why = "The model does not predict this ion. Choose another one in the table."
        self.empty.setVisible(bool(why))
        self.content.setVisible(not why)
        if why:
            self.empty.say(why, "Open the Train dock" if section is not None and model is None else "")
            self._explaining.shut()
            return
        if not self.front:
            return
        assert model is not None
        if self._up_to_date(model, str(ion)):
            self._explain()
        else:
            self._rest.start()

    # -- explaining -----------------------------------------------------------------------------

    def _explain(self) -> None:
        section, model, ion = self.state.section, self.state.model, self.state.ion
        if not self.front or section is None or model is None or ion is None or ion not in model.ions.index:
            return
        self.title.setText(f"Genes behind {self._label(ion)}")
        if self._up_to_date(model, ion):
            self._show_ranked()
            return
        self._checking.cancel()
        self.run_bar.show()
        self.run_bar.begin("Working out what each gene brings")
        call = partial(explaining.explain, model, section, ion, self.explained)
        self._explaining.start(Job("Explain", call))

    def _up_to_date(self, model: TrainedModel, ion: str) -> bool:
        known, section = self.explained, self.state.section
        return (
            known is not None
            and section is not None
            and (known.model, known.attribution.ion) == (model, ion)
            and known.explainer.inputs.genes is section.st
        )

    def _on_explained(self, explained: Explained) -> None:
        if self.state.model is not explained.model or self.state.ion != explained.attribution.ion:
            return
        self.explained, self.attended = explained, None
        found = explained.attribution
        self.kind.setVisible(has_attention(explained.model.predictor))
        if not has_attention(explained.model.predictor):
            self.kind.setCurrentIndex(0)
        left = found.relative_gap
        rest = f"leave {left:.1%} of it unexplained" if left >= 5e-4 else "add up to it"
        some = "" if len(explained.rows) == self._n_spots else f" {len(explained.rows):,} of the spots are explained."
        self.how.setText(
            f"By {METHODS[found.method]}. What the prediction differs by from that at the training mean is shared out "
            f"among genes: their contributions {rest}.{some}"
        )
        self.checked.setText("Working out the checks.")
        self._on_kind()
        self._checking.start(Job("Check the explanation", partial(explaining.check, explained)))

    def _on_kind(self, *_: Any) -> None:
        """Show contributions, or attention, which is worked out first."""
        explained = self.explained
        if explained is not None and self.kind.currentData() == "attention" and self.attended is None:
            self.run_bar.show()
            self.run_bar.begin("Reading attention")
            self._attending.start(Job("Read attention", partial(explaining.attend, explained.model, explained)))
            return
        if (shown := self._shown) is not None:
            self.gene.set_choices([(name, name) for name in shown.ranked(None).index.astype(str)])
        self._show_ranked()

    def _on_attended(self, attended: Attended) -> None:
        if self.explained is not None and list(attended.attention.ions) == [self.explained.attribution.ion]:
            self.attended = attended
            self._on_kind()

    def _show_ranked(self) -> None:
        explained, shown = self.explained, self._shown
        if explained is None or shown is None or explained.attribution.ion != self.state.ion:
            return
        mask = self.spots.mask()
        if mask is not None and not mask[shown.rows].any():
            self.unit.setText("No spot lies in the drawn region. Draw around some.")
            self.bars.show_rows([])
            return
        ranked = shown.ranked(mask).head(_SHOWN)
        self.bars.show_rows([(str(gene), str(gene), float(bar), signed(bar)) for gene, bar in ranked.items()])
        if isinstance(shown, Attended):
            self.unit.setText(f"Mean share of attention over {self.spots.summary}. What is read need not be used.")
        else:
            self.unit.setText(self._unit_in_words(explained, mask))
        gene = self.gene.key
        self.show_gene(gene if gene is not None else str(ranked.index[0]))

    def _unit_in_words(self, explained: Explained, mask: NDArray[np.bool_] | None) -> str:
        return (
            f"Mean size of contributions in {explained.attribution.unit}; right: more of the gene, more of the ion."
            if mask is None
            else f"Mean contribution over {self.spots.summary}, in {explained.attribution.unit}, against the training "
            "mean."
        )

    def show_gene(self, gene: str) -> None:
        """Show over the tissue what a gene brings to the ion."""
        section, shown = self.state.section, self._shown
        if section is None or shown is None or self.explained is None or gene not in shown.ranked(None).index:
            return
        self.gene.choose(gene)
        self.bars.choose(gene)
        if not self.front:
            return
        values, attention = shown.of(gene, self._n_spots), isinstance(shown, Attended)
        spread = spread_of(values)
        limits, colours = ((0.0, spread), _ATTENTION) if attention else ((-spread, spread), layers.DIVERGING)
        what = "attention" if attention else "attribution"
        name = f"{what} · {gene} → {self._label(self.explained.attribution.ion)}"
        fresh = self._layer() is None
        site = layers.spot_site(section)
        layer = layers.show_values(self.viewer, section, "attribution", site, values, limits, name, colours)
        if layer is not None:
            layer.visible = layer.name_overlay.visible = True
            if fresh:
                self.viewer.layers.selection.active = layer
        unit = "share of attention" if attention else self.explained.attribution.unit
        self.colour_bar.show_scale(f"{gene} → ion", colours, limits, provenance=unit, explain=EVIDENCE)

    # -- checks ---------------------------------------------------------------------------------

    def _on_checked(self, checks: Checks) -> None:
        curve = checks.deletion
        self.deletion.show_curve(curve)
        self.checked.setText(checks_in_words(checks))
        self.checks.update_title()

    # -- genes × ions ---------------------------------------------------------------------------

    def compare(self) -> None:
        """Explain the ion looked at, the favourites and the best predicted ones over the chosen spots."""
        section, model = self.state.section, self.state.model
        if section is None or model is None:
            return
        wanted = [str(self.state.ion), *sorted(self.state.favourites), *self._best]
        ions = [ion for ion in dict.fromkeys(wanted) if ion in model.ions.index][:_COLUMNS]
        self.run_bar.show()
        self.run_bar.begin("Comparing ions")
        call = partial(explaining.compare, model, section, ions, self.spots.mask())
        self._comparing.start(Job("Compare ions", call))

    def _on_compared(self, region: RegionAttribution) -> None:
        genes = region.top(_ROWS)
        columns = [(str(ion), self._label(str(ion)).removeprefix("m/z ")) for ion in region.mean.columns]
        signed: NDArray[np.float64] = (region.strength * region.direction).loc[genes].to_numpy()
        self.heatmap.show_values(signed, genes.astype(str).tolist(), columns)
        where = "one spot" if region.n_spots == 1 else f"{region.n_spots:,} spots"
        self.compared.setText(
            f"Strength in {where}, each ion scaled to its strongest gene. Red: more of the gene, more of the ion. "
            "Click a cell to look at it."
        )

    def _on_cell(self, gene: str, ion: str) -> None:
        self.gene.choose(gene)
        if ion == self.state.ion:
            self.show_gene(gene)
        else:
            self.state.ion = ion

    # -- small things ---------------------------------------------------------------------------

    @property
    def _every_job(self) -> tuple[Jobs, ...]:
        return self._explaining, self._checking, self._comparing, self._attending

    @property
    def _shown(self) -> Explained | Attended | None:
        """What is ranked and shown over the tissue."""
        return self.attended if self.kind.currentData() == "attention" else self.explained

    @property
    def _n_spots(self) -> int:
        return 0 if self.state.section is None else int(self.state.section.st.n_obs)

    def _label(self, ion: str) -> str:
        return self._labels.get(ion, ion)

    def _layer(self) -> Any:
        section = self.state.section
        return None if section is None else layers.find(self.viewer, section, "attribution")

    def _cancel(self) -> None:
        for jobs in self._every_job:
            jobs.cancel()

    def _on_ended(self) -> None:
        if not any(jobs.running for jobs in self._every_job if jobs is not self._checking):
            self.run_bar.end()
            self.run_bar.hide()


def signed(value: float) -> str:
    """Return a number with its sign, as people write it."""
    return f"{value:+.2g}".replace("-", "−")


def checks_in_words(checks: Checks) -> str:
    """Return what the checks say."""
    times = checks.deletion.advantage
    text = f"Taking the 20 strongest genes to their mean moves the prediction {times:.1f} × as far as 20 random ones."
    if checks.random_weights is not None:
        text += f" Ranks of genes correlate {checks.random_weights:.2f} with those of networks with random weights"
        text += " (near 0 is good)."
    if checks.agreement is not None:
        text += f" The model's networks agree with each other by {checks.agreement:.2f}."
    return text


def _column(widget: QWidget) -> QVBoxLayout:
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 2, 4, 4)
    layout.setSpacing(5)
    return layout
