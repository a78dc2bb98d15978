"""Landmarks: points that a person found on both sides, in micrometres."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem


@dataclass(frozen=True, eq=False)
class Landmarks:
    """Pairs of points: where something is in the MSI, and where it is in the ST.

    Attributes
    ----------
    ids
        (n,) names, each once; they stay with a pair whatever happens to the others.
    moving
        (n, 2) float64, µm in the frame of the MSI (``st2msi_msi``).
    fixed
        (n, 2) float64, µm in the frame of the ST (``st2msi``).
    enabled
        (n,) bool: pairs that are used. The others are kept, and their error is still measured.

    Raises
    ------
    DataProblem
        Numbers of points differ, a coordinate is missing, or an id or a pair is there twice.
    """

    ids: tuple[str, ...]
    moving: NDArray[np.float64]
    fixed: NDArray[np.float64]
    enabled: NDArray[np.bool_] = field(default_factory=lambda: np.ones(0, dtype=bool))

    def __post_init__(self) -> None:
        n = len(self.ids)
        object.__setattr__(self, "ids", tuple(map(str, self.ids)))
        object.__setattr__(self, "moving", np.asarray(self.moving, dtype=np.float64).reshape(-1, 2))
        object.__setattr__(self, "fixed", np.asarray(self.fixed, dtype=np.float64).reshape(-1, 2))
        given = np.asarray(self.enabled, dtype=bool)
        object.__setattr__(self, "enabled", given if len(given) else np.ones(n, dtype=bool))
        if not n == len(self.moving) == len(self.fixed) == len(self.enabled):
            raise DataProblem(
                f"There are {len(self.moving)} landmarks on the MSI side and {len(self.fixed)} on the ST side "
                f"for {n} names. Each needs one point on either side."
            )
        if len(set(self.ids)) < n:
            twice = next(key for key in self.ids if self.ids.count(key) > 1)
            raise DataProblem(f"Several landmarks are called '{twice}'. Give each a name of its own.")
        for side, xy in (("MSI", self.moving), ("ST", self.fixed)):
            missing = np.flatnonzero(~np.isfinite(xy).all(axis=1))
            if len(missing):
                raise DataProblem(f"{self._names(missing)} no position on the {side} side. Remove or place it.")

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, *ids: str) -> Landmarks:
        """Return the same landmarks with some disabled.

        Raises
        ------
        DataProblem
            There is no landmark of that name.
        """
        unknown = set(ids) - set(self.ids)
        if unknown:
            raise DataProblem(f"There is no landmark {', '.join(sorted(unknown))}.")
        return replace(self, enabled=self.enabled & ~np.isin(self.ids, ids))

    def to_dict(self) -> dict[str, Any]:
        """Return the landmarks as plain JSON values."""
        return {
            "ids": list(self.ids),
            "moving_um": self.moving.tolist(),
            "fixed_um": self.fixed.tolist(),
            "enabled": self.enabled.tolist(),
        }

    @classmethod
    def from_dict(cls, facts: dict[str, Any]) -> Self:
        """Return the landmarks that `to_dict` wrote."""
        return cls(tuple(facts["ids"]), facts["moving_um"], facts["fixed_um"], facts["enabled"])

    def _names(self, which: NDArray[np.intp]) -> str:
        names = [self.ids[i] for i in which]
        return f"Landmark {names[0]} has" if len(names) == 1 else f"Landmarks {', '.join(names[:5])} have"
