"""Splits in which held-out spots lie as far from training spots as the spots that will be predicted."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import RecipeProblem

# How many numbers of clusters are tried, and the highest of them; the largest share of spots in one fold.
_STEPS, _CLUSTERS, _LARGEST = 16, 600, 0.5


class DistanceMatched:
    """k-fold nearest-neighbour distance matching.

    Of many ways to cut the tissue, the one whose held-out spots lie as far from the nearest training spot as the
    spots of the question lie from the nearest measured one (kNNDM, Linnenbrink et al. 2024,
    doi:10.5194/gmd-17-5897-2024): folds of k-means clusters, few and large to many and small, or of single spots
    at random, judged by the Wasserstein distance between both distributions. As there, clusters are dealt out in
    the order of their place along the longest direction, the large ones first, and no fold has more than half of
    all spots. Distances are within sections; a spot that is alone in its section has none and counts for nothing.

    Works as a scikit-learn splitter on positions: ``split(xy, groups=section)``.

    Parameters
    ----------
    n_folds
        How many folds.
    distances
        (m,) how far in µm spots to be predicted lie from the nearest measured one: see `distances_to`.
    seed
        Of the clusters.
    """

    def __init__(self, n_folds: int = 5, distances: NDArray[np.floating] | float = 0.0, seed: int = 0) -> None:
        self.n_folds, self.distances, self.seed = n_folds, distances, seed

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.n_folds

    def split(
        self, X: NDArray[np.float64], y: Any = None, groups: NDArray[Any] | None = None
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield (train, test) positions; see `assign`."""
        fold = self.assign(X, groups)
        for number in range(self.n_folds):
            yield np.flatnonzero(fold != number), np.flatnonzero(fold == number)

    def assign(self, X: NDArray[np.float64], groups: NDArray[Any] | None = None) -> NDArray[np.int64]:
        """Return (n,) the fold of each spot, from positions in µm and sections.

        Raises
        ------
        RecipeProblem
            There are fewer than two spots a fold, no distance to match, or no folds that could be compared.
        """
        from scipy.stats import wasserstein_distance

        xy = np.asarray(X, dtype=float)
        section = np.zeros(len(xy), dtype=int) if groups is None else np.asarray(groups)
        if len(xy) < 2 * self.n_folds:
            raise RecipeProblem(f"{len(xy)} spots cannot go into {self.n_folds} folds. Use fewer folds or more spots.")
        wanted = np.atleast_1d(np.asarray(self.distances, dtype=float))
        if not len(wanted) or not np.isfinite(wanted).all():
            raise RecipeProblem("There is no distance to match: no spot to be predicted lies in a measured section.")
        _, code, counts = np.unique(section, return_inverse=True, return_counts=True)
        together = counts[code] > 1
        if not together.any():
            raise RecipeProblem(
                "Every spot is alone in its section, so there are no distances to match. "
                "Hold out whole groups, or single spots at random."
            )
        best, least = None, np.inf
        for fold in self._candidates(xy, section):
            sizes = np.bincount(fold, minlength=self.n_folds)
            if sizes.min() == 0 or sizes.max() > max(_LARGEST, 1.5 / self.n_folds) * len(xy):
                continue
            reached = held_out_distances(xy, section, fold)[together]
            if not np.isfinite(reached).all():
                continue
            off = wasserstein_distance(reached, wanted)
            if off < least:
                best, least = fold, off
        if best is None:
            raise RecipeProblem(
                f"The tissue cannot be cut into {self.n_folds} folds whose distances could be matched: each way to cut "
                "it holds out a whole section, or more than half of all spots. Leave out sections of a few spots, use "
                "other folds, or hold out whole groups."
            )
        return best

    def _candidates(self, xy: NDArray[np.float64], section: NDArray[Any]) -> Iterator[NDArray[np.int64]]:
        """Yield (n,) folds of spots, from the finest to the coarsest."""
        from sklearn.cluster import KMeans

        yield np.random.default_rng(self.seed).permutation(np.arange(len(xy)) % self.n_folds)
        apart = _side_by_side(xy, section)
        direction = np.linalg.eigh(np.cov(apart.T))[1][:, -1]
        most = min(_CLUSTERS, len(xy) // 2)
        for n_clusters in np.unique(np.geomspace(most, self.n_folds, _STEPS).round().astype(int))[::-1]:
            found = KMeans(int(n_clusters), n_init=1, max_iter=30, random_state=self.seed).fit(apart)
            sizes = np.bincount(found.labels_, minlength=n_clusters)
            yield self._deal(sizes, found.cluster_centers_ @ direction)[found.labels_]

    def _deal(self, sizes: NDArray[np.int64], place: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the fold of each cluster: those as large as a fold have one of their own, the others in turn."""
        order = np.argsort(place, kind="stable")
        large = order[sizes[order] >= sizes.sum() / self.n_folds][: self.n_folds]
        rest = np.setdiff1d(np.arange(self.n_folds), np.arange(len(large)))
        if not len(rest):
            rest = np.arange(self.n_folds)
        fold = np.empty(len(sizes), dtype=np.int64)
        others = order[~np.isin(order, large)]
        fold[large] = np.arange(len(large))
        fold[others] = rest[np.arange(len(others)) % len(rest)]
        return fold


def distances_to(
    xy: NDArray[np.float64], section: NDArray[Any], seen_xy: NDArray[np.float64], seen_section: NDArray[Any]
) -> NDArray[np.float64]:
    """Return (n,) how far in µm each spot lies from the nearest seen one of its section; infinite without any."""
    from scipy.spatial import cKDTree

    distance = np.full(len(xy), np.inf)
    for label in np.intersect1d(section, seen_section):
        here = section == label
        distance[here] = cKDTree(seen_xy[seen_section == label]).query(xy[here])[0]
    return distance


def held_out_distances(xy: NDArray[np.float64], section: NDArray[Any], fold: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (n,) how far in µm each spot lies from the nearest of other folds, within its section."""
    distance = np.empty(len(xy))
    for number in np.unique(fold):
        held = fold == number
        distance[held] = distances_to(xy[held], section[held], xy[~held], section[~held])
    return distance


def _side_by_side(xy: NDArray[np.float64], section: NDArray[Any]) -> NDArray[np.float64]:
    """Return positions with sections so far apart that no cluster of many has spots of two."""
    _, code = np.unique(section, return_inverse=True)
    moved = xy.copy()
    start = 0.0
    for number in range(code.max() + 1):
        own = code == number
        moved[own] -= xy[own].min(axis=0)
        moved[own, 0] += start
        start += 3 * max(float(np.ptp(xy[own], axis=0).max()), 1.0)
    return moved
