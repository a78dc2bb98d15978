"""The picture of one side of the Register dock in its canvas: drawn in the background, updated in place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from napari.layers import Image, Layer
from numpy.typing import NDArray

from napari_st2msi.progress import Progress, never
from napari_st2msi.registration.views import View, msi_view, st_view
from napari_st2msi.section import Section
from napari_st2msi.viewer.aside import see
from napari_st2msi.viewer.layers import Role, find, show_histology, swapped

Side = Literal["moving", "fixed"]
Kind = Literal["histology", "values", "colours"]

#: Layers of a section that other docks show, too.
_BENEATH: tuple[Role, ...] = ("histology", "spots")
#: Totals stand for the tissue and not for a measure of interest, so colours are left to the landmarks.
_GREY = {"counts", "tic"}


@dataclass(frozen=True, eq=False)
class Drawn:
    """A picture as it comes from the background.

    Attributes
    ----------
    what, name
        Which view of `registration.views`, and of which gene or ion.
    same
        Whether it is the same everywhere, so that nothing can be seen in it.
    """

    what: str
    name: str | None
    view: View
    same: bool = False

    @property
    def kind(self) -> Kind:
        """Which layer shows it."""
        return "histology" if self.what == "histology" else "colours" if self.view.rgb else "values"


def draw(
    section: Section,
    side: Side,
    what: str,
    name: str | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Drawn:
    """Compute the picture of a side."""
    view = (st_view if side == "fixed" else msi_view)(section, what, name)
    return Drawn(what, name, view, _same(view))


class Picture:
    """The picture of one side in its canvas: a layer for values and one for colours, made once.

    The stained section is the layer that all docks share, in full resolution; it is seen while it is
    the picture, and is left as it was found.

    Parameters
    ----------
    viewer
        The canvas.
    """

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self._section: Section | None = None
        self._layers: dict[Kind, Layer] = {}
        self._kind: Kind | None = None
        self._found: dict[Layer, bool] = {}

    @property
    def layer(self) -> Layer | None:
        """The layer to be seen, None while there is none."""
        return None if self._kind is None else self._layers[self._kind]

    def show(self, section: Section, drawn: Drawn) -> None:
        """Show a picture."""
        self._section, kind = section, drawn.kind
        layer = self._layers.get(kind)
        if kind == "histology":
            self._layers[kind] = show_histology(self._viewer, section)
        elif layer is None or layer not in self._viewer.layers:  # not made yet, or deleted by hand
            self._layers[kind] = _new(drawn)
            self._insert(self._layers[kind])
        else:
            _update(layer, drawn)
        self._kind = kind
        self._show_one()

    @property
    def there(self) -> bool:
        """Whether the layer to be seen was not deleted by hand."""
        return self.layer is not None and self.layer in self._viewer.layers

    def hide(self) -> None:
        """Hide the picture, and leave the other layers as they were found.

        The layers stay: napari takes half a second to take one away.
        """
        for kind, layer in self._layers.items():
            if kind != "histology":
                see(layer, False)
        for layer, visible in self._found.items():
            see(layer, visible)
        self._found = {}

    def bring_back(self) -> None:
        """Show the picture again."""
        self._show_one()

    def forget(self) -> None:
        """Hide the picture, because another section is looked at; its layers wait for the next picture."""
        self.hide()
        self._layers.pop("histology", None)
        self._section, self._kind = None, None

    def _show_one(self) -> None:
        if self._kind is None or self._section is None:
            return
        for kind, layer in self._layers.items():
            if kind != "histology":
                see(layer, kind == self._kind)
        # What else shows the section would cover the picture, or be covered by it.
        for role in _BENEATH:
            layer = find(self._viewer, self._section, role)
            if layer is not None:
                self._found.setdefault(layer, layer.visible)
                see(layer, role == "histology" and self._kind == "histology")

    def _insert(self, layer: Layer) -> None:
        """Put a layer over the section and under landmarks and preview."""
        beneath = [find(self._viewer, self._section, role) for role in _BENEATH] if self._section is not None else []
        places = [self._viewer.layers.index(other) for other in beneath if other is not None]
        insert(self._viewer, max(places, default=-1) + 1, layer)


def _same(view: View) -> bool:
    pixels = view.image.reshape(-1, view.image.shape[2]) if view.rgb else view.image[np.isfinite(view.image)]
    return not len(pixels) or bool((pixels == pixels[0]).all())


def insert(viewer: Any, place: int, layer: Layer) -> None:
    """Put a layer into a canvas; the active one stays active, because keys and clicks go there."""
    with _active_kept(viewer):
        viewer.layers.insert(place, layer)


def put_above(viewer: Any, layer: Layer, below: Layer) -> None:
    """Move a layer right above another one, unless it is above it already."""
    place, limit = viewer.layers.index(layer), viewer.layers.index(below)
    if place < limit:
        viewer.layers.move(place, limit + 1)


@contextmanager
def _active_kept(viewer: Any) -> Iterator[None]:
    active = viewer.layers.selection.active
    yield
    if active is not None and active in viewer.layers:
        viewer.layers.selection.active = active


def _new(drawn: Drawn) -> Image:
    view = drawn.view
    look: dict[str, Any] = {"name": view.name, "units": ("um", "um")}
    if view.rgb:
        return Image(_with_alpha(view.image), rgb=True, affine=swapped(view.to_um), interpolation2d="nearest", **look)
    return Image(
        np.array(view.image, dtype=np.float32),
        affine=swapped(view.to_um),
        contrast_limits=_limits(view),
        colormap=_colormap(drawn.what),
        interpolation2d="nearest",
        **look,
    )


def _update(layer: Image, drawn: Drawn) -> None:
    view = drawn.view
    image = _with_alpha(view.image) if view.rgb else np.asarray(view.image, dtype=np.float32)
    replace_data(layer, image, view.to_um)
    if not view.rgb:
        layer.contrast_limits_range = layer.contrast_limits = _limits(view)
        layer.colormap = _colormap(drawn.what)
    layer.name = view.name


def replace_data(layer: Image, image: NDArray[Any], to_um: NDArray[np.float64]) -> None:
    """Give a layer other pixels, in place where they are as many; and the place where they lie."""
    affine = swapped(to_um)
    if not np.allclose(layer.affine.affine_matrix, affine):
        layer.affine = affine
    if layer.data.shape == image.shape:
        # A new array would make napari look at dimensions, extent and texture anew.
        layer.data[...] = image
        layer.refresh(extent=False, thumbnail=False)
    else:
        layer.data = np.array(image)


def _colormap(what: str) -> str:
    return "gray" if what in _GREY else "viridis"


def _limits(view: View) -> tuple[float, float]:
    """Return limits that napari can draw, also of a picture that is the same everywhere."""
    assert view.limits is not None
    low, high = view.limits
    return (low, high) if low < high else (low - 1.0, low + 1.0)


def _with_alpha(image: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (rows, columns, 4), so that all colour pictures have one shape of pixel."""
    if image.shape[2] == 4:
        return np.array(image, dtype=np.uint8)
    return np.dstack([image, np.full(image.shape[:2], 255, dtype=np.uint8)])
