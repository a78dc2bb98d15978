"""Networks of the package timm that look at patches of a stained section, with weights from a local file.

Nothing is downloaded, and weights are read from safetensors files alone, which hold numbers and nothing that runs.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, ModelProblem
from napari_st2msi.features.patches import patches
from napari_st2msi.features.texture import WIDER
from napari_st2msi.models.deep.device import found
from napari_st2msi.progress import Progress, never
from napari_st2msi.recipe import Genes

#: The environment variable that names a folder with weights that are not where a recipe says, as on another computer.
FOLDER = "NAPARI_ST2MSI_WEIGHTS"


class Pretrained(NamedTuple):
    """A network with its weights, and what it wants to be shown.

    Attributes
    ----------
    network
        From pictures (n, 3, side, side) to numbers (n, k).
    side
        Pixels along a picture.
    mean, deviation
        (3,) of the colours from 0 to 1 that it was trained on.
    """

    network: torch.nn.Module
    side: int
    mean: NDArray[np.float32]
    deviation: NDArray[np.float32]


def describe(
    levels: Sequence[Any],
    to_um: NDArray[np.floating],
    xy: NDArray[np.floating],
    choices: Genes,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> NDArray[np.float32]:
    """Return what a network of timm says of a picture around places.

    Parameters
    ----------
    levels, to_um, xy
        See `napari_st2msi.features.patches.patches`.
    choices
        Which network, with which weights, and how much of the picture it sees.

    Returns
    -------
    (n, k) float32; NaN where a place lies beside the picture.

    Raises
    ------
    FileProblem
        The weights cannot be read, or not without running code.
    ModelProblem
        timm is missing, knows no such network, or the weights are not those of it.
    """
    known = pretrained(choices)
    device = found("auto")
    network = known.network.to(device)
    mean, deviation = (torch.from_numpy(v).view(3, 1, 1).to(device) for v in (known.mean, known.deviation))
    result: NDArray[np.float32] | None = None
    seen = patches(
        levels, to_um, xy, WIDER * choices.histology_radius, known.side, progress=progress, cancelled=cancelled
    )
    for spots, pictures in seen:
        with torch.inference_mode():
            shown = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2).float() / 255
            said = network((shown - mean) / deviation).float().cpu().numpy()
        if said.ndim != 2:
            raise ModelProblem(
                f"The network '{choices.histology_network}' gives no single list of numbers of a picture. Choose "
                "another."
            )
        if result is None:
            result = np.full((len(xy), said.shape[1]), np.nan, dtype=np.float32)
        result[spots] = said
    return np.full((len(xy), 1), np.nan, dtype=np.float32) if result is None else result


def pretrained(choices: Genes) -> Pretrained:
    """Return a network of timm with the weights of a file.

    Raises
    ------
    FileProblem, ModelProblem
        See `describe`.
    """
    path = weights_file(choices)
    fingerprint(choices)
    try:
        timm: Any = import_module("timm")
    except ImportError as error:
        raise ModelProblem(
            "The histology 'timm' needs the package timm, which is not here. Install it with: "
            'pip install "napari-st2msi[histology]". Or choose another histology.'
        ) from error
    except RuntimeError as error:  # torchvision made for another torch
        raise ModelProblem(
            "timm cannot be loaded: the packages torch and torchvision here are of different builds. Install both "
            f"from one place. ({error})"
        ) from error
    name, further = _asked(choices.histology_network)
    if not timm.is_model(name):
        raise ModelProblem(f"timm knows no network '{name}'. Its names are those of timm.list_models().")
    try:
        network: torch.nn.Module = timm.create_model(name, pretrained=False, num_classes=0, **further)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ModelProblem(f"timm cannot build '{choices.histology_network}': {error}") from error
    _fill(network, path)
    facts = timm.data.resolve_model_data_config(network)
    mean, deviation = (np.array(facts[key], dtype=np.float32) for key in ("mean", "std"))
    return Pretrained(network.eval(), int(facts["input_size"][-1]), mean, deviation)


def weights_file(choices: Genes) -> Path:
    """Return the file with the weights: where the recipe says, or else by its name in the folder `FOLDER` names.

    Raises
    ------
    FileProblem
        None is named, it is not there, or of a kind that may run code.
    """
    path = choices.histology_weights
    if path is None:
        raise FileProblem("The histology 'timm' needs the weights of the network. Choose their .safetensors file.")
    path = path.expanduser()
    if path.suffix.lower() != ".safetensors":
        raise FileProblem(
            f"'{path.name}' is not read: weights come from .safetensors files alone, for others can run code. If you "
            'trust it, convert it once: python -c "import sys, torch, safetensors.torch as s; s.save_file('
            '{k: v.contiguous() for k, v in torch.load(sys.argv[1], weights_only=True).items()}, sys.argv[2])" '
            f"{path.name} {path.stem}.safetensors"
        )
    elsewhere = Path(os.environ.get(FOLDER, path.parent)).expanduser() / path.name
    for place in (path, elsewhere):
        if place.is_file():
            return place
    raise FileProblem(
        f"There are no weights at '{path}'{'' if elsewhere == path else f' nor at {str(elsewhere)!r}'}. Put the file "
        f"there, or name its folder in the environment variable {FOLDER}."
    )


def fingerprint(choices: Genes) -> str:
    """Return the SHA-256 of the weights' file, as 64 hexadecimal digits.

    Raises
    ------
    FileProblem
        See `weights_file`.
    ModelProblem
        It is not the one that the recipe asks for.
    """
    path, expected = weights_file(choices), choices.histology_fingerprint
    try:
        facts = path.stat()
        own = _digest(path, facts.st_size, facts.st_mtime_ns)
    except OSError as error:
        raise FileProblem(f"The weights '{path}' cannot be read: {error}") from error
    if expected is not None and own != expected:
        raise ModelProblem(
            f"'{path.name}' holds other weights than the recipe asks for: its mark is {own[:12]}…, and that of "
            f"the recipe {expected[:12]}…. Find the file that the model was trained with."
        )
    return own


@lru_cache(maxsize=8)
def _digest(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _asked(words: str) -> tuple[str, dict[str, bool | float]]:
    """Return the name of a network and what else it is built with: numbers, true and false alone."""
    name, *more = words.split()
    further: dict[str, bool | float] = {}
    for word in more:
        key, _, text = word.partition("=")
        try:
            value = json.loads(text.lower())
        except ValueError:
            value = None
        if not key.isidentifier() or not isinstance(value, bool | int | float):
            raise ModelProblem(
                f"'{word}' is not understood. After the name of the network write numbers, true or false, such as "
                "init_values=1e-5."
            )
        further[key] = value
    return name, further


def _fill(network: torch.nn.Module, path: Path) -> None:
    """Put the weights of a file into a network; those of its classifier are left out."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise FileProblem(f"'{path.name}' is not a whole safetensors file: {error}.") from error
    heads = getattr(network, "pretrained_cfg", {}).get("classifier") or ()
    heads = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    weights = {name: value for name, value in weights.items() if not name.startswith(heads)}
    bad = [name for name, value in weights.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if bad:
        raise ModelProblem(f"The weights in '{path.name}' contain missing values, such as in '{bad[0]}'.")
    try:
        missing, unknown = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise ModelProblem(
            f"The weights in '{path.name}' are of another size than the network's. Choose the network that they were "
            "made for."
        ) from error
    if missing or unknown:
        named = [f"{len(missing)} are missing, such as '{missing[0]}'"] if missing else []
        named += [f"{len(unknown)} have no place, such as '{unknown[0]}'"] if unknown else []
        raise ModelProblem(
            f"The weights in '{path.name}' are not those of this network: {' and '.join(named)}. Choose the network "
            "that they were made for, and build it in the same way."
        )
