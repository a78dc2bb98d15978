"""Where networks are trained: a CUDA GPU, Apple's, or the processor."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch

from napari_st2msi.errors import ModelProblem

#: Where to train. auto: the first of CUDA, MPS and CPU that there is.
Device = Literal["auto", "cuda", "mps", "cpu"]
#: full: 32 bits throughout. mixed: products in 16 bits where a GPU gains by it, otherwise as full.
Precision = Literal["full", "mixed"]


def there_is(device: str) -> bool:
    """Return whether torch can compute on a device here."""
    if device == "cuda":
        return bool(torch.cuda.is_available())
    if device == "mps":
        return bool(torch.backends.mps.is_available())
    return device == "cpu"


def found(device: Device) -> str:
    """Return the device to train on: ``cuda``, ``mps`` or ``cpu``.

    Raises
    ------
    ModelProblem
        The one asked for is not there.
    """
    if device == "auto":
        return next(name for name in ("cuda", "mps", "cpu") if there_is(name))
    if not there_is(device):
        kind = "NVIDIA GPU (CUDA)" if device == "cuda" else "Apple GPU (MPS)"
        raise ModelProblem(
            f"torch finds no {kind} on this computer. Choose the device 'auto' or 'cpu', "
            "or install the build of torch that is made for the GPU."
        )
    return device


@contextmanager
def threads(number: int | None) -> Iterator[None]:
    """Compute on so many threads of the CPU; None leaves it as it is."""
    before = torch.get_num_threads()
    torch.set_num_threads(before if number is None else number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fabric(device: Device = "auto", precision: Precision = "full", devices: int = 1) -> Any:
    """Return the `lightning_fabric.Fabric` that trains on one device, or on several NVIDIA GPUs at once.

    Several GPUs share each minibatch from within this process (Fabric's strategy ``dp``): the strategies with a
    process each would start the program that calls, such as napari, once more for every GPU.

    Raises
    ------
    ModelProblem
        The device asked for is not there, or not as often.
    """
    from lightning_fabric import Fabric

    name = found(device)
    if devices > 1 and (name != "cuda" or torch.cuda.device_count() < devices):
        there = torch.cuda.device_count() if name == "cuda" else 0
        raise ModelProblem(
            f"{devices} NVIDIA GPUs were asked for, and torch finds {there} to train on. Choose fewer devices."
        )
    bits: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    if precision == "mixed" and name == "cuda":
        bits = "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    return Fabric(accelerator=name, devices=devices, strategy="auto" if devices == 1 else "dp", precision=bits)
