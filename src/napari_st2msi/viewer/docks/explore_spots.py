"""Which spots to explain or to change: all, those in drawn shapes, one that is clicked, or a cluster."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import numpy as np
import pandas as pd
import shapely
from napari.layers import Shapes
from numpy.typing import NDArray
from qtpy.QtCore import QTimer, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.parts.buttons import tool
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.words import Words

_REST_MS = 200
_CLICK_PX = 5
_COLOUR = "#ffb000"
_MOST_CLUSTERS = 60
_MODEL = "the model's cluster"


class SpotsChoice(QWidget):
    """A choice of spots of one section.

    Parameters
    ----------
    viewer
        The viewer that shapes are drawn in. Both pages that use this share the layer of shapes.
    """

    #: Other spots are chosen.
    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self.section: Section | None = None
        self._picked: int | None = None
        self._learned: NDArray[np.str_] | None = None
        self._drawn = False
        self.kind = QComboBox()
        for words, key in (("All spots", "all"), ("Drawn region", "region"), ("One spot", "spot")):
            self.kind.addItem(words, key)
        self.cluster = ChoiceField([])
        self.draw = tool("Draw", "Draw a region on the canvas with the mouse held down")
        self.pick = tool("Pick", "Click a spot on the canvas", checkable=True)
        self.words = Words(role="note")
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.kind, 1)
        row.addWidget(self.draw)
        row.addWidget(self.pick)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row)
        layout.addWidget(self.cluster)
        layout.addWidget(self.words)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._announce)
        self.kind.activated.connect(self._on_kind)
        self.draw.clicked.connect(self.start_drawing)
        self.pick.toggled.connect(self._on_pick)
        self.cluster.changed.connect(self._announce)
        viewer.layers.events.inserted.connect(self._on_layer)
        viewer.layers.events.removed.connect(self._on_layer)
        self._show()

    # -- what is chosen -------------------------------------------------------------------------

    def set_section(self, section: Section | None) -> None:
        """Choose among the spots of another section."""
        if section is not self.section:
            self.section, self._picked, self._learned = section, None, None
            self.kind.setCurrentIndex(0)
            self._offer_clusters()
            self._show()

    def set_learned(self, labels: NDArray[np.str_] | None) -> None:
        """Offer also the clusters that a model knows: (spots,) which one each spot is in; None for none."""
        if labels is None and self._learned is None:
            return
        chosen = self.cluster.value()
        self._learned = labels
        self._offer_clusters()
        box = self.cluster.box
        offered = [box.itemData(place) for place in range(box.count())]  # Qt finds no equal pairs
        if chosen in offered:
            box.setCurrentIndex(offered.index(chosen))
        elif self.kind.currentData() == "cluster":
            self.kind.setCurrentIndex(0)
            self._announce()

    def _offer_clusters(self) -> None:
        """Offer the clusters that the spots of the section are in, if they are in any."""
        clusters = [] if self.section is None else clusters_of(self.section.st.obs)
        if self._learned is not None:
            clusters += [(_MODEL, str(name)) for name in np.unique(self._learned)]
        self.cluster.set_choices([((column, value), f"{column} {value}") for column, value in clusters])
        place = self.kind.findData("cluster")
        if clusters and place < 0:
            self.kind.addItem("Cluster", "cluster")
        elif not clusters and place >= 0:
            if place == self.kind.currentIndex():
                self.kind.setCurrentIndex(0)
            self.kind.removeItem(place)

    def mask(self) -> NDArray[np.bool_] | None:
        """Return which spots are chosen; None for all, as before anything is drawn or picked."""
        if self.section is None or self.kind.currentData() == "all":
            return None
        centres = self.section.spots.centres
        if self.kind.currentData() == "spot":
            if self._picked is None:
                return None
            return np.asarray(np.arange(len(centres)) == self._picked)
        if self.kind.currentData() == "cluster":
            column, value = self.cluster.value()
            if column == _MODEL:
                return np.asarray(self._learned == value)
            return (self.section.st.obs[column].astype(str) == value).to_numpy(dtype=bool)
        layer = self._shapes()
        if layer is None or not len(layer.data):
            return None
        inside = np.zeros(len(centres), dtype=bool)
        for outline, kind in zip(layer.data, layer.shape_type, strict=True):
            inside |= _inside(np.asarray(outline)[:, -2:][:, ::-1], kind, centres)
        return inside

    @property
    def summary(self) -> str:
        """What is chosen, in few words."""
        mask = self.mask()
        if mask is None:
            return "all spots"
        if self.kind.currentData() == "spot" and self.section is not None:
            return f"spot {self.section.st.obs_names[self._picked]}"
        where = "the drawn region" if self.kind.currentData() == "region" else " ".join(self.cluster.value())
        return f"{int(mask.sum()):,} spots in {where}"

    # -- drawing and picking --------------------------------------------------------------------

    def start_drawing(self) -> None:
        """Let the next movement of the mouse draw a region."""
        if self.section is None:
            return
        layer = self._shapes()
        if layer is None:
            layer = Shapes(
                ndim=2, name="region", face_color=[0, 0, 0, 0], edge_color=_COLOUR, edge_width=20, units=("um", "um")
            )
            layers.add(self._viewer, self.section, "region", layer)
        # A new region takes the place of the old one; more of them may be added with napari's own tools.
        layer.data = []
        layer.visible = True
        self._viewer.layers.selection.active = layer
        layer.mode = "add_polygon_lasso"
        self.kind.setCurrentIndex(self.kind.findData("region"))
        self._rest.start()

    def stop(self) -> None:
        """Leave the canvas alone."""
        self.pick.setChecked(False)
        self._stop_drawing()

    def _stop_drawing(self) -> None:
        layer = self._shapes()
        if layer is not None and str(layer.mode) != "pan_zoom":
            layer.mode = "pan_zoom"

    def _on_pick(self, wanted: bool) -> None:
        callbacks = self._viewer.mouse_drag_callbacks
        if wanted:
            self._stop_drawing()
            self.kind.setCurrentIndex(self.kind.findData("spot"))
            callbacks.append(self._on_click)
        elif self._on_click in callbacks:
            callbacks.remove(self._on_click)
        self._show()

    def _on_click(self, _viewer: Any, event: Any) -> Generator[None, None, None]:
        pressed = np.array(event.pos)
        yield
        while event.type == "mouse_move":
            yield
        # A drag moves the canvas; only a click picks.
        if self.section is None or np.hypot(*(np.array(event.pos) - pressed)) > _CLICK_PX:
            return
        spots = self.section.spots
        away = np.hypot(*(spots.centres - np.asarray(event.position)[-2:][::-1]).T)
        self._picked = int(away.argmin())
        self.pick.setChecked(False)
        self._announce()

    def _on_kind(self, _place: int) -> None:
        kind = self.kind.currentData()
        if kind == "region" and self.mask() is None:
            self.start_drawing()
        elif kind == "spot" and self._picked is None:
            self.pick.setChecked(True)
        else:
            self.stop()
        self._announce()

    def _shapes(self) -> Shapes | None:
        return None if self.section is None else layers.find(self._viewer, self.section, "region")

    def _on_layer(self, event: Any) -> None:
        layer = event.value
        if isinstance(layer, Shapes) and self.section is not None and layers.role_of(layer, self.section) == "region":
            layer.events.data.connect(self._on_shape)
            self._rest.start()

    def _on_shape(self, event: Any) -> None:
        if str(getattr(event, "action", "")).endswith("added"):
            self._drawn = True
        self._rest.start()

    def _announce(self) -> None:
        if self._drawn:  # the mouse moves the canvas again
            self._drawn = False
            self._stop_drawing()
        self._show()
        self.changed.emit()

    def _show(self) -> None:
        kind, mask = self.kind.currentData(), self.mask()
        self.draw.setVisible(kind == "region")
        self.pick.setVisible(kind == "spot")
        self.cluster.setVisible(kind == "cluster")
        words = self.summary if kind == "cluster" else ""
        if kind == "region":
            words = "Draw around spots on the canvas with the mouse held down." if mask is None else self.summary
        elif kind == "spot":
            words = "Click a spot on the canvas." if mask is None or self.pick.isChecked() else self.summary
        self.words.setText(words[:1].upper() + words[1:])
        self.words.setVisible(bool(words))


def clusters_of(obs: pd.DataFrame) -> list[tuple[str, str]]:
    """Return columns of `obs` with each of their values, where a column of words has two values to sixty."""
    found = []
    for column in obs:
        values = obs[column]
        if values.dtype.kind not in "OU" and not isinstance(values.dtype, pd.CategoricalDtype):
            continue
        known = sorted(values.dropna().astype(str).unique())
        if 2 <= len(known) <= _MOST_CLUSTERS:
            found += [(str(column), value) for value in known]
    return found


def _inside(outline: NDArray[np.float64], kind: str, centres: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which (n, 2) places lie in a shape whose outline, or box for an ellipse, is given in x and y."""
    if kind in ("line", "path") or len(outline) < 3:
        return np.zeros(len(centres), dtype=bool)
    if kind == "ellipse":
        middle = outline.mean(axis=0)
        axes = np.array([outline[1] - outline[0], outline[2] - outline[1]]).T / 2
        place = np.linalg.lstsq(axes, (centres - middle).T, rcond=None)[0]
        return np.asarray((place**2).sum(axis=0) <= 1)
    polygon = shapely.make_valid(shapely.Polygon(outline))
    shapely.prepare(polygon)
    return np.asarray(shapely.contains_xy(polygon, centres[:, 0], centres[:, 1]))
