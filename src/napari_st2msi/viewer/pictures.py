"""The pictures of the ion looked at: which are shown, how they lie, and what they show."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from psygnal import Signal

from napari_st2msi.section import Section
from napari_st2msi.viewer import layers as make
from napari_st2msi.viewer.aside import bring_back, put_aside, see, wanted
from napari_st2msi.viewer.ion_values import IonSource, IonValues

Picture = Literal["measured", "predicted", "residual"]
PICTURES: tuple[Picture, ...] = ("measured", "predicted", "residual")
# Titles over the cells of a grid: smallest and largest size in points, the width of a letter in
# pixels at one point, and what is kept free of a cell.
_TITLE_POINTS = (6.0, 10.0)
_TITLE_WIDTH = 1.03
_TITLE_MARGIN = 10

#: What lies over the tissue and is no picture of its own.
_OVERLAYS: tuple[make.Role, ...] = (
    "tic",
    "spots",
    "coverage",
    "confidence",
    "novelty",
    "landmarks_st",
    "landmarks_msi",
)


class Pictures:
    """Shows one ion of one section as measured, predicted and residual.

    In a stack one picture is in front and the others are hidden; in a grid those switched on stand
    side by side. The three layers are made once a section; see `napari_st2msi.viewer.layers`.
    """

    #: What is shown or how it lies changed, by the dock or by hand in the layer list.
    changed = Signal()

    def __init__(self, viewer: Any) -> None:
        self.viewer = viewer
        self.section: Section | None = None
        self.source: IonSource | None = None
        self.values: IonValues | None = None
        self.ion: str | None = None
        self.front: Picture = "measured"
        self.on: set[Picture] = set(PICTURES)
        self.measured_at: Literal["pixels", "spots"] = "pixels"
        self._sites: dict[str, make.Site] = {}
        self._busy = False
        self._away = False
        self._fitted: Section | None = None
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.canvas.events.size.connect(self._on_canvas)
        viewer.canvas.grid.events.enabled.connect(self._on_grid)

    # -- what there is --------------------------------------------------------------------------

    def set_source(self, source: IonSource | None, sites: dict[str, make.Site] | None = None) -> None:
        """Look at other values; layers of another section are hidden, not mixed.

        Parameters
        ----------
        sites
            Where ``pixels`` and ``spots`` are drawn.
        """
        with self._by_ourselves():
            if self.section is not None and (source is None or source.section is not self.section):
                for layer in make.own_layers(self.viewer, self.section):
                    put_aside(layer, "another section")
            if source is not None:
                for layer in make.own_layers(self.viewer, source.section):
                    bring_back(layer, "another section")
        self.source = source
        self.section = None if source is None else source.section
        self.values = self.ion = None
        self._sites = {} if sites is None else sites
        if source is None:
            return
        if source.pixels is None:
            self.measured_at = "spots"
        elif source.spots is None:
            self.measured_at = "pixels"

    @property
    def available(self) -> tuple[Picture, ...]:
        """The pictures that there are values for."""
        if self.source is None:
            return ()
        predicted = self.source.predicted is not None
        measured = self.source.pixels is not None or self.source.spots is not None
        return tuple(
            picture
            for picture, there in zip(
                PICTURES, (measured, predicted, predicted and self.source.spots is not None), strict=True
            )
            if there
        )

    @property
    def grid(self) -> bool:
        """Whether pictures stand side by side."""
        return bool(self.viewer.canvas.grid.enabled)

    def site(self, picture: Picture) -> make.Site | None:
        """Return where a picture's values lie."""
        return self._sites.get(self.measured_at if picture == "measured" else "spots")

    def layer(self, picture: Picture) -> Layer | None:
        """Return the layer of a picture, None when it was not made or was deleted."""
        return None if self.section is None else make.find(self.viewer, self.section, picture)

    def is_own(self, layer: Layer) -> bool:
        """Tell whether a layer belongs to the section looked at."""
        return self.section is not None and make.role_of(layer, self.section) is not None

    # -- the ion --------------------------------------------------------------------------------

    def show_ion(self, ion: str, label: str) -> None:
        """Show another ion: the layers stay, their data, limits and names change."""
        assert self.source is not None
        first = self.values is None
        self.ion, self.values = ion, self.source.values(ion)
        with self._by_ourselves():
            for picture in self.available:
                self._draw(picture, label, first)
            if first:
                self._put_away_totals()
        if first:
            self.arrange()
            self._fit_once()
        elif self.grid:
            self.fit_titles()

    def measure_at(self, where: Literal["pixels", "spots"], label: str) -> None:
        """Show measured values of MSI pixels, or of spots as they were paired."""
        if where in self._sites and where != self.measured_at:
            self.measured_at = where
            if self.values is not None:
                with self._by_ourselves():
                    self._draw("measured", label, True)
                self.arrange()

    def come_to_rest(self) -> None:
        """Bring up the slower things, after the user came to rest on an ion."""
        for picture in PICTURES:
            make.come_to_rest(self.layer(picture))

    def _draw(self, picture: Picture, label: str, may_make: bool) -> None:
        assert self.values is not None
        assert self.section is not None
        site = self.site(picture)
        if site is None:
            return
        values = self._values_of(picture)
        if values is None:
            # An ion without a prediction is shown as missing, not as the ion before it.
            values = np.full(len(site.outlines), np.nan, dtype=np.float32)
        residual = picture == "residual"
        limits = (-self.values.spread, self.values.spread) if residual else self.values.limits
        layer = make.show_values(
            self.viewer,
            self.section,
            picture,
            site,
            values,
            limits,
            f"{picture} · {label}",
            make.DIVERGING if residual else make.INTENSITY,
            make=may_make or (picture in self.on and picture == self.front),
        )
        if layer is not None and may_make:
            layer.name_overlay.visible = True

    # -- what is shown --------------------------------------------------------------------------

    def show(self, picture: Picture, label: str) -> None:
        """Bring a picture to the front of the stack; in a grid, switch it on or off."""
        if picture not in self.available:
            return
        missing = self.layer(picture) is None and self.values is not None
        if missing:
            with self._by_ourselves():
                self._draw(picture, label, True)
            self.on.add(picture)
        if self.grid and not missing:
            self.on ^= {picture}
            if not self.on & set(self.available):
                self.on.add(picture)
        if not self.grid:
            self.front = picture
        self.arrange()

    def set_grid(self, side_by_side: bool) -> None:
        """Put the pictures side by side or on a stack; what is in view stays in view."""
        if side_by_side == self.grid:
            return
        camera = self.viewer.scene.camera
        before, centre = camera.zoom, camera.center
        self.viewer.fit_to_view()
        zoomed = before / camera.zoom
        self.on |= set(self.available)
        self.viewer.canvas.grid.stride = 1
        self.viewer.canvas.grid.enabled = side_by_side
        self.viewer.fit_to_view()
        if zoomed > 1.05:
            camera.zoom, camera.center = camera.zoom * zoomed, centre

    def _on_grid(self, _event: Any = None) -> None:
        """Follow that pictures stand side by side or on a stack, whoever decided it.

        What only means something over another layer would take cells of its own, and is put aside.
        """
        if self.section is None:
            return
        with self._by_ourselves():
            for role in _OVERLAYS:
                if (layer := make.find(self.viewer, self.section, role)) is not None:
                    (put_aside if self.grid else bring_back)(layer, "side by side")
        if not self._away:
            self.arrange()

    def arrange(self) -> None:
        """Make visible what should be, in the best shape of a grid."""
        self._away = False
        shown = [p for p in self.available if self.layer(p) is not None and (p in self.on if self.grid else True)]
        if not self.grid:
            if self.front not in shown and shown:
                self.front = shown[0]
            shown = [picture for picture in shown if picture == self.front]
        with self._by_ourselves():
            for picture in PICTURES:
                if (layer := self.layer(picture)) is not None:
                    see(layer, picture in shown)
            active = self.layer(self.front) if self.front in shown else self.layer(shown[0]) if shown else None
            if active is not None and active.visible:
                # The status bar reads the active layer.
                self.viewer.layers.selection.active = active
            histology = None if self.section is None else make.find(self.viewer, self.section, "histology")
            if histology is not None:
                histology.name_overlay.visible = self.grid
        self.fit_titles()
        self.changed.emit()

    def put_away(self) -> None:
        """Hide the pictures, because something else is looked at; `arrange` brings them back."""
        self._away = True
        with self._by_ourselves():
            for picture in PICTURES:
                if (layer := self.layer(picture)) is not None:
                    see(layer, False)

    def fit_titles(self) -> None:
        """Choose the shape of the grid, and a size of the titles at which they fit their cells."""
        columns = 1
        if self.grid:
            shape = self._best_shape()
            self.viewer.canvas.grid.shape = shape
            columns = shape[1]
        room = self.viewer.canvas.size[1] / columns - 2 * _TITLE_MARGIN
        for layer in self.viewer.layers:
            if self.is_own(layer) and layer.name_overlay.visible:
                size = room / (_TITLE_WIDTH * max(len(layer.name), 1))
                size = float(np.clip(size, *_TITLE_POINTS))
                if abs(layer.name_overlay.font_size - size) > 0.2:
                    layer.name_overlay.font_size = size

    def blink(self, other: bool) -> bool:
        """Show predicted for measured, or measured for predicted, while `other`; tell whether it could."""
        pair: tuple[Picture, ...] = ("measured", "predicted")
        layers = [self.layer(picture) for picture in pair]
        shown = not self._away and not self.grid and self.front in pair
        if not shown or None in layers or "predicted" not in self.available:
            return False
        with self._by_ourselves():
            for picture, layer in zip(pair, layers, strict=True):
                assert layer is not None
                see(layer, (picture == self.front) != other)
        return True

    def _best_shape(self) -> tuple[int, int]:
        """Return the rows and columns that make the cells as large as can be."""
        cells = max(1, sum(layer.visible for layer in self.viewer.layers))
        height, width = (max(1, side) for side in self.viewer.canvas.size)
        low, high = self.viewer.layers.extent.world
        tall, wide = np.maximum((high - low)[-2:], 1e-9)
        shapes = [(rows, -(-cells // rows)) for rows in range(1, cells + 1)]
        return max(shapes, key=lambda shape: min(height / shape[0] / tall, width / shape[1] / wide))

    def _fit_once(self) -> None:
        if self.section is not self._fitted:
            self._fitted = self.section
            self.viewer.fit_to_view()

    def _put_away_totals(self) -> None:
        assert self.section is not None
        roles: tuple[make.Role, ...] = ("tic", "spots", "coverage")
        for role in roles:
            if (layer := make.find(self.viewer, self.section, role)) is not None:
                see(layer, False)

    # -- what happens by hand -------------------------------------------------------------------

    @contextmanager
    def _by_ourselves(self) -> Iterator[None]:
        before, self._busy = self._busy, True
        try:
            yield
        finally:
            self._busy = before

    def _on_canvas(self, _event: Any = None) -> None:
        if self.values is not None:
            self.fit_titles()

    def _picture_of(self, layer: Layer) -> Picture | None:
        if self.section is None:
            return None
        role = make.role_of(layer, self.section)
        return role if role in PICTURES else None

    def _on_inserted(self, event: Any) -> None:
        if self._picture_of(event.value) is not None:
            event.value.events.visible.connect(self._on_visible)

    def _on_removed(self, event: Any) -> None:
        picture = self._picture_of(event.value)
        if picture is None or self._busy:
            return
        self.on.discard(picture)
        if not self.on & set(self.available):
            self.on = set()
        self.changed.emit()

    def _on_visible(self, event: Any) -> None:
        picture = self._picture_of(event.source)
        if picture is None or self._busy or event.source.visible != wanted(event.source):
            return
        if event.source.visible:
            self.on.add(picture)
            if not self.grid:
                self.front = picture
        else:
            self.on.discard(picture)
        self.changed.emit()

    # -- the cursor -----------------------------------------------------------------------------

    def at(self, position: tuple[float, ...]) -> dict[Picture, float]:
        """Return the values under a position (y, x in µm), whether shown or hidden behind others."""
        found: dict[Picture, float] = {}
        xy = np.array(position[:-3:-1], dtype=float)
        for picture in self.available:
            site, values = self.site(picture), self._values_of(picture)
            if site is None or values is None:
                continue
            place = site.at(xy)
            if place is not None and np.isfinite(values[place]):
                found[picture] = float(values[place])
        return found

    def interval_at(self, position: tuple[float, ...]) -> tuple[float, float] | None:
        """Return the interval of the spot under a position (y, x in µm), None where there is none."""
        site = self._sites.get("spots")
        if site is None or self.values is None or self.values.lower is None or self.values.upper is None:
            return None
        place = site.at(np.array(position[:-3:-1], dtype=float))
        if place is None:
            return None
        low, high = float(self.values.lower[place]), float(self.values.upper[place])
        return (low, high) if np.isfinite([low, high]).all() else None

    def _values_of(self, picture: Picture) -> NDArray[np.float32] | None:
        if self.values is None:
            return None
        if picture == "measured":
            return self.values.pixels if self.measured_at == "pixels" else self.values.spots
        return self.values.predicted if picture == "predicted" else self.values.residual
