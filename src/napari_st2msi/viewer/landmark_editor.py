"""`LandmarkEditor`: pairs of points while they are being placed, with undo. It knows no window."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.viewer.landmark_history import History, Step
from napari_st2msi.viewer.landmark_pairs import (
    COLOURS,
    SIDES,
    Pair,
    Point,
    Side,
    placed_at,
    point_or_none,
    with_prediction,
)

if TYPE_CHECKING:
    from napari_st2msi.registration.transforms import Transform

_VERSION = 1


class LandmarkEditor:
    """Adds, moves, renames and removes landmarks, and takes back any of it.

    Points come in any order and on either side first. Predicted counterparts follow the last fit and
    are no part of what is undone or saved until somebody confirms or drags them.
    """

    #: Landmarks were edited, or an edit was undone or done again.
    changed = Signal()
    #: The predicted counterparts moved, because the fit did.
    predictions_changed = Signal()
    #: Another landmark is selected; carries its id, or None.
    selection_changed = Signal(object)

    def __init__(self) -> None:
        #: What the sides are called in words.
        self.sides = SIDES
        self._history = History()
        self._held: tuple[str, Side] | None = None
        self._selected: str | None = None
        self._predictor: Transform | None = None

    # -- what there is --------------------------------------------------------------------------

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """All landmarks in the order in which they were begun, missing points predicted where that is possible."""
        return tuple(with_prediction(pair, self._predictor) for pair in self._history.now.pairs)

    @property
    def landmarks(self) -> Landmarks:
        """The landmarks placed on both sides."""
        complete = [pair for pair in self._history.now.pairs if pair.complete]
        return Landmarks(
            tuple(pair.id for pair in complete),
            np.array([pair.moving for pair in complete], dtype=np.float64),
            np.array([pair.fixed for pair in complete], dtype=np.float64),
            np.array([pair.enabled for pair in complete], dtype=bool),
        )

    def pair(self, id: str) -> Pair:
        """Return one landmark.

        Raises
        ------
        DataProblem
            There is none of that name.
        """
        for pair in self._history.now.pairs:
            if pair.id == id:
                return with_prediction(pair, self._predictor)
        raise DataProblem(f"There is no landmark {id}.")

    # -- editing --------------------------------------------------------------------------------

    def add(self, side: Side, xy: Point) -> str:
        """Place a point: the missing one of the selected landmark, else the first of a new landmark.

        Returns
        -------
        The id of the landmark, which is selected then.
        """
        half = self.awaited(side)
        if half is not None:
            self._put(half, side, xy, f"place landmark {half} in the {self.sides[side]}")
            self._select_next(half, side)
            return half
        taken, number = {pair.id for pair in self._history.now.pairs}, self._history.now.number
        while str(number) in taken:
            number += 1
        pair = placed_at(Pair(str(number), COLOURS[(number - 1) % len(COLOURS)]), side, xy)
        self._do((*self._history.now.pairs, pair), f"add landmark {pair.id}", number=number + 1)
        self.select(pair.id)
        return pair.id

    def awaited(self, side: Side) -> str | None:
        """Return the landmark that the next point placed on a side belongs to; None when it begins a new one."""
        for pair in self._history.now.pairs:
            if pair.id == self._selected and not pair.placed(side):
                return pair.id
        return None

    def move(self, id: str, side: Side, xy: Point, *, going_on: bool = False) -> None:
        """Put the point of a landmark elsewhere; a predicted one is placed thereby.

        Parameters
        ----------
        going_on
            Whether this is one of many moves of one drag, which are undone together; `settle` ends it.
        """
        self._put(id, side, xy, f"move landmark {id}", held=(id, side) if going_on else None)

    def settle(self) -> None:
        """End a drag: the next move is a step of its own."""
        self._held = None

    def confirm(self, *ids: str) -> None:
        """Place points where they are predicted; landmarks without a prediction stay as they are."""
        wanted = {pair.id: pair for pair in self.pairs if pair.id in ids and pair.predicted}
        if wanted:
            pairs = tuple(
                replace(wanted[pair.id], predicted=None) if pair.id in wanted else pair
                for pair in self._history.now.pairs
            )
            self._do(pairs, f"confirm {_listed(wanted)}")

    def delete(self, *ids: str) -> None:
        """Remove landmarks."""
        kept = tuple(pair for pair in self._history.now.pairs if pair.id not in ids)
        if len(kept) < len(self._history.now.pairs):
            self._do(kept, f"delete {_listed(ids)}")

    def enable(self, id: str, on: bool) -> None:
        """Let the fit use a landmark, or keep it without using it."""
        if self.pair(id).enabled != on:
            self._change(id, lambda pair: replace(pair, enabled=on), f"{'use' if on else 'leave out'} landmark {id}")

    def rename(self, id: str, new: str) -> None:
        """Give a landmark another name.

        Raises
        ------
        DataProblem
            The name is empty, or another landmark has it.
        """
        new = new.strip()
        if new == id:
            return
        if not new:
            raise DataProblem("A landmark needs a name. Type one, or press Esc to keep the old one.")
        if any(pair.id == new for pair in self._history.now.pairs):
            raise DataProblem(f"Another landmark is called {new}. Choose another name.")
        selected = self._selected == id
        if selected:
            self._selected = new
        self._change(id, lambda pair: replace(pair, id=new), f"rename landmark {id}")
        if selected:
            self.selection_changed.emit(new)

    def load(self, landmarks: Landmarks) -> None:
        """Replace everything by other landmarks; that can be undone."""
        pairs = _pairs_of(landmarks)
        self._do(pairs, f"load {len(pairs)} landmarks", number=len(pairs) + 1)

    def restore(self, facts: dict[str, Any]) -> None:
        """Replace everything by what `to_dict` wrote, half-placed points included; that can be undone.

        Raises
        ------
        FileProblem
            It is damaged, or from a later version.
        """
        if facts.get("version") != _VERSION:
            raise FileProblem(
                f"These landmarks are of version {facts.get('version')}, which this version of napari-st2msi does not "
                "read. Update it, or place them anew."
            )
        try:
            pairs = tuple(
                Pair(str(each["id"]), str(each["colour"]), point_or_none(each["moving"]), point_or_none(each["fixed"]),
                     bool(each["enabled"]))
                for each in facts["pairs"]
            )  # fmt: skip
            number = int(facts["number"])
        except (KeyError, TypeError, ValueError) as error:
            raise FileProblem("The landmarks kept are damaged and cannot be resumed.") from error
        if len({pair.id for pair in pairs}) < len(pairs):
            raise FileProblem("The landmarks kept are damaged: two have the same id.")
        self._do(pairs, f"resume {len(pairs)} landmarks", number=number)

    def to_dict(self) -> dict[str, Any]:
        """Return the landmarks as plain JSON values, half-placed ones included, predictions left out."""
        return {
            "version": _VERSION,
            "number": self._history.now.number,
            "pairs": [
                {
                    "id": pair.id,
                    "colour": pair.colour,
                    "moving": pair.moving,
                    "fixed": pair.fixed,
                    "enabled": pair.enabled,
                }
                for pair in self._history.now.pairs
            ],
        }

    # -- selecting ------------------------------------------------------------------------------

    @property
    def selected(self) -> str | None:
        """The id of the landmark selected."""
        return self._selected

    def select(self, id: str | None) -> None:
        """Select a landmark, or none."""
        if id is not None:
            self.pair(id)
        if id != self._selected:
            self._selected = id
            self.selection_changed.emit(id)

    # -- predicting -----------------------------------------------------------------------------

    @property
    def predictor(self) -> Transform | None:
        """The transform of the last fit, which says where missing points are expected; None for no predictions."""
        return self._predictor

    @predictor.setter
    def predictor(self, transform: Transform | None) -> None:
        if transform is not self._predictor:
            self._predictor = transform
            self.predictions_changed.emit()

    # -- taking back ----------------------------------------------------------------------------

    @property
    def can_undo(self) -> bool:
        """Whether there is an edit to take back."""
        return self._history.can_undo

    @property
    def can_redo(self) -> bool:
        """Whether an edit was taken back that can be done again."""
        return self._history.can_redo

    def undo(self) -> str:
        """Take back the last edit, and return what it was in words; empty when there is none."""
        if not self.can_undo:
            return ""
        words = self._history.undo()
        self._announce()
        return words

    def redo(self) -> str:
        """Do again what was taken back last, and return what it was in words; empty when there is none."""
        if not self.can_redo:
            return ""
        words = self._history.redo()
        self._announce()
        return words

    @property
    def changes(self) -> int:
        """How many edits lie between what is here and what was saved."""
        return self._history.changes

    @property
    def dirty(self) -> bool:
        """Whether something is not saved."""
        return self.changes > 0

    def mark_saved(self) -> None:
        """Take what is here as saved."""
        self._history.mark_saved()

    def begin(self, landmarks: Landmarks | None = None) -> None:
        """Start anew with landmarks that are saved already, or with none; nothing leads back from there."""
        if landmarks is None or not len(landmarks):
            self.exchange(None)
        else:
            pairs = _pairs_of(landmarks)
            self.exchange(History(Step(pairs, len(pairs) + 1)))

    def exchange(self, history: History | None) -> History:
        """Put all landmarks with their history aside, and go on with what was put aside before.

        Parameters
        ----------
        history
            What this returned for another section; None for an empty one.

        Returns
        -------
        What was here.
        """
        aside, self._history = self._history, History() if history is None else history
        self._predictor = None
        self._announce()
        return aside

    # -- steps ----------------------------------------------------------------------------------

    def _put(self, id: str, side: Side, xy: Point, words: str, held: tuple[str, Side] | None = None) -> None:
        self._change(id, lambda pair: placed_at(pair, side, xy), words, held)

    def _change(
        self, id: str, change: Callable[[Pair], Pair], words: str, held: tuple[str, Side] | None = None
    ) -> None:
        self.pair(id)
        self._do(tuple(change(pair) if pair.id == id else pair for pair in self._history.now.pairs), words, held)

    def _do(
        self,
        pairs: tuple[Pair, ...],
        words: str,
        held: tuple[str, Side] | None = None,
        number: int | None = None,
    ) -> None:
        now = self._history.now
        step = Step(pairs, now.number if number is None else number, words)
        if held is None or held != self._held:
            self._history.do(step)
        else:
            self._history.now = step  # one more move of the same drag
        self._announce(held)

    def _announce(self, held: tuple[str, Side] | None = None) -> None:
        self._held = held
        if self._selected is not None and all(pair.id != self._selected for pair in self._history.now.pairs):
            self._selected = None
            self.selection_changed.emit(None)
        self.changed.emit()

    def _select_next(self, done: str, side: Side) -> None:
        """After a point that completed a landmark, go on with the next one that lacks a point on the same side.

        So points may be placed on one side in a row, and then on the other. Where the fit predicts
        them there is no need to: they only want to be dragged.
        """
        lacking = [pair.id for pair in self._history.now.pairs if not pair.placed(side)]
        self.select(lacking[0] if lacking and self._predictor is None else done)


def _pairs_of(landmarks: Landmarks) -> tuple[Pair, ...]:
    columns = zip(landmarks.ids, landmarks.moving, landmarks.fixed, landmarks.enabled, strict=True)
    return tuple(
        Pair(id, COLOURS[place % len(COLOURS)], point_or_none(moving), point_or_none(fixed), bool(enabled))
        for place, (id, moving, fixed, enabled) in enumerate(columns)
    )


def _listed(ids: Any) -> str:
    names = list(ids)
    return f"landmark {names[0]}" if len(names) == 1 else f"{len(names)} landmarks"
