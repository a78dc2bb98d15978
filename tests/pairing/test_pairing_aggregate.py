"""W·X/ΣW and back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import sparse

from napari_st2msi.errors import DataProblem
from napari_st2msi.pairing import aggregate as module
from napari_st2msi.pairing.aggregate import aggregate, measured_pixels, spread
from napari_st2msi.progress import Cancelled

RNG = np.random.default_rng(0)
WEIGHTS = sparse.random(40, 70, density=0.1, random_state=1, format="csr")
WEIGHTS.data[WEIGHTS.indptr[3] : WEIGHTS.indptr[4]] = 0
WEIGHTS.data[WEIGHTS.indptr[39] :] = 0
WEIGHTS.eliminate_zeros()
VALUES = RNG.random((70, 23))


def plain(mean: bool) -> np.ndarray:
    dense = WEIGHTS.toarray()
    found = np.full((40, 23), np.nan)
    for spot in range(40):
        if dense[spot].sum() > 0:
            found[spot] = dense[spot] @ VALUES / (dense[spot].sum() if mean else 1)
    return found


@pytest.mark.parametrize("chunk", [1, 30, 200, 10**6])
@pytest.mark.parametrize("mean", [True, False])
@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array])
def test_equals_the_formula(chunk: int, mean: bool, form: type, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)
    found = aggregate(WEIGHTS, form(VALUES), mean=mean)
    np.testing.assert_allclose(found, plain(mean), rtol=1e-12)
    assert np.isnan(found[[3, 39]]).all()


def test_float32_stays_and_integers_become_float() -> None:
    assert aggregate(WEIGHTS, VALUES.astype(np.float32)).dtype == np.float32
    assert aggregate(WEIGHTS, np.ones((70, 2), dtype=np.int64)).dtype == np.float64


def test_a_constant_stays_that_constant() -> None:
    found = aggregate(WEIGHTS, np.full((70, 1), 7.0))
    np.testing.assert_allclose(found[~np.isnan(found)], 7.0)


def test_stops_when_cancelled() -> None:
    with pytest.raises(Cancelled):
        aggregate(WEIGHTS, VALUES, cancelled=lambda: True)


def test_spread_is_the_weighted_mean_of_the_spots() -> None:
    dense = WEIGHTS.toarray()
    spots = RNG.random((40, 3))
    back = spread(WEIGHTS, spots)
    for pixel in range(70):
        total = dense[:, pixel].sum()
        if total > 0:
            np.testing.assert_allclose(back[pixel], dense[:, pixel] @ spots / total)
        else:
            assert np.isnan(back[pixel]).all()
    np.testing.assert_allclose(spread(WEIGHTS, spots[:, 1]), back[:, 1])


def test_spots_without_value_give_nothing_back() -> None:
    spots = np.where(np.arange(40) % 2, 5.0, np.nan)
    back = spread(WEIGHTS, spots)
    np.testing.assert_allclose(back[~np.isnan(back)], 5.0)
    under = WEIGHTS[1::2].sum(axis=0)
    assert (np.isnan(back) == (np.asarray(under).ravel() == 0)).all()


def test_rows_of_nan_were_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 23 * 8)
    values = VALUES.copy()
    values[[2, 50]] = np.nan
    assert np.flatnonzero(~measured_pixels(values)).tolist() == [2, 50]
    assert measured_pixels(sparse.csr_matrix(VALUES)).all()


def test_bad_intensities_are_refused() -> None:
    for bad, words in ((np.nan, "missing"), (np.inf, "infinite"), (-1.0, "negative")):
        values = VALUES.copy()
        values[4, 2] = bad
        with pytest.raises(DataProblem, match=words):
            measured_pixels(values)
        with pytest.raises(DataProblem, match=words):
            measured_pixels(sparse.csr_matrix(values))
    with pytest.raises(DataProblem, match="No MSI pixel"):
        measured_pixels(np.full((3, 2), np.nan))
