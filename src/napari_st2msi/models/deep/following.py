"""Follow the networks that are trained somewhere inside a call: curves, checkpoints, an early end.

A network may be a model by itself, a stage of another, a part of a stack, or all of these in every fold of
an evaluation. What follows them is told once, around the call, and no model in between knows of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_st2msi.progress import never

if TYPE_CHECKING:
    from napari_st2msi.models.deep.loop import Epoch


@dataclass(frozen=True)
class Told:
    """An epoch of a network.

    Attributes
    ----------
    network, networks
        Number of the network, from 1, and how many are averaged.
    epoch
        Its losses.
    what
        What the network is, in words.
    """

    network: int
    networks: int
    epoch: Epoch
    what: str = "network"


@dataclass(frozen=True)
class Following:
    """What follows the training of networks.

    Attributes
    ----------
    checkpoints
        A folder in which each network keeps a checkpoint after every epoch, under a name made from its
        data, settings and start. A training that comes along again goes on from there, or is over at
        once; others cannot be mistaken for it. None keeps none.
    told
        Called after every epoch.
    enough
        When it says so, training ends, and the best epoch so far is what is kept. Before the end of the first
        epoch there is none, and `Cancelled` is raised.
    """

    checkpoints: Path | None = None
    told: Callable[[Told], None] | None = None
    enough: Callable[[], bool] = never

    def tell(self, network: int, networks: int, epoch: Epoch, what: str = "network") -> None:
        """Tell of an epoch whoever wants to know; see `Told`."""
        if self.told is not None:
            self.told(Told(network, networks, epoch, what))


_NOTHING = Following()
_current: ContextVar[Following] = ContextVar("following")


@contextmanager
def following(
    checkpoints: Path | None = None,
    told: Callable[[Told], None] | None = None,
    enough: Callable[[], bool] | None = None,
) -> Iterator[None]:
    """Follow all networks that are trained inside, on this thread; see `Following`.

    What is None stays as it was said further outside.
    """
    said: dict[str, Any] = {"checkpoints": checkpoints, "told": told, "enough": enough}
    token = _current.set(replace(followed(), **{name: value for name, value in said.items() if value is not None}))
    try:
        yield
    finally:
        _current.reset(token)


def followed() -> Following:
    """Return what follows the networks that are trained here."""
    return _current.get(_NOTHING)
