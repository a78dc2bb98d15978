"""Arrays, or tensors, of several parts in one flat dictionary, the way safetensors wants them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

Values = TypeVar("Values")


def prefixed(name: str, arrays: Mapping[str, Values]) -> dict[str, Values]:
    """Return the arrays with names ``name.key``."""
    return {f"{name}.{key}": values for key, values in arrays.items()}


def part(name: str, arrays: Mapping[str, Values]) -> dict[str, Values]:
    """Return the arrays named ``name.key``, by their key."""
    return {key.removeprefix(f"{name}."): values for key, values in arrays.items() if key.startswith(f"{name}.")}
