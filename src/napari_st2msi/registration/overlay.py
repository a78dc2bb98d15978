"""MSI over ST as pictures, quick enough to follow a landmark that is being dragged."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.threads import threads_for
from napari_st2msi.registration.transforms.base import Transform
from napari_st2msi.registration.views import View
from napari_st2msi.shapes import map_points

Mode = Literal["blend", "checkerboard", "swipe"]

# A transform is evaluated at every such pixel, and between them by a cubic spline. Of 800 pixels over 6.5 mm and warps
# of 100 to 300 µm, half are off by less than 0.003 pixels; near landmarks of a thin plate it is up to 0.2, and along
# the edge of the grid of a free-form, where its slope jumps, up to 0.6 (1.0 where control points are 0.5 mm apart).
_STEP = 12
# Sizes of the MSI: what falls farther away than this is not told apart.
_FAR = 4


class Overlay:
    """MSI seen through a transform, pixel by pixel over a picture of the ST.

    Every pixel of the picture is carried back to the MSI and takes the colour of the MSI pixel it falls
    into, so what is seen are pixels as they were measured.

    Parameters
    ----------
    fixed
        A picture of the ST; its extent is that of all pictures made here.
    moving
        A picture of the MSI.
    transform
        From µm of the MSI to µm of the ST. The attribute may be set anew at any time.
    longest
        Pixels along the longer side.
    colormap
        Colours of values, as matplotlib names them; pictures that hold colours keep theirs.

    Attributes
    ----------
    to_um
        (3, 3) float64: (column, row, 1) of the pictures, pixel centres at integers, to µm (``st2msi``).
    pitch_um
        Side of a pixel.
    """

    def __init__(
        self, fixed: View, moving: View, transform: Transform, *, longest: int = 1000, colormap: str = "viridis"
    ) -> None:
        self.transform = transform
        rows, columns = fixed.image.shape[:2]
        edges = np.array([[-0.5, -0.5], [columns - 0.5, -0.5], [-0.5, rows - 0.5], [columns - 0.5, rows - 0.5]])
        corners = map_points(fixed.to_um, edges)
        low, high = corners.min(axis=0), corners.max(axis=0)
        self.pitch_um = float((high - low).max()) / longest
        width, height = np.maximum(1, np.rint((high - low) / self.pitch_um)).astype(int)
        self.shape: tuple[int, int] = (int(height), int(width))
        first = low + self.pitch_um / 2
        self.to_um = np.array([[self.pitch_um, 0, first[0]], [0, self.pitch_um, first[1]], [0, 0, 1]])
        self._columns, self._rows = _Nodes(int(width)), _Nodes(int(height))
        self._base = self._lay(rgba_of(fixed, colormap), self._back(fixed.to_um))
        self._moving = rgba_of(moving, colormap)
        self._to_pixel = np.linalg.inv(moving.to_um)

    def base(self) -> NDArray[np.uint8]:
        """Return (rows, columns, 3) uint8: the ST, white where there is none."""
        opacity = self._base[..., 3:]
        return np.where(opacity > 0, self._base[..., :3], np.uint8(255))

    def show(self, moving: View, colormap: str = "viridis") -> None:
        """Look at another picture of the MSI from now on."""
        self._moving = rgba_of(moving, colormap)
        self._to_pixel = np.linalg.inv(moving.to_um)

    def warped(self) -> NDArray[np.uint8]:
        """Return (rows, columns, 4) uint8: the MSI where it lies over the ST, transparent elsewhere."""
        with threads_for(0):  # many small products: threads would only wait for each other
            column, row = self._pixels_of_msi()
        return self._lay(self._moving, (column, row))

    def masked(
        self,
        rgba: NDArray[np.uint8],
        mode: Mode = "blend",
        *,
        opacity: float = 1.0,
        tile_um: float = 500.0,
        swipe: float = 0.5,
    ) -> NDArray[np.uint8]:
        """Return what `warped` gave with the opacity of a way to compare.

        Parameters
        ----------
        rgba
            (rows, columns, 4) uint8.
        mode
            ``blend``: all of it; ``checkerboard``: every other tile; ``swipe``: what is left of a line.
        opacity
            Of what is shown, 0 to 1.
        tile_um
            Side of a tile in µm.
        swipe
            Where the line is, from 0 (left edge) to 1 (right edge).
        """
        rows, columns = self.shape
        shown = rgba.copy()
        alpha = shown[..., 3]
        if opacity < 1:
            alpha[:] = np.rint(alpha * np.float32(max(opacity, 0.0))).astype(np.uint8)
        if mode == "checkerboard":
            tile = max(tile_um / self.pitch_um, 1.0)
            odd_row, odd_column = ((np.arange(count) // tile).astype(int) % 2 for count in (rows, columns))
            alpha[(odd_row[:, None] ^ odd_column[None, :]).astype(bool)] = 0
        elif mode == "swipe":
            alpha[:, round(np.clip(swipe, 0, 1) * columns) :] = 0
        return shown

    def _back(self, to_um: NDArray[np.float64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return column and row in another picture for every pixel of this one."""
        matrix = np.linalg.inv(to_um) @ self.to_um
        row, column = np.ogrid[: self.shape[0], : self.shape[1]]
        x, y = (np.asarray(line[0] * column + line[1] * row + line[2], dtype=np.float32) for line in matrix[:2])
        return x, y

    def _pixels_of_msi(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return column and row in the picture of the MSI for every pixel of this one."""
        um = map_points(self.to_um, np.stack(np.meshgrid(self._columns.at, self._rows.at), axis=-1).reshape(-1, 2))
        nodes = map_points(self._to_pixel, self.transform.inverse(um)).reshape(
            len(self._rows.at), len(self._columns.at), 2
        )
        known: NDArray[Any] = np.asarray(np.isfinite(nodes).all(axis=2))
        # Beyond the horizon of a projective transform or in a fold there is no answer. A cubic would carry what is
        # put there far around; straight lines keep it to the cells beside.
        smooth = bool(known.all())
        size = self._moving.shape[1::-1]
        nodes = np.clip(np.where(known[..., None], nodes, 0), np.multiply(size, -_FAR), np.multiply(size, _FAR))
        column, row = (self._between(nodes[..., axis], smooth) for axis in (0, 1))
        if not smooth:
            column[self._between(~known, False) > 0] = -1
        return column, row

    def _between(self, nodes: NDArray[Any], smooth: bool) -> NDArray[np.float32]:
        """Return (rows, columns) values for all pixels from those at the nodes."""
        rows, columns = (line.cubic if smooth else line.linear for line in (self._rows, self._columns))
        return np.asarray(rows @ nodes.astype(np.float32) @ columns.T)

    def _lay(
        self, rgba: NDArray[np.uint8], place: tuple[NDArray[np.float32], NDArray[np.float32]]
    ) -> NDArray[np.uint8]:
        """Look colours up at (column, row), pixel centres at integers."""
        # A transparent frame takes all that falls outside, so that nothing needs to be asked twice.
        framed = np.pad(rgba, ((1, 1), (1, 1), (0, 0)))
        height, width = framed.shape[:2]
        colours = np.ascontiguousarray(framed).view(np.uint32).reshape(-1)
        # Half a pixel up and one for the frame: truncation is then rounding.
        column = np.clip(place[0] + np.float32(1.5), 0, width - 1).astype(np.int32)
        row = np.clip(place[1] + np.float32(1.5), 0, height - 1).astype(np.int32)
        row *= width
        row += column
        return np.ascontiguousarray(colours[row]).view(np.uint8).reshape(*self.shape, 4)


class _Nodes:
    """Every so many pixels of a line, and the weights with which they give all pixels between."""

    def __init__(self, count: int) -> None:
        from scipy.interpolate import CubicSpline

        number = max(4, -(-(count - 1) // _STEP) + 1)  # less than four make no cubic
        self.at = np.linspace(0, max(count - 1, 1), number)
        pixels, unit = np.arange(count), np.eye(number)
        self.cubic: NDArray[np.float32] = CubicSpline(self.at, unit)(pixels).astype(np.float32)
        self.linear: NDArray[np.float32] = np.stack([np.interp(pixels, self.at, each) for each in unit], axis=1).astype(
            np.float32
        )


def rgba_of(view: View, colormap: str = "viridis") -> NDArray[np.uint8]:
    """Return the colours of a picture, (rows, columns, 4) uint8, transparent where nothing was measured."""
    if view.rgb:
        image: NDArray[np.uint8] = view.image
        if image.shape[2] == 4:
            return image
        return np.dstack([image, np.full(image.shape[:2], 255, dtype=np.uint8)])
    from matplotlib import colormaps

    low, high = view.limits if view.limits is not None else (0.0, 1.0)
    table = (colormaps[colormap](np.linspace(0, 1, 256)) * 255).round().astype(np.uint8)
    there = np.isfinite(view.image)
    level = np.clip((np.where(there, view.image, low) - low) * (256 / max(high - low, 1e-12)), 0, 255).astype(np.uint8)
    colours = table[level]
    colours[~there] = 0
    return np.asarray(colours)
