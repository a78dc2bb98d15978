"""`PairedDataset`: the same spots with genes and with ions. What models see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem

if TYPE_CHECKING:
    from anndata import AnnData
    from scipy.sparse import csr_matrix

#: Where the weights of a pairing lie in `obsm` of ions.
WEIGHTS = "weights"


@dataclass(frozen=True)
class PairedDataset:
    """Two tables with the same observations in the same order.

    Anything paired fits: spots with genes and ions, cells with proteins and ions.

    Attributes
    ----------
    genes
        Spots × genes (counts, float or int, dense or CSR). `obsm["spatial"]` (n, 2) in µm.
    ions
        Spots × ions (intensities, float). A row of NaN is a spot without MSI.

    `obs` of both has `section` (which section a spot belongs to), `coverage` (share of the spot's
    area under pixels, 0 to 1) and `n_pixels` (how many pixels contributed). Where pixels were paired,
    `ions.obsm["weights"]` has the (spots, pixels) weights, from which spots that share pixels are known.

    Raises
    ------
    DataProblem
        The tables differ in observations, names are not unique, positions are missing, or genes
        hold NaN or negative values.
    """

    genes: AnnData
    ions: AnnData

    def __post_init__(self) -> None:
        if not self.genes.obs_names.equals(self.ions.obs_names):
            raise DataProblem(_difference(self.genes.obs_names, self.ions.obs_names))
        for what, names in (
            ("observations", self.genes.obs_names),
            ("genes", self.genes.var_names),
            ("ions", self.ions.var_names),
        ):
            if not names.is_unique:
                twice = ", ".join(map(str, names[names.duplicated()].unique()[:3]))
                raise DataProblem(f"Some {what} have the same name ({twice}). Give each its own name.")
        if "spatial" not in self.genes.obsm:
            raise DataProblem('The spots have no positions. Put x and y in µm into obsm["spatial"].')
        for column, default in (("section", "section"), ("coverage", 1.0), ("n_pixels", 1)):
            for table in (self.genes, self.ions):
                if column not in table.obs:
                    table.obs[column] = default
        check_values(self.genes.X, "genes")

    def __len__(self) -> int:
        return int(self.genes.n_obs)

    @property
    def obs(self) -> pd.DataFrame:
        """What is known of each spot; the same for genes and ions."""
        return self.genes.obs

    @property
    def xy(self) -> NDArray[np.float64]:
        """(n, 2) positions in µm."""
        return np.asarray(self.genes.obsm["spatial"], dtype=float)[:, :2]

    @property
    def sections(self) -> NDArray[Any]:
        """(n,) section label of each spot, as str."""
        return self.obs["section"].astype(str).to_numpy()

    @property
    def covered(self) -> NDArray[np.bool_]:
        """(n,) whether a spot has any measured ion."""
        return ~np.isnan(dense(self.ions.X)).all(axis=1)

    @property
    def pixel_weights(self) -> csr_matrix | None:
        """(n, pixels) which pixels the ions of each spot come from; None where that is not known."""
        return self.ions.obsm.get(WEIGHTS)

    def sharing_pixels(self, spots: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) which spots have a pixel in common with any of these; none where pixels are not known."""
        weights = self.pixel_weights
        if weights is None:
            return np.zeros(len(self), dtype=bool)
        touched = np.asarray(weights[spots].sum(axis=0)).ravel() > 0
        return np.asarray(weights @ touched.astype(np.float64)).ravel() > 0

    def select(self, spots: NDArray[Any]) -> PairedDataset:
        """Return the spots chosen by a boolean mask or an array of positions."""
        return PairedDataset(self.genes[spots].copy(), self.ions[spots].copy())

    @classmethod
    def concat(cls, parts: Sequence[PairedDataset]) -> PairedDataset:
        """Put several sections together, on the genes and ions that all of them have.

        Spots are renamed ``section:spot`` where names clash. Order of genes and ions is that of the
        first part.

        Raises
        ------
        DataProblem
            Two parts share a section label, or no gene or no ion is in all of them.
        """
        import anndata
        from scipy.sparse import block_diag, csr_matrix

        if len(parts) == 1:
            return parts[0]
        labels = [set(part.sections) for part in parts]
        if sum(map(len, labels)) != len(set().union(*labels)):
            raise DataProblem("Two sections have the same name. Rename one before putting them together.")
        clash = not pd.Index(np.concatenate([part.obs.index for part in parts])).is_unique
        tables = []
        for what in ("genes", "ions"):
            pieces = [getattr(part, what) for part in parts]
            shared = [v for v in pieces[0].var_names if all(v in piece.var_names for piece in pieces[1:])]
            if not shared:
                raise DataProblem(f"No {what[:-1]} is in all sections. Check that their names follow one convention.")
            pieces = [piece[:, shared].copy() for piece in pieces]
            if clash:
                for piece, part in zip(pieces, parts, strict=True):
                    piece.obs_names = [f"{s}:{n}" for s, n in zip(part.sections, part.obs.index, strict=True)]
            weights = [piece.obsm.pop(WEIGHTS, None) for piece in pieces]
            joined = anndata.concat(pieces, merge="first")
            if what == "ions" and any(each is not None for each in weights):
                # Of a part that came paired no pixel is known, so its spots share none.
                own = [csr_matrix((len(p), 0)) if w is None else w for p, w in zip(parts, weights, strict=True)]
                joined.obsm[WEIGHTS] = csr_matrix(block_diag(own))
            joined.obs["section"] = pd.Categorical(joined.obs["section"].astype(str))
            tables.append(joined)
        return cls(*tables)


def dense(values: Any) -> NDArray[Any]:
    """Return a matrix as an array: sparse is densified, arrays are passed on."""
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def check_values(values: Any, what: str) -> None:
    """Refuse NaN, infinity and negative values with a message that counts them.

    Raises
    ------
    DataProblem
        There are such values, or none at all.
    """
    if values is None:
        raise DataProblem(f"The table of {what} has no values: its X is empty. Put counts or intensities there.")
    stored = values.data if hasattr(values, "tocsr") else np.asarray(values)
    bad = int(stored.size - np.isfinite(stored).sum())
    if bad:
        raise DataProblem(f"{bad:,} values of the {what} are missing (NaN) or infinite. Remove or fill them first.")
    negative = int((stored < 0).sum())
    if negative:
        raise DataProblem(
            f"{negative:,} values of the {what} are negative. Give raw counts or intensities, not scaled values."
        )


def _difference(left: pd.Index, right: pd.Index) -> str:
    if set(left) == set(right):
        return "Genes and ions list the same spots in a different order. Sort both tables the same way."
    shared = len(left.intersection(right))
    return (
        f"Genes have {len(left):,} spots and ions {len(right):,}, of which {shared:,} have the same name. "
        "Both tables must list the same spots in the same order."
    )
