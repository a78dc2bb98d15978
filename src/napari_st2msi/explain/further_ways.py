"""The ways of maps without a formula for their slopes: networks, trees, and stacks of all sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import ModelProblem
from napari_st2msi.explain.ways import ChainWay, KernelWay, LinearWay, Slopes, Way
from napari_st2msi.models.chain import Chain
from napari_st2msi.models.kernel import Kernel
from napari_st2msi.models.maps import Linear, Map
from napari_st2msi.models.nets import Networks
from napari_st2msi.models.stack import Stacked
from napari_st2msi.models.trees import Trees

if TYPE_CHECKING:
    import torch

# A feature closer to its mean than this share of what features differ by says little of how steep trees are.
_NEAR = 0.1


def way(fitted: Map, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> Way:
    """Return the way of a map from (n, features) to (n, features).

    Raises
    ------
    ModelProblem
        The map is of a kind that has no slopes.
    """
    if isinstance(fitted, Linear):
        return LinearWay(fitted, start, end, target)
    if isinstance(fitted, Kernel):
        return KernelWay(fitted, start, end, target)
    if isinstance(fitted, Chain):
        return ChainWay(fitted, start, end, target)
    if isinstance(fitted, Networks):
        return _NetworksWay(fitted, start, end, target)
    if isinstance(fitted, Trees):
        return _TreesWay(fitted, start, end, target)
    if isinstance(fitted, Stacked):
        return _StackedWay(fitted, start, end, target)
    raise ModelProblem(f"A model with a map of the kind '{type(fitted).__name__}' cannot be explained by genes yet.")


def has_trees(fitted: Map) -> bool:
    """Tell whether trees have a say."""
    return isinstance(fitted, Trees) or (
        isinstance(fitted, Stacked) and any(has_trees(part) for part in fitted.parts.values())
    )


class _StackedWay:
    """A weighted sum of maps."""

    def __init__(self, fitted: Stacked, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._mean, self._shape = float(fitted.mean[target]), end.shape
        self._parts = [
            (float(weight), way(part, start, end, target))
            for part, weight in zip(fitted.parts.values(), fitted.weights[:, target], strict=True)
            if weight
        ]

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        said = np.full((len(at), self._shape[0]), self._mean)
        for weight, part in self._parts:
            said += weight * (part.values(at) - self._mean)
        return said

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        together = Slopes(np.zeros((1, self._shape[1])), np.zeros((self._shape[0], 1)))
        for weight, part in self._parts:
            together += part.slopes(at, weight * weights)
        return together


class _NetworksWay:
    """Networks, by the gradients that torch works out."""

    def __init__(self, fitted: Networks, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._fitted, self._target = fitted, target
        self._start, self._end = np.asarray(start, dtype=np.float32), np.asarray(end, dtype=np.float32)

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([self._fitted(self._place(share))[:, self._target] for share in at])

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        import torch

        fitted, total = self._fitted, np.zeros(self._end.shape)
        place = np.flatnonzero(fitted.columns == self._target)
        if not len(place) or not fitted.networks:
            return Slopes(total)
        seen = slice(fitted.first, fitted.first + len(fitted.centre))
        for share, weight in zip(at, weights, strict=True):
            features = torch.from_numpy(fitted.scaled(self._place(share))).requires_grad_()
            said: torch.Tensor = sum(network(features)[0][:, place[0]].sum() for network in fitted.networks)
            (gradient,) = torch.autograd.grad(said, features)
            scale = float(fitted.unit[place[0]]) / (len(fitted.networks) * fitted.scale)
            total[:, seen] += weight[:, None] * scale * gradient.numpy()
        return Slopes(total)

    def _place(self, share: float) -> NDArray[np.float32]:
        place: NDArray[np.float32] = self._start + np.float32(share) * (self._end - self._start)
        return place


class _TreesWay:
    """Trees, by TreeSHAP (Lundberg et al. 2020, doi:10.1038/s42256-019-0138-9).

    It tells what each feature brings beside the mean prediction. A direction of genes passes that on to genes as
    if it were linear up to there. Near its mean, where what it brings would be divided by nothing, less is passed
    on, which leaves a gap.
    """

    def __init__(self, fitted: Trees, start: NDArray[np.floating], end: NDArray[np.floating], target: int) -> None:
        self._difference = np.asarray(end, dtype=np.float64) - start
        weights = fitted.directions[:, target]
        brought = np.zeros((len(end), end.shape[1] + 1))
        if fitted.boosters and weights.any():
            brought += np.einsum("nmf,m->nf", _shares(fitted, end), weights, dtype=np.float64)
        self._brought, self._level = brought[:, :-1], fitted.mean[target] + brought[:, -1]

    def values(self, at: NDArray[np.float64]) -> NDArray[np.float64]:
        return self._level + at[:, None] * self._brought.sum(axis=1)

    def slopes(self, at: NDArray[np.float64], weights: NDArray[np.float64]) -> Slopes:
        near = _NEAR * np.sqrt((self._difference**2).mean(axis=0))
        steep = self._brought * self._difference / np.maximum(self._difference**2 + near**2, 1e-300)
        return Slopes(weights.sum(axis=0)[:, None] * steep)


# Of the spots asked for last: all ions share them.
_known: WeakKeyDictionary[Trees, tuple[NDArray[np.floating], NDArray[np.float32]]] = WeakKeyDictionary()


def _shares(fitted: Trees, features: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (n, outputs, features + 1) what each feature brings to each output of trees, last the mean."""
    from xgboost import DMatrix

    known = _known.get(fitted)
    if known is not None and np.array_equal(known[0], features):
        return known[1]
    asked = DMatrix(np.ascontiguousarray(features, dtype=np.float32), nthread=1)
    shape = (len(features), len(fitted.directions), features.shape[1] + 1)
    shares = np.zeros(shape, dtype=np.float32)
    for booster in fitted.boosters:
        shares += booster.predict(asked, pred_contribs=True).reshape(shape) / len(fitted.boosters)
    _known[fitted] = np.array(features), shares
    return shares
