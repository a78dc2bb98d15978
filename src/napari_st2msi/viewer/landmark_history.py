"""`History`: what landmarks were after each edit, and how far that is from what was saved."""

from __future__ import annotations

from dataclasses import dataclass, field

from napari_st2msi.viewer.landmark_pairs import Pair


@dataclass(frozen=True)
class Step:
    """Landmarks at one moment.

    Attributes
    ----------
    number
        That of the next landmark.
    words
        The edit that led here.
    """

    pairs: tuple[Pair, ...] = ()
    number: int = 1
    words: str = ""


@dataclass(eq=False)
class History:
    """Landmarks now, before, and what was taken back.

    Attributes
    ----------
    now
        What is here; it may be put anew as part of the same edit.
    """

    now: Step = Step()
    _past: list[Step] = field(default_factory=list)
    _future: list[Step] = field(default_factory=list)
    # Where in the history it was saved, and how many steps from there can no longer be reached.
    _saved: int = 0
    _lost: int = 0

    def do(self, step: Step) -> None:
        """Go on from here; what was taken back cannot be done again."""
        if len(self._past) < self._saved:
            # The saved state lies in the future that this edit cuts off.
            self._lost += self._saved - len(self._past)
            self._saved = len(self._past)
        self._past.append(self.now)
        self._future.clear()
        self.now = step

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return bool(self._past)

    @property
    def can_redo(self) -> bool:
        """Whether an edit was taken back that can be done again."""
        return bool(self._future)

    def undo(self) -> str:
        """Take back the last edit, and return what it was in words."""
        undone = self.now
        self._future.append(undone)
        self.now = self._past.pop()
        return undone.words

    def redo(self) -> str:
        """Do again what was taken back last, and return what it was in words."""
        self._past.append(self.now)
        self.now = self._future.pop()
        return self.now.words

    @property
    def changes(self) -> int:
        """How many edits lie between what is here and what was saved."""
        return self._lost + abs(len(self._past) - self._saved)

    def mark_saved(self) -> None:
        """Take what is here as saved."""
        self._saved, self._lost = len(self._past), 0
