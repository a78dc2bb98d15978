"""`Attribution`: what each gene contributes to a prediction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

#: What is explained: the prediction, or one of the stages of a model in two.
Part = Literal["prediction", "intensity", "presence"]
#: How contributions are found: name → in words.
METHODS = {
    "linear": "exact linear terms",
    "integrated_gradients": "integrated gradients",
    "tree_shap": "TreeSHAP",
}


@dataclass(frozen=True)
class Attribution:
    """What each gene contributes to the prediction of one ion in each of some spots.

    A contribution is what the model adds to the prediction because a gene is not at its training mean there
    or around. It is evidence on the model, not on what causes what in the tissue.

    Attributes
    ----------
    ion
        Name of the ion.
    part
        ``prediction``; or ``intensity`` or ``presence`` (log odds) of a model in two stages.
    method
        A key of `METHODS`.
    unit
        Of all values.
    spots, genes
        Their names.
    bands
        For each band of features (the spot itself, a ring around it) the contributions (spots, genes), float32.
    direction
        (genes,) 1 where more of a gene raises the prediction on the whole, −1 where it lowers it, 0 for neither.
    predicted, baseline
        (spots,) what the model says of the spots, and what it would say were all genes at their training
        mean, there and around.
    """

    ion: str
    part: Part
    method: str
    unit: str
    spots: pd.Index
    genes: pd.Index
    bands: dict[str, NDArray[np.float32]]
    direction: NDArray[np.float64]
    predicted: NDArray[np.float64]
    baseline: NDArray[np.float64]

    @property
    def values(self) -> NDArray[np.float32]:
        """(spots, genes) contributions of a gene by the spot itself and by its surroundings."""
        first, *others = self.bands.values()
        return np.add.reduce([first, *others]) if others else first

    @property
    def gap(self) -> NDArray[np.float64]:
        """(spots,) what contributions leave unexplained of predicted − baseline; 0 where they add up."""
        brought = sum(band.sum(axis=1, dtype=np.float64) for band in self.bands.values())
        return self.predicted - self.baseline - brought

    @property
    def relative_gap(self) -> float:
        """The mean size of the gap as a share of that of predicted − baseline; 0 where nothing is predicted."""
        return relative_gap(self.gap, self.predicted - self.baseline)

    def of(self, genes: Sequence[str]) -> NDArray[np.float32]:
        """Return (spots,) contributions of some genes together; those that the model does not use bring 0."""
        places = self.genes.get_indexer(pd.Index(list(genes)))
        places = places[places >= 0]
        return np.add.reduce([band[:, places].sum(axis=1) for band in self.bands.values()])

    def ranked(self) -> pd.DataFrame:
        """Return the genes, strongest first.

        Returns
        -------
        Indexed by gene: `strength`, the mean size of contributions; `mean`, their mean over the spots;
        `direction`; and `strength_own`, `strength_ring1`, … of each band by itself.
        """
        values = self.values
        frame = pd.DataFrame(
            {"strength": np.abs(values).mean(axis=0), "mean": values.mean(axis=0), "direction": self.direction},
            index=self.genes,
        ).astype(float)
        for name, band in self.bands.items():
            frame[f"strength_{name}"] = np.abs(band).mean(axis=0).astype(float)
        return frame.sort_values("strength", ascending=False, kind="stable")


@dataclass(frozen=True)
class RegionAttribution:
    """What genes contribute to several ions over some spots together.

    Attributes
    ----------
    mean, strength, direction
        Genes × ions: mean of the contributions over the spots, mean of their size, and whether more of a gene
        raises the ion (1), lowers it (−1) or neither (0).
    methods, gaps
        For each ion how contributions were found, and `Attribution.relative_gap`.
    unit
        Of the values.
    n_spots
        Over how many spots.
    """

    mean: pd.DataFrame
    strength: pd.DataFrame
    direction: pd.DataFrame
    methods: dict[str, str]
    gaps: dict[str, float]
    unit: str
    n_spots: int

    def top(self, n: int) -> pd.Index:
        """Return the n genes that are strongest for any of the ions, relative to the strongest gene of that ion."""
        return strongest(self.strength, n)


def relative_gap(gap: NDArray[np.float64], whole: NDArray[np.float64]) -> float:
    """Return the mean size of a gap as a share of that of the whole; 0 where both vanish."""
    size = float(np.abs(whole).mean())
    return float(np.abs(gap).mean()) / size if size > 1e-12 else 0.0


def strongest(strength: pd.DataFrame, n: int) -> pd.Index:
    """Return the n rows that are strongest for any of the columns, relative to the strongest of that column."""
    relative = strength / np.maximum(strength.max(axis=0), 1e-300)
    return relative.max(axis=1).sort_values(ascending=False, kind="stable").index[:n]
