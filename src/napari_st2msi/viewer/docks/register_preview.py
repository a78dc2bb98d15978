"""MSI over ST in the left canvas, as the registration at hand lays it, while landmarks are moved."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QSlider, QStackedWidget, QVBoxLayout, QWidget

from napari_st2msi.progress import Progress, check, never
from napari_st2msi.registration.overlay import Mode, Overlay
from napari_st2msi.registration.views import View
from napari_st2msi.viewer.aside import see
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_picture import insert, put_above, replace_data
from napari_st2msi.viewer.docks.register_views import ViewsPanel
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.layers import swapped
from napari_st2msi.viewer.parts.fields import ChoiceField, NumberField
from napari_st2msi.viewer.parts.words import Words

#: The name of the layer and its mark.
NAME = "preview"
_MODES = (("off", "off"), ("blend", "blend"), ("checkerboard", "checkerboard"), ("swipe", "swipe line"))
#: Finer than this nobody sees on a screen, and coarser follows a drag more quickly.
_LONGEST_PX = 800
_STEPS = 1000


@dataclass(frozen=True, eq=False)
class Wanted:
    """What the preview should show.

    Attributes
    ----------
    fixed, moving
        The pictures of ST and MSI.
    transform
        From µm of the MSI to µm of the ST.
    tile_um
        Side of a tile of the checkerboard.
    swipe
        Where the line is, as a part of the width: MSI lies to the left of it.
    """

    fixed: View
    moving: View
    transform: Any
    mode: Mode
    tile_um: float
    swipe: float


class Renderer:
    """Draws what is wanted, and keeps what the next picture can use of the last one.

    It belongs to the one job that runs at a time.
    """

    def __init__(self) -> None:
        self._last: Wanted | None = None
        self._overlay: Overlay | None = None
        self._warped: NDArray[np.uint8] | None = None

    def __call__(
        self, wanted: Wanted, *, progress: Progress = Progress(), cancelled: Callable[[], bool] = never
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Return (rows, columns, 4) uint8 of the MSI over the ST, and how its pixels lie in µm of the ST."""
        last = self._last
        if self._overlay is None or last is None or wanted.fixed is not last.fixed:
            self._overlay = Overlay(wanted.fixed, wanted.moving, wanted.transform, longest=_LONGEST_PX)
            self._warped = None
        elif wanted.moving is not last.moving or wanted.transform is not last.transform:
            self._overlay.show(wanted.moving)
            self._overlay.transform = wanted.transform
            self._warped = None
        self._last = wanted
        check(cancelled)
        if self._warped is None:
            self._warped = self._overlay.warped()
        check(cancelled)
        picture = self._overlay.masked(self._warped, wanted.mode, tile_um=wanted.tile_um, swipe=wanted.swipe)
        return picture, self._overlay.to_um


