"""Checkpoints of a training: one safetensors file after every epoch, its JSON inside, nothing that runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from napari_st2msi.errors import FileProblem
from napari_st2msi.features.arrays import part, prefixed

_FACTS = "st2msi"
_FORMAT = "napari-st2msi checkpoint 1"


def write_checkpoint(path: Path, facts: Mapping[str, Any], tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a checkpoint; the one before stays until the new one is whole.

    Parameters
    ----------
    facts
        JSON values.
    tensors
        By name, on any device.

    Raises
    ------
    FileProblem
        It cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    # Of this process: another may train the same network, and write the same checkpoint.
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    text = json.dumps({"format": _FORMAT, "tensors": sorted(tensors), **facts}, allow_nan=False)
    # Copies: tensors that share memory, as those of two epochs may, are refused.
    own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(own, draft, metadata={_FACTS: text})
        os.replace(draft, path)
    except (OSError, SafetensorError) as error:
        with suppress(OSError):
            draft.unlink(missing_ok=True)
        raise FileProblem(f"The checkpoint '{path}' cannot be written: {error}") from error


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the facts and tensors of a checkpoint.

    Raises
    ------
    FileProblem
        The file is not a checkpoint, or damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {}).get(_FACTS, "null"))
            names = file.keys()  # it is no dict
            tensors = {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError, ValueError) as error:
        raise FileProblem(f"The checkpoint '{path}' cannot be read: {error}. Delete it to start anew.") from error
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise FileProblem(f"'{path}' is not a checkpoint of this program. Delete it or choose another place.")
    if facts.pop("tensors", None) != sorted(tensors):
        raise FileProblem(f"The checkpoint '{path}' is damaged: tensors are missing. Delete it to start anew.")
    return facts, tensors


def tensors_of(
    network: Mapping[str, torch.Tensor], best: Mapping[str, torch.Tensor], optimiser: Mapping[str, Any]
) -> dict[str, torch.Tensor]:
    """Return the weights of now and of the best epoch, and what the optimiser remembers, by flat names."""
    flat = prefixed("network", network) | prefixed("best", best)
    for number, memory in optimiser["state"].items():
        flat |= prefixed(f"optimiser.{number}", {name: torch.as_tensor(value) for name, value in memory.items()})
    return flat


def optimiser_state(tensors: Mapping[str, torch.Tensor], groups: Any) -> dict[str, Any]:
    """Return what `torch.optim.Optimizer.load_state_dict` takes, from what `tensors_of` made."""
    state: dict[int, dict[str, torch.Tensor]] = {}
    for key, value in part("optimiser", tensors).items():
        number, name = key.split(".", 1)
        state.setdefault(int(number), {})[name] = value
    return {"state": state, "param_groups": groups}
