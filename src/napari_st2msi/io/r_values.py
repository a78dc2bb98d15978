"""What an .rds file holds, looked at without R: slots, lists, matrices and data frames. No code in it is run."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem


def read_rds(path: Path) -> RValue:
    """Read a file that R's ``saveRDS`` wrote.

    Raises
    ------
    FileProblem
        The package rdata is missing, or the file is missing, damaged, or of another kind.
    """
    try:
        import rdata
    except ImportError as error:
        raise FileProblem("Reading .rds needs the package rdata. Install it with: pip install rdata") from error
    if not path.is_file():
        raise FileProblem(f"There is no '{path}'.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return RValue(rdata.parser.parse_file(path, extension=".rds").object)
    except Exception as error:  # whatever the damaged part provokes in the parser
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileProblem(f"'{path}' cannot be read as an R object: {reason}.") from error


class RValue:
    """One value of R.

    Parameters
    ----------
    value
        As the parser gives it (`rdata.parser.RObject`).
    """

    def __init__(self, value: Any) -> None:
        # References stand for values that came before.
        self._value = value if value.referenced_object is None else value.referenced_object
        self._slots: dict[str, RValue] = {}
        pair = self._value.attributes
        while pair is not None and isinstance(pair.value, tuple):
            self._slots[_symbol(pair.tag)] = RValue(pair.value[0])
            pair = pair.value[1]

    def __contains__(self, slot: str) -> bool:
        return slot in self._slots

    def __getitem__(self, slot: str) -> RValue:
        """Return a slot or attribute.

        Raises
        ------
        DataProblem
            There is none of that name.
        """
        if slot not in self._slots:
            raise DataProblem(f"An R object ({', '.join(self.classes) or 'without class'}) has no part '{slot}'.")
        return self._slots[slot]

    @property
    def classes(self) -> list[str]:
        """The names of its classes, most special first."""
        return self._slots["class"].strings() if "class" in self._slots else []

    @property
    def size(self) -> int:
        """How many values it holds; of a sparse matrix, those that are stored."""
        if "x" in self._slots:
            return self._slots["x"].size
        return 0 if self._value.value is None else len(self._value.value)

    def parts(self) -> dict[str, RValue]:
        """Return a list by its names, without those that have none."""
        if not isinstance(self._value.value, list) or "names" not in self._slots:
            return {}
        names = self._slots["names"].strings()
        return {name: RValue(item) for name, item in zip(names, self._value.value, strict=True) if name}

    def strings(self) -> list[str]:
        """Return a vector of text; what is missing is empty."""
        if not isinstance(self._value.value, list):
            raise DataProblem("An R object holds something else where text should be.")
        return [_text(item.value) for item in self._value.value]

    def array(self) -> NDArray[Any]:
        """Return a vector of numbers or of text, or a factor as its levels."""
        if "levels" in self._slots:
            levels = np.array([*self._slots["levels"].strings(), ""], dtype=object)
            codes = np.ma.filled(np.ma.asarray(self._value.value), 0)
            return levels[np.where((codes > 0) & (codes < len(levels)), codes, 0) - 1]
        if isinstance(self._value.value, list):
            return np.array(self.strings(), dtype=object)
        values: Any = np.ma.asarray(self._value.value)
        # R's NA of whole numbers.
        return values.astype(float).filled(np.nan) if np.ma.is_masked(values) else np.asarray(values)

    def matrix(self) -> Any:
        """Return a dense or column-compressed matrix, sparse (rows, columns).

        Raises
        ------
        DataProblem
            It is no matrix of these kinds.
        """
        from scipy.sparse import csc_matrix

        if {"i", "p", "x", "Dim"} <= set(self._slots):
            parts = [self._slots[slot].array() for slot in ("x", "i", "p")]
            try:
                rows, columns = self._slots["Dim"].array()
                found = csc_matrix(tuple(parts), shape=(int(rows), int(columns)))
                # Without this, rows beyond the last are written outside the matrix later.
                found.check_format(full_check=True)
            except (ValueError, TypeError) as error:
                raise DataProblem(f"A sparse matrix of R is damaged: {error}.") from error
            return found
        if "dim" in self._slots and self._slots["dim"].size == 2:
            try:
                rows, columns = self._slots["dim"].array()
                return csc_matrix(np.asarray(self.array(), dtype=float).reshape(int(rows), int(columns), order="F"))
            except (ValueError, TypeError) as error:
                raise DataProblem(f"A matrix of R is damaged: {error}.") from error
        raise DataProblem(f"A matrix of R is of a kind that is not read: {', '.join(self.classes) or 'no matrix'}.")

    def dimension_names(self) -> tuple[list[str], list[str]]:
        """Return the names of the rows and of the columns of a matrix.

        Raises
        ------
        DataProblem
            It has none.
        """
        names = self["Dimnames" if "Dimnames" in self else "dimnames"]._value.value
        if not isinstance(names, list) or len(names) != 2:
            raise DataProblem("A matrix of R has no names of its rows and columns.")
        rows, columns = (RValue(each) for each in names)
        return rows.strings(), columns.strings()

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return a data frame's columns by name."""
        return {name: column.array() for name, column in self.parts().items()}

    def row_names(self) -> list[str]:
        """Return a data frame's row names."""
        return [str(name) for name in self["row.names"].array()]


def _symbol(tag: Any) -> str:
    tag = tag if tag.referenced_object is None else tag.referenced_object
    return _text(tag.value.value)


def _text(value: Any) -> str:
    return "" if value is None else bytes(value).decode("utf-8", errors="replace")
