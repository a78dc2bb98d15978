"""How an encoder of the stained section is learned: to tell from a patch the genes that lie there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import mse_loss

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.encoder import Encoder, as_pictures, density
from napari_st2msi.features.histology import SIDE
from napari_st2msi.models.deep.following import followed
from napari_st2msi.models.deep.loop import Schedule, seeded, train
from napari_st2msi.models.inner import InnerFold
from napari_st2msi.progress import check, never
from napari_st2msi.recipe import Networks

_EPOCHS, _PATIENCE, _BATCH, _RATE = 30, 6, 64, 3e-3
# How much the strength of each stain is changed in learning: by so much stains differ in one laboratory.
_STAIN = 0.1


def learn_encoder(
    patches: NDArray[np.uint8],
    targets: NDArray[np.float32],
    seen: NDArray[np.bool_],
    *,
    outputs: int,
    folds: Sequence[InnerFold],
    networks: Networks,
    cancelled: Callable[[], bool] = never,
) -> Encoder:
    """Return an encoder that learned on the training spots, and stopped by tissue held out among them.

    Patches are turned and mirrored at random, and their stains made weaker and stronger: no direction and no depth
    of a stain means anything. The outputs through which a few targets must pass are then what the encoder says.

    Parameters
    ----------
    patches
        (spots, side * side * 3) uint8.
    targets
        (spots, k) with mean 0.
    seen
        (spots,) which of them have a patch.
    outputs
        How many numbers the encoder gives.
    folds
        Inner folds of these spots; the first one is what it learns from and stops by.
    networks
        Of which the device, the precision and the seed are looked at.

    Raises
    ------
    ModelProblem
        There is too little tissue to hold some out.
    """
    parts = [(fold.fit[seen[fold.fit]], fold.held[seen[fold.held]]) for fold in folds]
    usable = [(fit, held) for fit, held in parts if len(fit) > 1 and len(held)]
    if not usable:
        raise ModelProblem(
            "There are too few spots on the stained section to learn an encoder from. Choose the histology 'texture'."
        )
    fit, held = usable[0]
    data = {"patches": as_pictures(patches, SIDE), "targets": torch.from_numpy(targets)}
    with seeded(networks.seed):
        encoder = Encoder(outputs, targets.shape[1])
    watch = followed()
    done = train(
        encoder,
        data,
        _loss,
        fit,
        held,
        Schedule(
            epochs=_EPOCHS,
            patience=_PATIENCE,
            batch=_BATCH,
            learning_rate=_RATE,
            seed=networks.seed,
            device=networks.device,
            precision=networks.precision,
            threads=1,
        ),
        checkpoints=watch.checkpoints,
        told=partial(watch.tell, 1, 1, what="encoder of histology"),
        cancelled=lambda: cancelled() or watch.enough(),
    )
    check(cancelled)
    learned: Encoder = done.network
    return learned


def _loss(network: Encoder, data: Mapping[str, torch.Tensor], rows: torch.Tensor) -> torch.Tensor:
    seen = density(data["patches"][rows])
    if network.training:
        seen = torch.rot90(seen, int(torch.randint(4, ())), (2, 3))
        seen = seen.flip(3) if torch.rand(()) < 0.5 else seen
        seen = seen * (1 + _STAIN * torch.randn(len(seen), 3, 1, 1, device=seen.device))
    return mse_loss(network(seen), data["targets"][rows])
