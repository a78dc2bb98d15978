"""What the pages of the Explore dock about genes share: an empty state, spots to choose, one layer on the canvas."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFormLayout, QScrollArea, QVBoxLayout, QWidget
from superqt import QElidingLabel

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.pathways import bundled_sets, members
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.aside import see
from napari_st2msi.viewer.docks.explore_spots import SpotsChoice
from napari_st2msi.viewer.parts.colour_bar import ColourBar
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.open_dock import open_dock


class Page(QScrollArea):
    """A page about the genes of the section and the ion looked at.

    Parameters
    ----------
    dock
        The dock that this is a page of: its viewer, state and messages are used.

    Attributes
    ----------
    front
        Whether the page is looked at.
    """

    #: Other values are shown over the tissue.
    drawn = Signal()
    #: Of the layer that is seen while the page is.
    role: ClassVar[layers.Role]

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self.dock, self.viewer, self.state = dock, dock.viewer, dock.state
        self.front = False
        self._labels: dict[str, str] = {}
        self._best: list[str] = []
        self.setWidgetResizable(True)
        self.setFrameShape(QScrollArea.Shape.NoFrame)
        self.empty = EmptyState()
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Train"))
        self.title = QElidingLabel()
        self.title.setProperty("role", "title")
        self.spots = SpotsChoice(self.viewer)
        self.colour_bar = ColourBar()
        self.content = QWidget()
        self.column = column_in(self.content)
        whole = QWidget()
        outer = column_in(whole)
        outer.addWidget(self.empty)
        outer.addWidget(self.content)
        outer.addStretch()
        self.setWidget(whole)

    def set_ions(self, labels: dict[str, str], best: list[str]) -> None:
        """Take the words for ions, and the ions, best predicted first."""
        self._labels, self._best = labels, best

    def refresh(self) -> None:
        """Follow another section, model or ion."""
        raise NotImplementedError

    def enter(self) -> None:
        """Be looked at: show the layer."""
        self.front = True
        self.refresh()

    def leave(self) -> None:
        """Be looked at no longer: hide the layer."""
        self.front = False
        self.spots.stop()
        if (layer := self._layer()) is not None:
            see(layer, False)

    def _label(self, ion: str) -> str:
        return self._labels.get(ion, ion)

    def _layer(self) -> Any:
        section = self.state.section
        return None if section is None else layers.find(self.viewer, section, self.role)

    def _say_empty(self, why: str, verb: str = "") -> bool:
        """Show why there is nothing to show, and what to press; or else the content. Return whether it is empty."""
        self.empty.setVisible(bool(why))
        self.content.setVisible(not why)
        if why:
            self.empty.say(why, verb)
        return bool(why)

    def _show_values(
        self,
        values: NDArray[np.float32],
        limits: tuple[float, float],
        colours: str,
        name: str,
        what: str,
        unit: str,
        explain: str,
    ) -> None:
        """Show values of the spots over the tissue, and what their colours mean."""
        assert self.state.section is not None
        section, fresh = self.state.section, self._layer() is None
        site = layers.spot_site(section)
        layer = layers.show_values(self.viewer, section, self.role, site, values, limits, name, colours)
        if layer is not None:
            see(layer, True)
            layer.name_overlay.visible = True
            if fresh:
                self.viewer.layers.selection.active = layer
        self.colour_bar.show_scale(what, colours, limits, provenance=unit, explain=explain)
        self.drawn.emit()


def column_in(widget: QWidget) -> QVBoxLayout:
    """Lay out what is in a page from top to bottom."""
    layout = QVBoxLayout(widget)
    layout.setContentsMargins(0, 2, 4, 4)
    layout.setSpacing(5)
    return layout


def rows_with(*rows: tuple[str, Any]) -> QFormLayout:
    """Return labels with fields (widgets or layouts) that take what room there is."""
    form = QFormLayout()
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    for label, field in rows:
        form.addRow(label, field)
    return form


def pathways_among(genes: list[str]) -> dict[str, list[str]]:
    """Return the bundled pathways that some of the genes belong to: words to choose by → those genes."""
    try:
        found = members(bundled_sets(), genes)
    except ModelProblem:
        return {}
    return {f"{name} (pathway, {len(own)} genes)": own for name, own in found.items()}
