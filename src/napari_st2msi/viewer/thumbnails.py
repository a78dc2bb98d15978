"""Small pictures of ions for the table."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from napari.utils.colormaps import ensure_colormap
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_st2msi.viewer.ion_values import limits_of
from napari_st2msi.viewer.layers import INTENSITY

WIDTH, HEIGHT = 48, 28


@dataclass(frozen=True)
class Binning:
    """Which pixel of a small picture each place falls into.

    Attributes
    ----------
    shape
        Rows and columns of the picture.
    bins
        (n,) number of the pixel, row by row.
    """

    shape: tuple[int, int]
    bins: NDArray[np.int64]

    @classmethod
    def of(cls, xy: NDArray[np.float64]) -> Binning:
        """Bin (n, 2) places into a picture that fits the table."""
        low = xy.min(axis=0)
        size = np.maximum(xy.max(axis=0) - low, 1e-9)
        # No more bins than there are places to fill them.
        coarse = min(1.0, float(np.sqrt(len(xy) / (2 * WIDTH * HEIGHT))))
        scale = max(coarse, 0.25) * min(WIDTH / size[0], HEIGHT / size[1])
        columns, rows = np.maximum(1, np.ceil(size * scale)).astype(int)
        place = np.minimum(((xy - low) * scale).astype(np.int64), [columns - 1, rows - 1])
        return cls((int(rows), int(columns)), place[:, 1] * columns + place[:, 0])

    def mean(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (rows, columns) means, NaN where nothing falls or all is missing."""
        finite = np.isfinite(values)
        n = self.shape[0] * self.shape[1]
        count = np.bincount(self.bins[finite], minlength=n)
        with np.errstate(invalid="ignore"):
            mean = np.bincount(self.bins[finite], weights=values[finite], minlength=n) / count
        return np.asarray(mean, dtype=float).reshape(self.shape)


def icon(picture: NDArray[np.float64]) -> QIcon:
    """Return a (rows, columns) picture in the colours of intensities, missing transparent."""
    (low, high), _ = limits_of(picture.ravel())
    colours = ensure_colormap(INTENSITY).map((picture.ravel() - low) / (high - low)) * 255
    colours[~np.isfinite(picture.ravel())] = 0
    rows, columns = picture.shape
    pixels = np.ascontiguousarray(colours, dtype=np.uint8).tobytes()
    image = QImage(pixels, columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
    return QIcon(
        QPixmap.fromImage(image).scaled(
            WIDTH, HEIGHT, Qt.AspectRatioMode.KeepAspectRatio, Qt.TransformationMode.SmoothTransformation
        )
    )
