"""A small convolutional network that turns patches of a stained section into a few numbers.

Imported only when one is learned or asked. How it is learned is in `napari_st2msi.models.deep.encoding`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from napari_st2msi.errors import ModelProblem
from napari_st2msi.features.patches import GLASS
from napari_st2msi.progress import check, never

_WIDTH = 16
# Patches that are looked at together.
_PATCHES = 512


class Encoder(nn.Module):
    """From patches to `outputs` numbers: three convolutions, then mean and deviation of each channel over the patch.

    Parameters
    ----------
    outputs
        How many numbers.
    targets
        How many others are estimated from them while learning, linearly.
    """

    def __init__(self, outputs: int, targets: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (size, channels) in enumerate(((4, 3), (3, _WIDTH), (3, 2 * _WIDTH))):
            wide = _WIDTH * 2**number
            layers += [nn.Conv2d(channels, wide, size, stride=2, padding=1), nn.BatchNorm2d(wide), nn.ReLU()]
        self.layers = nn.Sequential(*layers)
        self.outputs = nn.Linear(8 * _WIDTH, outputs)
        self.targets = nn.Linear(outputs, targets)

    def encode(self, density: torch.Tensor) -> torch.Tensor:
        """Return (patches, outputs) of optical densities (patches, 3, side, side)."""
        seen = self.layers(density)
        return self.outputs(torch.cat([seen.mean(dim=(2, 3)), seen.std(dim=(2, 3), correction=0)], dim=1))

    def forward(self, density: torch.Tensor) -> torch.Tensor:
        """Return (patches, targets)."""
        return self.targets(self.encode(density))

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return all weights by name."""
        # How many batches there were is counted, and used by nobody.
        own = {name: value for name, value in self.state_dict().items() if value.ndim}
        return {name: value.numpy() for name, value in own.items()}

    @classmethod
    def of(cls, arrays: dict[str, NDArray[np.float32]]) -> Encoder:
        """Return the encoder that has these weights.

        Raises
        ------
        ModelProblem
            They are not those of an encoder, or are missing values.
        """
        weights = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
        try:
            encoder = cls(len(weights["outputs.bias"]), len(weights["targets.bias"]))
            encoder.load_state_dict(weights)
        except (KeyError, TypeError, RuntimeError) as error:
            raise ModelProblem("The model's encoder of histology is not whole.") from error
        if not all(bool(torch.isfinite(value).all()) for value in weights.values()):
            raise ModelProblem("The model's weights contain missing values.")
        return encoder.eval()


def as_pictures(patches: NDArray[np.uint8], side: int) -> torch.Tensor:
    """Return (patches, 3, side, side) uint8 of patches (patches, side * side * 3)."""
    return torch.from_numpy(np.ascontiguousarray(patches.reshape(-1, side, side, 3).transpose(0, 3, 1, 2)))


def density(pictures: torch.Tensor) -> torch.Tensor:
    """Return the optical density of uint8 pictures: 0 where the glass is clear."""
    return -torch.log(pictures.float() / GLASS)


def encoded(
    encoder: Encoder, patches: NDArray[np.uint8], side: int, cancelled: Callable[[], bool] = never
) -> NDArray[np.float32]:
    """Return (patches, outputs) float32 of patches (patches, side * side * 3)."""
    found = np.empty((len(patches), encoder.outputs.out_features), dtype=np.float32)
    with torch.no_grad():
        for start in range(0, len(patches), _PATCHES):
            check(cancelled)
            some = slice(start, start + _PATCHES)
            found[some] = encoder.encode(density(as_pictures(patches[some], side))).numpy()
    return found
