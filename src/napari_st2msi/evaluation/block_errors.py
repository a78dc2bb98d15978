"""Errors summed over pieces of tissue, from which intervals of scores and of their differences are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.features.blocks import BLOCKS_ALONG, longer_side, squares

#: How often pieces are drawn anew, and how sure an interval is.
DRAWS, LEVEL = 1000, 0.95


@dataclass(frozen=True)
class BlockErrors:
    """Squared errors on held-out spots, summed over squares of tissue.

    Spots are alike within a neighbourhood, so that intervals must treat pieces of tissue as what was sampled, and
    not spots (Künsch 1989, doi:10.1214/aos/1176347265). The squares depend on positions alone: two evaluations of
    the same spots have the same ones, and are compared piece by piece.

    Attributes
    ----------
    block
        (n,) int64, the square of each spot.
    section
        (blocks,) str, the section of each square.
    sst
        (blocks, ions) float64, squared deviations from the mean of the fold's training spots.
    sse
        For each predictor (blocks, ions) float64, squared errors.
    """

    block: NDArray[np.int64]
    section: NDArray[Any]
    sst: NDArray[np.float64]
    sse: dict[str, NDArray[np.float64]]

    @classmethod
    def empty(cls, xy: NDArray[np.float64], section: NDArray[Any], predictors: list[str], n_ions: int) -> BlockErrors:
        """Return zeros, to add to: squares are as wide as an eighth of the longer side."""
        side = longer_side(xy, section) / BLOCKS_ALONG
        block = squares(xy, section, side if side > 0 else 1.0)
        n = int(block.max()) + 1
        label = np.empty(n, dtype=object)
        label[block] = section
        zeros = {name: np.zeros((n, n_ions)) for name in predictors}
        return cls(block, label.astype(str), np.zeros((n, n_ions)), zeros)

    def add(
        self,
        spots: NDArray[np.int64],
        truth: NDArray[np.floating],
        reference: NDArray[np.floating],
        predicted: NDArray[np.floating] | None = None,
        name: str = "",
    ) -> None:
        """Add the errors of a predictor on some spots, or, without one, what the training mean leaves."""
        from scipy.sparse import csr_array

        target = self.sst if predicted is None else self.sse[name]
        squared = (truth - (reference if predicted is None else predicted)) ** 2
        within = csr_array(
            (np.ones(len(spots)), (self.block[spots], np.arange(len(spots)))), shape=(len(target), len(spots))
        )
        target += within @ squared

    def r2(self, name: str, weight: NDArray[np.floating] | None = None) -> NDArray[np.float64]:
        """Return (ions,) R² over all squares, or (draws, ions) with (draws, blocks) weights of squares."""
        sst = self.sst.sum(axis=0) if weight is None else weight @ self.sst
        sse = self.sse[name].sum(axis=0) if weight is None else weight @ self.sse[name]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(sst > 0, 1 - sse / sst, np.nan)

    def r2_by_section(self, name: str) -> dict[str, NDArray[np.float64]]:
        """Return (ions,) R² in each section."""
        labels = np.unique(self.section)
        found = self.r2(name, (labels[:, None] == self.section).astype(float))
        return dict(zip(labels.tolist(), found, strict=True))

    def draws(self, n: int = DRAWS, seed: int = 0) -> NDArray[np.float64]:
        """Return (n, blocks): how often each square is drawn; as many of each section as it has."""
        rng = np.random.default_rng(seed)
        weight = np.zeros((n, len(self.section)))
        for label in np.unique(self.section):
            own = np.flatnonzero(self.section == label)
            weight[:, own] = rng.multinomial(len(own), np.full(len(own), 1 / len(own)), size=n)
        return weight


def interval(values: NDArray[np.floating], level: float = LEVEL) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return lower and upper quantiles over draws (the first axis); NaN where any draw has no value."""
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return np.asarray(low), np.asarray(high)
