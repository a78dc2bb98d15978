"""Where the stain lies, whatever its resolution and whatever system it came with."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.build import build_section
from napari_st2msi.io.histology import histology_levels
from napari_st2msi.section import Section


def section_of(image: np.ndarray | None) -> Section:
    msi = AnnData(np.ones((4, 1), np.float32), var=pd.DataFrame({"mz": [500.0]}, index=["a"]))
    xy = np.array([[0, 0], [10, 0], [0, 10], [10, 10.0]])
    to_um = np.array([[0, -2.0, 500], [2.0, 0, 100], [0, 0, 1]])
    return build_section(name="one", msi=msi, msi_xy=xy, pixel_size_um=10, image=image, image_to_um=to_um)


def test_levels_and_their_place() -> None:
    image = np.random.default_rng(0).integers(0, 255, (1200, 2000, 3), dtype=np.uint8)
    levels, matrix = histology_levels(section_of(image))
    assert levels[0].shape == (1200, 2000, 3)
    assert all(after.shape[1] < before.shape[1] for before, after in pairwise(levels))
    np.testing.assert_array_equal(np.asarray(levels[0][3:5, 7:9]), image[3:5, 7:9])
    # The centre of the first pixel lies half a pixel from the corner that the image was placed by.
    np.testing.assert_allclose(matrix @ [0, 0, 1], [499, 101, 1])
    np.testing.assert_allclose(matrix @ [10, 0, 1], [499, 121, 1])


def test_no_histology() -> None:
    with pytest.raises(DataProblem, match=r"'one' has no histology\. Open it with a picture"):
        histology_levels(section_of(None))
