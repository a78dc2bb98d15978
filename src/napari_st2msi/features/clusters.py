"""Clusters of spots by where they lie in a space of features."""

from __future__ import annotations

import random
from importlib import import_module
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem

_LEAST_SPOTS = 20
_NEIGHBOURS = 15


def found_clusters(
    place: NDArray[np.float64], method: Literal["kmeans", "leiden"], n_clusters: int
) -> NDArray[np.int64]:
    """Return (n,) the number of each spot's cluster.

    Parameters
    ----------
    place
        (n, r) where each spot lies.
    method
        ``kmeans`` (Lloyd 1982, doi:10.1109/TIT.1982.1056489), or ``leiden`` (Traag et al. 2019,
        doi:10.1038/s41598-019-41695-z) on the graph of nearest neighbours, with modularity. The latter
        needs the package igraph, whose licence (GPL) keeps it out of what this package installs.
    n_clusters
        For ``kmeans``: how many, and fewer where there are not 20 spots for each.

    Raises
    ------
    ModelProblem
        igraph is wanted and not installed.
    """
    if not np.ptp(place, axis=0).any():  # no direction, or none in which spots differ
        return np.zeros(len(place), dtype=np.int64)
    if method == "leiden":
        return _leiden(place)
    from sklearn.cluster import KMeans

    k = max(1, min(n_clusters, len(place) // _LEAST_SPOTS))
    return np.asarray(KMeans(k, n_init=5, random_state=0).fit_predict(place), dtype=np.int64)


def _leiden(place: NDArray[np.float64]) -> NDArray[np.int64]:
    try:
        igraph = import_module("igraph")
    except ImportError as error:
        raise ModelProblem(
            "Leiden clusters need the package igraph, which is not installed here because of its licence (GPL). "
            "Choose 'kmeans', or install it with: pip install igraph."
        ) from error
    from sklearn.neighbors import kneighbors_graph

    near = kneighbors_graph(place, min(_NEIGHBOURS, len(place) - 1)).tocoo()
    graph = igraph.Graph(n=len(place), edges=np.column_stack([near.row, near.col]).tolist())
    graph.simplify()
    igraph.set_random_number_generator(random.Random(0))
    try:
        found = graph.community_leiden(objective_function="modularity", n_iterations=-1)
    finally:
        igraph.set_random_number_generator(random)
    return np.asarray(found.membership, dtype=np.int64)