class PreviewPanel(QWidget):
    """How MSI is drawn over ST: not at all, blended, as a checkerboard, or up to a line.

    Pictures are made in the background, one at a time: while one is made, only the newest wish is
    remembered, so a drag is followed as quickly as pictures come, and what is old is never shown last.

    Parameters
    ----------
    context
        What the parts of the Register dock share; the preview follows its registration.
    fixed, moving
        The panels whose pictures are laid over each other.
    """

    #: The way of previewing changed.
    changed = Signal()
    #: New pixels are in the layer.
    drawn = Signal()
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, fixed: ViewsPanel, moving: ViewsPanel) -> None:
        super().__init__()
        self.context, self._fixed, self._moving = context, fixed, moving
        self.jobs = Jobs(context.state, self)
        self.layer: Image | None = None
        self._renderer = Renderer()
        self._drawing: Wanted | None = None
        self._again = False

        self.mode = ChoiceField(_MODES)
        self.mode.setAccessibleName("Preview")
        self.opacity = _slider("Opacity", 0.6)
        self.swipe = _slider("Place of the line", 0.5)
        self.tile = NumberField(10, 100_000, unit="µm")
        self.tile.set_value(500)
        self.tile.setAccessibleName("Side of a tile")
        self._settings = QStackedWidget()
        pages = {"off": QWidget(), "blend": self.opacity, "checkerboard": self.tile, "swipe": self.swipe}
        self._places = {mode: self._settings.addWidget(page) for mode, page in pages.items()}
        self._label = QLabel()
        self.note = Words(role="note")
        row = QHBoxLayout()
        row.setSpacing(6)
        row.addWidget(self.mode, 1)
        row.addWidget(self._label)
        row.addWidget(self._settings, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addLayout(row)
        layout.addWidget(self.note)

        self.mode.changed.connect(self._on_mode)
        self.opacity.valueChanged.connect(self._on_opacity)
        self.swipe.valueChanged.connect(self._want)
        self.tile.changed.connect(self._want)
        self.jobs.done.connect(self._on_drawn)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.ended.connect(self._on_ended)
        for panel in (fixed, moving):
            panel.view_changed.connect(self._want)
        context.registration_changed.connect(self._want)
        context.section_changed.connect(self._on_section)
        context.shown_changed.connect(self._on_shown)
        self._on_mode()

    # -- what is wanted -------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        """Whether a preview is wanted."""
        return bool(self.mode.value() != "off")

    def summary(self) -> str:
        """Return the way of previewing, in few words."""
        return dict(_MODES)[self.mode.value()]

    def show_mode(self, mode: str) -> None:
        """Preview in another way, as if the user had chosen it."""
        self.mode.set_value(mode)

    def show_if_off(self, *_: Any) -> None:
        """Blend MSI over ST unless it is previewed already, because there is something to judge."""
        if not self.on:
            self.show_mode("blend")

    @property
    def wanted(self) -> Wanted | None:
        """What should be seen now; None while the preview is off or something for it is missing."""
        registration = self.context.registration
        fixed, moving = self._fixed.view, self._moving.view
        if not self.on or not self.context.shown or registration is None or fixed is None or moving is None:
            return None
        return Wanted(
            fixed,
            moving,
            registration.transform,
            cast("Mode", self.mode.value()),
            float(self.tile.value() or 0.0),
            self.swipe.value() / _STEPS,
        )

    def _want(self, *_: Any) -> None:
        """Draw what is wanted now; while a picture is made, right after it."""
        wanted = self.wanted
        self._say()
        if wanted is None:
            self._hide()
        elif self.jobs.running:
            self._again = True
        else:
            self._drawing, self._again = wanted, False
            self.jobs.start(Job("Preview", partial(self._renderer, wanted)))

    def _on_drawn(self, result: tuple[NDArray[np.uint8], NDArray[np.float64]]) -> None:
        wanted, drawing = self.wanted, self._drawing
        # A picture of other data is stale; one of an older fit is on the way to the newest.
        if wanted is None or drawing is None or (wanted.fixed, wanted.moving) != (drawing.fixed, drawing.moving):
            return
        self._put(*result)
        self.drawn.emit()

    def _on_failed(self, words: str, details: str) -> None:
        self._hide()
        self.failed.emit(words, details)

    def _on_ended(self) -> None:
        if self._again:
            self._want()

    # -- the layer ------------------------------------------------------------------------------

    def _put(self, rgba: NDArray[np.uint8], to_um: NDArray[np.float64]) -> None:
        viewer, below = self.context.left, self._fixed.picture.layer
        if self.layer is None or self.layer not in viewer.layers:
            self.layer = Image(np.array(rgba), rgb=True, affine=swapped(to_um), name=NAME, units=("um", "um"))
            self._on_opacity()
            insert(viewer, viewer.layers.index(below) + 1 if below in viewer.layers else 0, self.layer)
        else:
            replace_data(self.layer, rgba, to_um)
            if below in viewer.layers:
                put_above(viewer, self.layer, below)
        see(self.layer, True)

    def _hide(self) -> None:
        if self.layer is not None:
            see(self.layer, False)

    # -- controls -------------------------------------------------------------------------------

    def _on_mode(self) -> None:
        mode = str(self.mode.value())
        self._settings.setCurrentIndex(self._places[mode])
        self._settings.setVisible(self.on)
        self._label.setText({"blend": "opacity", "checkerboard": "tile", "swipe": "line"}.get(mode, ""))
        self._label.setVisible(self.on)
        self._on_opacity()
        self.changed.emit()
        self._want()

    def _on_opacity(self, *_: Any) -> None:
        # Of the layer, so that nothing has to be drawn anew. Tiles and lines are compared undiluted.
        if self.layer is not None:
            self.layer.opacity = self.opacity.value() / _STEPS if self.mode.value() == "blend" else 1.0

    def _say(self) -> None:
        missing = self.on and self.context.section is not None and self.context.registration is None
        self.note.setText("Three landmarks, or an automatic registration, are needed to see the MSI over it.")
        self.note.setVisible(missing)

    # -- following the context ------------------------------------------------------------------

    def _on_section(self, _section: object) -> None:
        self.jobs.shut()
        self._again = False
        self._renderer = Renderer()
        self._hide()
        self._want()

    def _on_shown(self, shown: bool) -> None:
        if shown:
            self._want()
        else:
            self._hide()


def _slider(name: str, value: float) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setRange(0, _STEPS)
    slider.setPageStep(_STEPS // 10)
    slider.setValue(round(value * _STEPS))
    slider.setAccessibleName(name)
    slider.setToolTip(name)
    return slider
