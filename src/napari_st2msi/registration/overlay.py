"""MSI over ST as pictures, quick enough to follow a landmark that is being dragged."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.registration.views import View

Mode = Literal["blend", "checkerboard", "swipe"]


class Overlay:
    """MSI seen through a transform, pixel by pixel over a picture of the ST.

    Attributes
    ----------
    to_um
        (3, 3) from (column, row) of all pictures here, pixel centres at integers, to µm of the ST.
    """

    def __init__(self, fixed: View, moving: View, transform: Any, *, longest: int = 1000) -> None:
        self.transform = transform  # may be replaced; `warped` follows
        self.to_um = np.eye(3)

    def base(self) -> NDArray[np.uint8]:
        """Return (rows, columns, 3) uint8, the ST."""
        raise NotImplementedError

    def warped(self) -> NDArray[np.uint8]:
        """Return (rows, columns, 4) uint8, the MSI where it lies over the ST; transparent elsewhere."""
        raise NotImplementedError

    def masked(
        self,
        rgba: NDArray[np.uint8],
        mode: Mode = "blend",
        *,
        opacity: float = 1.0,
        tile_um: float = 500.0,
        swipe: float = 0.5,
    ) -> NDArray[np.uint8]:
        """Return `rgba` with the alpha of a way to compare: all of it, every other tile, or left of a line."""
        raise NotImplementedError
