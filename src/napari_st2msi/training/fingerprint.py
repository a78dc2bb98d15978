"""Short marks of data: which spots a model has seen, and whether two data sets are the same."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.paired import PairedDataset, dense

if TYPE_CHECKING:
    from anndata import AnnData

_ROWS = 2048


def spot_marks(genes: AnnData, names: list[str]) -> NDArray[np.uint64]:
    """Return (n,) a 64-bit mark of each spot from its position (whole µm) and its genes.

    Names of spots and sections do not enter: they change when sections are put together or opened
    anew, and barcodes repeat from section to section.

    Parameters
    ----------
    genes
        Spots × genes with `obsm["spatial"]`.
    names
        The genes that count, in order; those that are missing count as 0.
    """
    place = np.rint(np.asarray(genes.obsm["spatial"], dtype=float)[:, :2]).astype(np.int64)
    known = pd.Index(names)
    given = known.get_indexer(genes.var_names)
    # In the order of `names`, so that the order of the query's genes does not matter.
    columns = np.flatnonzero(given >= 0)[np.argsort(given[given >= 0], kind="stable")]
    number = given[columns].astype(np.int64)
    marks = np.empty(genes.n_obs, dtype=np.uint64)
    for start in range(0, genes.n_obs, _ROWS):
        rows = slice(start, min(start + _ROWS, genes.n_obs))
        values = dense(genes.X[rows][:, columns]).astype(np.float32)
        for row, own in enumerate(values):
            seen = np.flatnonzero(own)
            digest = blake2b(place[start + row].tobytes(), digest_size=8)
            digest.update(number[seen].tobytes())
            digest.update(own[seen].tobytes())
            marks[start + row] = int.from_bytes(digest.digest(), "little")
    return marks


def fingerprint(paired: PairedDataset) -> str:
    """Return 32 hexadecimal digits that change with any name, position or value of a data set."""
    digest = blake2b(digest_size=16)
    for names in (paired.obs.index, paired.genes.var_names, paired.ions.var_names):
        digest.update("\x00".join(map(str, names)).encode())
        digest.update(b"\x01")
    digest.update(np.ascontiguousarray(paired.xy).tobytes())
    for values in (paired.genes.X, paired.ions.X):
        for start in range(0, len(paired), _ROWS):
            block = dense(values[start : start + _ROWS])
            digest.update(np.ascontiguousarray(block, dtype=np.float32).tobytes())
    return digest.hexdigest()
