"""`PairedDataset`: the same spots with genes and with ions."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pytest
from scipy import sparse

from napari_st2msi.errors import DataProblem
from napari_st2msi.paired import PairedDataset


def dataset(n: int = 5, section: str = "a", genes: tuple[str, ...] = ("Actb", "Mbp")) -> PairedDataset:
    names = [f"spot{i}" for i in range(n)]
    left = ad.AnnData(np.ones((n, len(genes)), dtype=np.float32))
    left.obs_names, left.var_names = names, list(genes)
    left.obs["section"] = section
    left.obsm["spatial"] = np.arange(2.0 * n).reshape(n, 2)
    right = ad.AnnData(np.ones((n, 3), dtype=np.float32))
    right.obs_names, right.var_names = names, ["i1", "i2", "i3"]
    right.obs["section"] = section
    return PairedDataset(left, right)


def test_what_is_not_said_gets_its_default() -> None:
    paired = dataset()
    assert paired.obs["coverage"].tolist() == [1.0] * 5
    assert paired.covered.all()
    assert paired.xy.shape == (5, 2)


def test_uncovered_spots_are_rows_of_nan() -> None:
    paired = dataset()
    paired.ions.X[2] = np.nan
    assert paired.covered.tolist() == [True, True, False, True, True]
    assert len(paired.select(paired.covered)) == 4


def test_sections_are_joined_on_what_they_share() -> None:
    joined = PairedDataset.concat([dataset(3, "a", ("Actb", "Mbp")), dataset(4, "b", ("Mbp", "Gfap"))])
    assert joined.genes.var_names.tolist() == ["Mbp"]
    assert joined.obs.index[0] == "a:spot0"
    assert joined.sections.tolist() == ["a"] * 3 + ["b"] * 4


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ([dataset(3, "a"), dataset(3, "a")], "Two sections have the same name"),
        ([dataset(3, "a"), dataset(3, "b", ("X",))], "No gene is in all sections"),
    ],
)
def test_sections_that_cannot_be_joined_say_why(parts: list[PairedDataset], message: str) -> None:
    with pytest.raises(DataProblem, match=message):
        PairedDataset.concat(parts)


def test_a_different_order_is_told_from_different_spots() -> None:
    paired = dataset()
    with pytest.raises(DataProblem, match="in a different order"):
        PairedDataset(paired.genes, paired.ions[::-1].copy())
    with pytest.raises(DataProblem, match="of which 4 have the same name"):
        PairedDataset(paired.genes, paired.ions[:4].copy())


def with_genes(values: object) -> tuple[ad.AnnData, ad.AnnData]:
    paired = dataset()
    genes = paired.genes.copy()
    genes.X = values
    return genes, paired.ions


@pytest.mark.parametrize("kind", [np.asarray, sparse.csr_matrix], ids=["dense", "sparse"])
@pytest.mark.parametrize(("value", "message"), [(np.nan, "missing"), (np.inf, "infinite"), (-1.0, "negative")])
def test_genes_that_cannot_be_used_are_refused(kind: type, value: float, message: str) -> None:
    values = np.ones((5, 2), dtype=np.float32)
    values[1, 1] = value
    with pytest.raises(DataProblem, match=message):
        PairedDataset(*with_genes(kind(values)))


def test_positions_and_unique_names_are_required() -> None:
    paired = dataset()
    genes = paired.genes.copy()
    del genes.obsm["spatial"]
    with pytest.raises(DataProblem, match="no positions"):
        PairedDataset(genes, paired.ions)
    genes = paired.genes.copy()
    genes.var_names = ["Mbp", "Mbp"]
    with pytest.raises(DataProblem, match=r"Some genes have the same name \(Mbp\)"):
        PairedDataset(genes, paired.ions)


def test_pixels_are_known_of_the_parts_that_have_them() -> None:
    one, other = dataset(section="a"), dataset(section="b")
    other.ions.obsm["weights"] = sparse.csr_matrix(np.array([[1.0, 0], [1, 0], [0, 1], [0, 1], [0, 1]]))
    both = PairedDataset.concat([one, other])
    assert np.flatnonzero(both.sharing_pixels(np.array([0, 5]))).tolist() == [5, 6]
