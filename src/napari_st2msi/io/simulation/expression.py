"""Gene programs over the tissue, and the sparse, overdispersed counts that come from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from napari_st2msi.io.simulation.fields import Fields
from napari_st2msi.io.simulation.tissue import Region, Tissue
from napari_st2msi.progress import Progress, check

#: What varies a program's activity: its regions, a gradient across the tissue, and from spot to spot.
REGION_SHARE, GRADIENT_SHARE, FINE_SHARE = 0.42, 0.13, 0.45
_ROWS = 8192  # places looked at in one go


@dataclass(frozen=True)
class Activity:
    """Activities of programs over one section, as fields: spots and pixels see the same ones.

    Attributes
    ----------
    levels
        (regions, programs): the part that a region gives.
    gradients, fine
        Long and short waves, one field a program.
    """

    tissue: Tissue
    levels: NDArray[np.float64]
    gradients: Fields
    fine: Fields

    @classmethod
    def draw(cls, rng: np.random.Generator, tissue: Tissue, levels: NDArray[np.float64], fine_um: float) -> Activity:
        """Draw the fields of one section; `fine_um` is the length of the short waves."""
        reach = 4 * fine_um
        low, high = tissue.low - reach, tissue.high + reach
        count = levels.shape[1]
        return cls(
            tissue,
            levels,
            Fields.random(rng, low, high, 0.2 * tissue.width, count),
            Fields.random(rng, low, high, fine_um, count),
        )

    def seen(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, programs) mean activity over groups of (n, k, 2) points, those in the tissue only."""
        parts = [self._seen(points[i : i + _ROWS]) for i in range(0, len(points), _ROWS)]
        return np.concatenate(parts) if parts else np.zeros((0, self.levels.shape[1]))

    def _seen(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        n, k = points.shape[:2]
        weights = (self.tissue.depth_at(points) > 0).astype(float)
        weights[weights.sum(axis=1) == 0] = 1.0
        weights /= weights.sum(axis=1, keepdims=True)
        labels = self.tissue.region_at(points).ravel()
        regions = sparse.csr_array((weights.ravel(), labels, np.arange(n + 1) * k), shape=(n, len(self.levels)))
        return np.asarray(
            np.sqrt(REGION_SHARE) * (regions @ self.levels)
            + np.sqrt(GRADIENT_SHARE) * self.gradients(points, weights)
            + np.sqrt(FINE_SHARE) * self.fine(points, weights)
        )


def draw_levels(rng: np.random.Generator, shares: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return (regions, programs) levels: each program is high in one to three regions.

    Levels have mean 0 and variance 1 over the tissue, where `shares` says how much each region takes.
    """
    regions = len(shares)
    levels = rng.normal(0, 0.4, (regions, count))
    for program in range(count):
        levels[program % regions, program] += 2.0
        levels[rng.choice(regions, size=rng.integers(0, 3), replace=False), program] += 1.2
    levels -= shares @ levels
    return np.asarray(levels / np.sqrt(shares @ levels**2))


@dataclass(frozen=True)
class GenePanel:
    """The genes of an experiment, shared by its sections.

    Attributes
    ----------
    loadings
        Programs × genes: change of a gene's log rate with a program's activity.
    base
        (genes,) relative rate. `dispersion`: (genes,) φ of the negative binomial, variance = μ + φμ².
    """

    loadings: pd.DataFrame
    base: NDArray[np.float64]
    dispersion: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, regions: tuple[Region, ...], n_genes: int, n_programs: int) -> GenePanel:
        """Draw a panel: markers of the regions first, then genes with one, two or no program."""
        programs = program_names(regions, n_programs)
        markers = [
            (symbol, program)
            for rank in range(max(len(region.markers) for region in regions))
            for program, region in enumerate(regions[:n_programs])
            for symbol in region.markers[rank : rank + 1]
        ][: n_genes // 2]
        loadings = np.zeros((n_programs, n_genes))
        base = rng.lognormal(0, 1.6, n_genes)
        for gene, (_, program) in enumerate(markers):
            loadings[program, gene] = rng.uniform(1.0, 1.5)
            base[gene] = rng.lognormal(0.5, 0.6)
        for gene in range(len(markers), n_genes):
            driven = rng.choice(n_programs, size=min(rng.choice(3, p=[0.25, 0.50, 0.25]), n_programs), replace=False)
            loadings[driven, gene] = rng.uniform(0.5, 1.2, len(driven)) * rng.choice(
                [1, -1], len(driven), p=[0.75, 0.25]
            )
        digits = max(4, len(str(n_genes)))
        names = [symbol for symbol, _ in markers]
        names += [f"Gene{number:0{digits}d}" for number in range(1, n_genes - len(names) + 1)]
        frame = pd.DataFrame(loadings, index=programs, columns=names)
        return cls(frame, base / base.mean(), rng.lognormal(np.log(0.15), 0.5, n_genes))

    def depth_for(self, detection: float, activity: NDArray[np.float64], library: NDArray[np.float64]) -> float:
        """Return the mean count of a gene at which a share `detection` of all counts is not zero."""
        relative = self._rates(activity[:400]) * library[:400, None]
        low, high = -12.0, 12.0
        for _ in range(40):
            middle = (low + high) / 2
            seen = 1 - (1 + self.dispersion * relative * np.exp(middle)) ** (-1 / self.dispersion)
            low, high = (middle, high) if seen.mean() < detection else (low, middle)
        return float(np.exp(low))

    def counts(
        self,
        rng: np.random.Generator,
        activity: NDArray[np.float64],
        library: NDArray[np.float64],
        gain: NDArray[np.float64],
        *,
        progress: Progress,
        cancelled: Callable[[], bool],
    ) -> sparse.csr_matrix:
        """Draw counts as CSR float32, a few thousand spots at a time.

        Parameters
        ----------
        activity
            (n, programs). `library`: (n,) expected mean count of a gene. `gain`: (genes,) batch effect.
        """
        shape = (1 / self.dispersion).astype(np.float32)
        rows = max(1, 4_000_000 // len(gain))
        parts = []
        for start in range(0, len(activity), rows):
            check(cancelled)
            chunk = slice(start, start + rows)
            rate = (self._rates(activity[chunk]) * library[chunk, None] * (gain * self.dispersion)).astype(np.float32)
            rate *= rng.standard_gamma(np.broadcast_to(shape, rate.shape), dtype=np.float32)
            parts.append(sparse.csr_matrix(rng.poisson(rate).astype(np.float32)))
            progress(min(1.0, (start + rows) / len(activity)), "counting genes")
        return sparse.vstack(parts, format="csr")

    def uncertainty(self, activity: NDArray[np.float64], library: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what a spot's own counts leave unknown of its activities, on average over spots.

        The posterior covariance (programs, programs) of activities that are Gaussian over the tissue,
        given counts with the Fisher information of the negative binomial, μ / (1 + φμ) for a log rate.
        """
        some = np.linspace(0, len(activity) - 1, min(len(activity), 300)).astype(int)
        loadings = self.loadings.to_numpy()
        mean = self._rates(activity[some]) * library[some, None]
        information = (mean / (1 + self.dispersion * mean))[:, None, :] * loadings @ loadings.T
        prior = np.linalg.inv(np.cov(activity.T) + 1e-9 * np.eye(len(loadings)))
        return np.asarray(np.linalg.inv(prior + information).mean(axis=0))

    def _rates(self, activity: NDArray[np.float64]) -> NDArray[np.float64]:
        loadings = self.loadings.to_numpy()
        # Programs have variance near 1: this keeps a gene's mean rate near its base.
        return np.asarray(self.base * np.exp(activity @ loadings - (loadings**2).sum(axis=0) / 2))


def program_names(regions: tuple[Region, ...], count: int) -> list[str]:
    """Return names of programs: the region they mark first, then numbers."""
    return [region.name for region in regions[:count]] + [f"program {i + 1}" for i in range(len(regions), count)]
