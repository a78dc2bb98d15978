"""Turning and mirroring what a canvas shows: its axes and its camera change, positions and data do not.

A 2-D camera cannot rotate, but exchanging the two displayed axes mirrors the picture at its diagonal;
with the two directions of the camera, that gives all eight ways to lay a picture on a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Turn:
    """How a canvas shows its world.

    Attributes
    ----------
    crossed
        Whether the first axis (y) runs across the screen and the second (x) along its height.
    down, right
        Whether the axes shown vertically and horizontally grow in that direction.
    """

    crossed: bool = False
    down: bool = True
    right: bool = True

    def turned(self, quarters: int) -> Turn:
        """Return this turned clockwise by so many times 90°."""
        turn = self
        for _ in range(quarters % 4):
            # What ran to the right runs down then, and what ran down runs to the left.
            turn = Turn(not turn.crossed, turn.right, not turn.down)
        return turn

    def mirrored(self) -> Turn:
        """Return this with left and right exchanged."""
        return Turn(self.crossed, self.down, not self.right)

    @property
    def words(self) -> str:
        """What was done to the picture: ``turned by 90°, mirrored``; empty for as it lies."""
        mirrored = self.crossed ^ (not self.down) ^ (not self.right)
        straight = self.mirrored() if mirrored else self
        quarters = next(n for n in range(4) if Turn().turned(n) == straight)
        parts = [f"turned by {90 * quarters}°"] if quarters else []
        return ", ".join(parts + ["mirrored"] * mirrored)


def turn_of(viewer: Any) -> Turn:
    """Return how a canvas shows its world."""
    order = viewer.dims.order
    vertical, horizontal = viewer.scene.camera.orientation2d
    return Turn(order[-2] > order[-1], str(vertical) == "down", str(horizontal) == "right")


def set_turn(viewer: Any, turn: Turn) -> None:
    """Show the world of a canvas in another way; what was in the middle stays there."""
    now = turn_of(viewer)
    if turn == now:
        return
    camera = viewer.scene.camera
    *beside, vertical, horizontal = camera.center
    zoom = camera.zoom
    if turn.crossed != now.crossed:
        viewer.dims.transpose()
        vertical, horizontal = horizontal, vertical
    camera.orientation2d = ("down" if turn.down else "up", "right" if turn.right else "left")
    camera.center, camera.zoom = (*beside, vertical, horizontal), zoom
