"""Principal directions of features: the space in which the linear models are solved."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.threads import threads_for

_ROWS = 4096
_EXACT = 5000


class Rotation:
    """Rotate centred features onto their leading principal directions.

    Nothing is rescaled, so a ridge penalty means the same before and after. With at least as many
    directions as features (or spots) this is a mere change of axes and loses nothing.

    Parameters
    ----------
    n_directions
        How many directions to keep at most; None keeps all.
    """

    def __init__(self, n_directions: int | None) -> None:
        self.n_directions = n_directions

    def fit(self, features: NDArray[np.floating]) -> Self:
        """Learn centre and directions from (spots, features).

        The smaller of the two Gram matrices is decomposed exactly; where both are large, a
        randomised decomposition with a fixed seed takes its place (Halko et al. 2011,
        doi:10.1137/090771806).
        """
        n, p = features.shape
        keep = min(n, p) if self.n_directions is None else min(n, p, self.n_directions)
        self.centre_: NDArray[np.float64] = features.mean(axis=0, dtype=np.float64)
        if min(n, p) > _EXACT and keep < min(n, p) // 4:
            from sklearn.utils.extmath import randomized_svd

            _, _, rows = randomized_svd(features - self.centre_, keep, random_state=0)
            self.directions_: NDArray[np.float64] = rows.T
        elif p <= n:
            gram = np.zeros((p, p))
            for start in range(0, n, _ROWS):
                part = features[start : start + _ROWS] - self.centre_
                gram += part.T @ part
            self.directions_ = _leading(gram, keep)[1]
        else:
            centred = features - self.centre_
            values, left = _leading(centred @ centred.T, keep)
            self.directions_ = centred.T @ left / np.sqrt(values)
        return self

    def transform(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (spots, directions) float64."""
        rotated = np.empty((len(features), self.directions_.shape[1]))
        for start in range(0, len(features), _ROWS):
            rotated[start : start + _ROWS] = (features[start : start + _ROWS] - self.centre_) @ self.directions_
        return rotated

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        return {"n_directions": self.n_directions}, {"centre": self.centre_, "directions": self.directions_}

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.n_directions = facts["n_directions"]
        self.centre_, self.directions_ = arrays["centre"], arrays["directions"]
        if self.directions_.ndim != 2 or self.directions_.shape[0] != len(self.centre_):
            raise ModelProblem("The model's directions do not fit its features.")
        return self


def _leading(gram: NDArray[np.float64], keep: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the largest eigenvalues, largest first, and their vectors; null directions are left out."""
    from scipy.linalg import eigh

    size = len(gram)
    with threads_for(1.4 * size**3):
        values, vectors = eigh(gram, subset_by_index=[size - keep, size - 1])
    values, vectors = values[::-1], vectors[:, ::-1]
    real = values > max(values[0], 0.0) * 1e-10
    return values[real], np.ascontiguousarray(vectors[:, real])
