"""AnnData with ions beside the genes, as DESIUM has them: ``uns["msi"]`` and ``uns["mz_features"]``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.paired import dense

if TYPE_CHECKING:
    from anndata import AnnData

_IONS, _MZ = "msi", "mz_features"
#: Layers that hold counts, where X holds something made of them.
_COUNTS = ("counts", "raw_counts")


def holds_ions(path: Path) -> bool:
    """Tell whether an .h5ad keeps ions in ``uns``, without reading it."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return {_IONS, _MZ} <= set(file.get("uns", ()))
    except OSError:
        return False


def split_ions(table: AnnData) -> tuple[AnnData, AnnData] | None:
    """Return genes and ions of a table that keeps both, as two tables of the same spots; None for others.

    Parameters
    ----------
    table
        With ``uns["msi"]``, (spots, ions) intensities, and ``uns["mz_features"]``, (ions,).

    Returns
    -------
    tuple of AnnData
        Genes as counts where a layer has them (X is left as it is otherwise), and ions (float32) with ``var["mz"]``.

    Raises
    ------
    DataProblem
        The ions do not fit the spots or the m/z, or an m/z is no positive number or comes twice.
    """
    from anndata import AnnData

    if not {_IONS, _MZ} <= set(table.uns):
        return None
    mz = pd.to_numeric(pd.Series(np.asarray(table.uns[_MZ]).ravel().astype(str)), errors="coerce").to_numpy(dtype=float)
    try:
        intensities = dense(table.uns[_IONS]).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise DataProblem(f"uns['{_IONS}'] holds no numbers.") from error
    if intensities.shape != (table.n_obs, len(mz)):
        raise DataProblem(
            f"uns['{_IONS}'] is {' × '.join(map(str, intensities.shape))}; for {table.n_obs:,} spots and {len(mz):,} "
            f"values of uns['{_MZ}'] it should be {table.n_obs} × {len(mz)}."
        )
    bad = ~(np.isfinite(mz) & (mz > 0))
    if bad.any():
        raise DataProblem(f"{int(bad.sum()):,} of {len(mz):,} values of uns['{_MZ}'] are no m/z.")
    names = pd.Index([f"{value:.10g}" for value in mz])
    if not names.is_unique:
        raise DataProblem(f"uns['{_MZ}'] has {names[names.duplicated()][0]} more than once. Keep one of them.")
    genes = table.copy()
    del genes.uns[_IONS], genes.uns[_MZ]
    layer = next((name for name in _COUNTS if name in genes.layers), None)
    if layer is not None:
        genes.X = genes.layers[layer].copy()
    ions = AnnData(
        X=intensities, obs=pd.DataFrame(index=table.obs_names.copy()), var=pd.DataFrame({"mz": mz}, index=names)
    )
    return genes, ions
