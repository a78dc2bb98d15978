"""How far an attribution is to be believed: random weights, and networks that learned from other spots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.explain.attention import attention_of
from napari_st2msi.explain.attribution import Attribution, Part
from napari_st2msi.explain.deletion import DeletionCurve, deletion_curve, even_choice
from napari_st2msi.explain.explain import attribution_of
from napari_st2msi.explain.explainer import Explainer
from napari_st2msi.explain.inputs import Spots, positions
from napari_st2msi.explain.ions import find_ion
from napari_st2msi.explain.kinds import explainer_for
from napari_st2msi.explain.tokens import token_genes
from napari_st2msi.models.base import Predictor
from napari_st2msi.models.learner import Learner
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData


@dataclass(frozen=True)
class Checks:
    """What speaks for or against an explanation.

    Attributes
    ----------
    deletion
        The deletion curve.
    random_weights
        Rank correlation of the genes' strengths with those of the same networks with random weights; near 0
        where the explanation tells of what was learned. None for models that start from nothing random.
    agreement
        Mean rank correlation between the single networks of the model, each with its own seed and other spots
        to stop by; None where there are not several.
    """

    deletion: DeletionCurve
    random_weights: float | None = None
    agreement: float | None = None


def check_attribution(
    explainer: Explainer,
    attribution: Attribution,
    *,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Checks:
    """Check an attribution by deletion and, for networks, by random weights and by agreement.

    With more than 256 spots an even choice of them is used.

    Parameters
    ----------
    explainer, attribution
        The model at some spots, and the attribution of an ion there.
    """
    some = even_choice(len(explainer.inputs))
    ion = find_ion(explainer.learner.ions_.var_, attribution.ion)

    def strengths(learner: Learner) -> NDArray[np.float64]:
        own = explainer_for(learner, explainer.inputs.genes, explainer.inputs.asked[some])
        return _sizes(attribution_of(own, ion, cancelled=cancelled).values)

    return _judged(
        explainer,
        attribution.ion,
        [[gene] for gene in attribution.ranked().index],
        attribution.part,
        _sizes(attribution.values[some]),
        strengths,
        seed,
        progress,
        cancelled,
    )


def check_attention(
    predictor: Predictor,
    genes: AnnData,
    ion: str,
    *,
    spots: Spots = None,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Checks:
    """Check what an ion attends to, as attributions are checked.

    With more than 256 spots an even choice of them is used.

    Parameters
    ----------
    predictor, genes, ion, spots
        As for `napari_st2msi.explain.attention.attention_of`.
    """
    asked = positions(genes, spots)
    asked = asked[even_choice(len(asked))]
    explainer = explainer_for(predictor, genes, asked)

    def shares(learner: Learner) -> NDArray[np.float64]:
        found = attention_of(learner, genes, [ion], spots=asked, cancelled=cancelled)
        return found.weights[:, 0].mean(axis=0, dtype=np.float64)

    own, tokens = shares(explainer.learner), token_genes(explainer.learner)
    ranked = [tokens[place] for place in np.argsort(-own, kind="stable")]
    return _judged(explainer, ion, ranked, "prediction", own, shares, seed, progress, cancelled)


def _judged(
    explainer: Explainer,
    ion: str,
    ranked: Sequence[Sequence[str]],
    part: Part,
    own: NDArray[np.float64],
    strengths: Callable[[Any], NDArray[np.float64]],
    seed: int,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> Checks:
    """Return the deletion curve of a ranking, and how its strengths correlate with those of other networks."""
    learner: Any = explainer.learner
    networks = list(getattr(learner, "networks_", []))
    share = 1 / (2 + len(networks)) if networks else 1.0
    curve = deletion_curve(
        explainer, ion, ranked, part=part, seed=seed, progress=progress.part(0, share), cancelled=cancelled
    )
    if not networks or not own.any():
        return Checks(curve)
    from napari_st2msi.explain.networks import with_networks

    progress(share, "random weights")
    chance = _correlation(own, strengths(with_networks(learner, random_networks(learner, seed))))
    each = []
    for number, network in enumerate(networks if len(networks) > 1 else [], 2):
        check(cancelled)
        progress(number * share, "agreement of networks")
        each.append(strengths(with_networks(learner, [network])))
    between = [_correlation(one, other) for one, other in combinations(each, 2)]
    return Checks(curve, chance, float(np.mean(between)) if between else None)


def random_networks(learner: Any, seed: int = 0) -> list[Any]:
    """Return as many networks as a model has, with weights drawn at random and of the size of the trained ones.

    A model whose weights mean nothing must not have the same explanation (Adebayo et al. 2018, arXiv:1810.03292).
    """
    import torch

    from napari_st2msi.models.deep.loop import seeded

    drawn = []
    for number, trained in enumerate(learner.networks_, 1):
        with seeded(seed, number), torch.no_grad():
            network = learner.new_network(len(learner.centre_))
            for own, other in zip(network.parameters(), trained.parameters(), strict=True):
                # Networks start from the mean, with outlets of zero: that would explain nothing at all.
                spread = float(other.std(correction=0)) if other.numel() > 1 else 0.0
                own.copy_(other.mean() + spread * torch.randn_like(other))
        drawn.append(network.eval())
    return drawn


def _sizes(values: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.abs(values).mean(axis=0, dtype=np.float64)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return the rank correlation; 0 where one of both does not vary."""
    from scipy.stats import rankdata

    ranks = [rankdata(values) - (len(values) + 1) / 2 for values in (one, other)]
    size = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / size) if size > 0 else 0.0
