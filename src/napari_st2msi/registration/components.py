"""Principal components of genes and of ions: a few images that hold most of what either side shows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.genes import GeneFeatures
from napari_st2msi.features.rotation import Rotation
from napari_st2msi.paired import check_values, dense
from napari_st2msi.recipe import Genes
from napari_st2msi.section import Section

#: Directions are learned from at most so many spots or pixels, evenly chosen.
_LEARN = 12_000
#: Rows that are looked at in one go, so that no dense copy of a large table is made.
_ROWS = 8192
_GENES = 1500


def gene_components(
    section: Section, n: int = 10, *, genes: NDArray[np.bool_] | None = None, spots: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return the principal components of gene expression.

    Counts are scaled to the median library size, log1p is taken, and the most variable genes are
    standardised: see `napari_st2msi.features.genes.GeneFeatures`.

    Parameters
    ----------
    section
        A section with ST.
    n
        How many components; fewer come back where the genes have fewer.
    genes
        (genes,) which to use; all when None.
    spots
        (spots,) which to learn from; all when None.

    Returns
    -------
    (spots, n) float32, the strongest first, in the order of `section.st`.

    Raises
    ------
    DataProblem
        There is no ST, values are NaN or negative, or every spot has the same genes.
    """
    table = section.st if genes is None else section.st[:, genes]
    features = GeneFeatures(Genes(n_top=_GENES))
    learned = table[_evenly(np.arange(table.n_obs) if spots is None else np.flatnonzero(spots))]
    try:
        features.fit(learned)
    except ModelProblem as error:
        raise DataProblem(_FLAT.format("genes", "spot")) from error
    rotation = _rotation(features.transform(learned), n, "genes", "spot")
    parts = [
        rotation.transform(features.transform(table[start : start + _ROWS])) for start in range(0, table.n_obs, _ROWS)
    ]
    return np.concatenate(parts).astype(np.float32)


def ion_components(
    section: Section, n: int = 10, *, tissue: NDArray[np.bool_] | None = None, ions: NDArray[np.bool_] | None = None
) -> NDArray[np.float32]:
    """Return the principal components of ion intensities.

    Each ion is divided by a tenth of its median where present, log1p is taken, which is nearly a
    logarithm for what is well above zero, and it is standardised.

    Parameters
    ----------
    section
        A section with MSI.
    n
        How many components; fewer come back where the ions have fewer.
    tissue
        (pixels,) which pixels to learn from; all when None. With glass among them, the first component
        tells little more than tissue from glass.
    ions
        (ions,) which to use; all when None.

    Returns
    -------
    (pixels, n) float32, the strongest first, in the order of `section.msi`.

    Raises
    ------
    DataProblem
        There is no MSI, values are NaN or negative, or every pixel has the same intensities.
    """
    table = section.msi.X if ions is None else section.msi.X[:, ions]
    check_values(table, "ions")
    count, n_ions = table.shape
    values = dense(table[_evenly(np.arange(count) if tissue is None else np.flatnonzero(tissue))]).astype(np.float32)
    scale = np.ones(n_ions, dtype=np.float32)
    for ion in range(n_ions):
        present = values[:, ion][values[:, ion] > 0]
        scale[ion] = 10 / np.median(present) if len(present) else 1.0
    values = np.log1p(values * scale)
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    # An ion seen in a handful of pixels says where these are and nothing else: it is not blown up.
    deviation = np.where(deviation > 1e-6, np.maximum(deviation, 0.05 * np.median(deviation)), np.inf)
    rotation = _rotation((values - mean) / deviation, n, "ions", "pixel")
    parts = []
    for start in range(0, count, _ROWS):
        block = np.log1p(dense(table[start : start + _ROWS]).astype(np.float32) * scale)
        parts.append(rotation.transform((block - mean) / deviation))
    return np.concatenate(parts).astype(np.float32)


_FLAT = (
    "The {0} are the same in every {1}, so nothing can be recognised in them. Check that the table holds what was "
    "measured, or register with landmarks."
)


def _evenly(of: NDArray[np.int64]) -> NDArray[np.int64]:
    return of[:: max(1, -(-len(of) // _LEARN))]


def _rotation(features: NDArray[np.float32], n: int, what: str, where: str) -> Rotation:
    if len(features) < 2 or float(features.std(axis=0).max(initial=0.0)) < 1e-6:
        raise DataProblem(_FLAT.format(what, where))
    return Rotation(n).fit(features)
