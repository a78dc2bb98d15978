"""What either side can show as a picture while landmarks are picked: `View`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.section import Section

#: What the ST side can show, in the order of a menu.
ST_VIEWS = ("histology", "counts", "gene", "components", "clusters")
#: What the MSI side can show.
MSI_VIEWS = ("tic", "ion", "components", "segmentation")


@dataclass(frozen=True, eq=False)
class View:
    """A picture of one side, and where it lies.

    Attributes
    ----------
    image
        (rows, columns) float32 values, NaN outside the tissue; or (rows, columns, 3) uint8 RGB, or
        (rows, columns, 4) where the outside is transparent.
    to_um
        (3, 3) affine from (column, row), pixel centres at integers, to µm of the side's own frame
        (``st2msi`` or ``st2msi_msi``).
    name
        What it shows, in words.
    limits
        Values of the first and the last colour; None for colours.
    """

    image: NDArray[np.float32] | NDArray[np.uint8]
    to_um: NDArray[np.float64]
    name: str
    limits: tuple[float, float] | None = None

    @property
    def rgb(self) -> bool:
        """Whether the picture holds colours and not values."""
        return self.image.ndim == 3


def st_views(section: Section) -> tuple[str, ...]:
    """Return those of `ST_VIEWS` that a section can show."""
    raise NotImplementedError


def msi_views(section: Section) -> tuple[str, ...]:
    """Return those of `MSI_VIEWS` that a section can show."""
    raise NotImplementedError


def st_view(section: Section, what: str, name: str | None = None) -> View:
    """Return a picture of the ST side; `name` says which gene."""
    raise NotImplementedError


def msi_view(section: Section, what: str, name: str | None = None) -> View:
    """Return a picture of the MSI side; `name` says which ion (its name in `section.ions`)."""
    raise NotImplementedError
