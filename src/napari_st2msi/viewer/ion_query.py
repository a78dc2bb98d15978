"""The words typed over the ion table, understood: ``798.54 ± 5 ppm  r2>0.2  class:PC``."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem

#: Shown where one can type.
HELP = (
    "Words find names: PC(34:1).\n"
    "798.54 ± 5 ppm, 798.54+-0.01: an m/z window.\n"
    "r2>0.2, gain>=0, auc>0.7, moran<0.1, mz<800: scores.\n"
    "class:PC, tier:1, name:choline: text of one column.\n"
    "fav: favourites only.\n"
    "Several terms must all hold."
)

_ALIASES = {
    "r²": "r2",
    "m/z": "mz",
    "auc": "presence_auc",
    "moran": "moran_i",
    "r": "pearson",
    "rho": "spearman",
    "present": "prevalence",
    "intensity": "mean_intensity",
    "mean": "mean_intensity",
}
_NUMBER = r"[-+]?\d+(?:[.,]\d+)?(?:e[-+]?\d+)?"
_TERM = re.compile(
    rf"""
    (?P<mz>\d+(?:[.,]\d+)?)\s*(?:±|\+/?-)\s*(?P<width>\d+(?:[.,]\d+)?)\s*(?P<unit>ppm|mda|da)?
    | (?P<score>[\w/²]+)\s*(?P<sign>>=|<=|≥|≤|>|<|=)\s*(?P<value>{_NUMBER})(?=\s|$)
    | (?P<column>\w+):(?P<text>"[^"]*"|\S+)
    | (?P<word>"[^"]*"|\S+)
    """,
    re.VERBOSE | re.IGNORECASE,
)


def matches(frame: pd.DataFrame, text: str, favourites: frozenset[str] = frozenset()) -> NDArray[np.bool_]:
    """Return which ions (rows of `frame`) fulfil every term.

    Parameters
    ----------
    frame
        Indexed by ion; `mz`, `name`, `label` and whatever scores there are.
    text
        What was typed.
    favourites
        The ions that ``fav`` finds.

    Raises
    ------
    DataProblem
        A term asks for a score or column that is not there.
    """
    mask = np.ones(len(frame), dtype=bool)
    for term in _TERM.finditer(text.strip()):
        if term["mz"]:
            mask &= _window(frame, _number(term["mz"]), _number(term["width"]), (term["unit"] or "da").lower())
        elif term["score"]:
            mask &= _compare(frame, term["score"], term["sign"], _number(term["value"]))
        elif term["column"] and _known(frame, term["column"]) is not None:
            mask &= _contains(frame, term["column"], term["text"].strip('"'))
        elif term["word"] and term["word"].lower() in ("fav", "favourite", "favourites", "★"):
            mask &= frame.index.isin(list(favourites))
        else:
            mask &= _anywhere(frame, term[0].strip('"'))
    return mask


def _window(frame: pd.DataFrame, mz: float, width: float, unit: str) -> NDArray[np.bool_]:
    half = {"ppm": mz * width * 1e-6, "mda": width * 1e-3, "da": width}[unit]
    # A hair more, so that a limit typed with the digits shown includes the ion on it.
    return np.asarray(np.abs(frame["mz"].to_numpy(float) - mz) <= half + 1e-9)


def _compare(frame: pd.DataFrame, score: str, sign: str, value: float) -> NDArray[np.bool_]:
    column = _known(frame, score)
    if column is None or not pd.api.types.is_numeric_dtype(frame[column]):
        known = ", ".join(str(name) for name in frame.columns if pd.api.types.is_numeric_dtype(frame[name]))
        raise DataProblem(f"There is no score '{score}' here. Known are: {known}.")
    numbers = frame[column].to_numpy(float)
    with np.errstate(invalid="ignore"):
        result = {
            ">": numbers > value,
            "<": numbers < value,
            ">=": numbers >= value,
            "≥": numbers >= value,
            "<=": numbers <= value,
            "≤": numbers <= value,
            "=": np.isclose(numbers, value),
        }[sign]
    return np.asarray(result, dtype=bool)


def _contains(frame: pd.DataFrame, column: str, text: str) -> NDArray[np.bool_]:
    if column.lower() == "class":
        # The class of a lipid is what stands before the bracket: PC(34:1).
        found = frame["name"].astype(str).str.split(r"[\s(]", n=1, regex=True).str[0]
        return np.asarray(found.str.lower() == text.lower())
    known = _known(frame, column)
    assert known is not None
    return np.asarray(frame[known].astype(str).str.contains(text, case=False, regex=False))


def _anywhere(frame: pd.DataFrame, text: str) -> NDArray[np.bool_]:
    mask = np.asarray(frame.index.astype(str).str.contains(text, case=False, regex=False))
    for column in ("label", "name", "formula", "adduct"):
        if column in frame:
            mask |= frame[column].astype(str).str.contains(text, case=False, regex=False).to_numpy()
    return mask


def _known(frame: pd.DataFrame, word: str) -> str | None:
    word = _ALIASES.get(word.lower(), word.lower())
    if word == "class":
        return "name"
    return next((str(name) for name in frame.columns if str(name).lower() == word), None)


def _number(text: str) -> float:
    return float(text.replace(",", "."))
