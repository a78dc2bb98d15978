"""The two files of a model folder, read as if a stranger had written them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from napari_st2msi.errors import FileProblem, ModelProblem

DESCRIPTION, TENSORS = "model.json", "tensors.safetensors"
FORMAT, VERSION = "napari-st2msi model", 4
_MOST_JSON = 512 * 2**20  # bytes; a description of 100,000 genes and ions needs a tenth of this
_MOST_TENSORS = 16 * 2**30  # bytes; the largest network here needs a hundredth of this
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "I64": "int64", "I32": "int32", "I16": "int16"}
_DTYPES |= {"I8": "int8", "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool"}
_DESCRIBES = "shares."


class Description(BaseModel):
    """The content of model.json; anything else is refused."""

    model_config = ConfigDict(extra="forbid")

    format: Literal["napari-st2msi model"]
    version: Literal[4]
    model: str = Field(max_length=200)
    recipe: dict[str, Any]
    genes: list[str]
    ions: dict[str, Any]
    facts: dict[str, Any]
    arrays: dict[str, tuple[str, list[int]]]
    scores: dict[str, Any] | None
    summary: dict[str, Any] | None
    versions: dict[str, str]
    fingerprint: str
    n_spots: int = Field(ge=1)
    sections: dict[str, int]
    created: str = Field(max_length=40)
    intervals: dict[str, Any] | None
    no_intervals: str
    familiarity: dict[str, Any]


def read_description(folder: Path) -> Description:
    """Read and check `model.json`.

    Raises
    ------
    FileProblem
        It is missing, a link, too large, or not what a description is.
    ModelProblem
        It is of another version of the format.
    """
    path = _plain_file(folder, DESCRIPTION)
    if path.stat().st_size > _MOST_JSON:
        raise FileProblem(f"'{path}' is far larger than the description of a model. It is not read.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number, object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise FileProblem(f"'{path}' does not describe a model of this program.")
    if content.get("version") != VERSION:
        raise ModelProblem(
            f"The model in '{folder}' has format version {content.get('version')!r}; this program reads {VERSION}. "
            f"Train it again, or use the program version that made it{_made_by(content)}."
        )
    try:
        return Description.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise FileProblem(f"'{path}' is damaged at '{where}': {first['msg']}.") from error


def read_tensors(folder: Path, expected: Mapping[str, tuple[str, list[int]]]) -> dict[str, NDArray[Any]]:
    """Read `tensors.safetensors` where it holds what the description says.

    Names, kinds and shapes are compared before a single value is read, so that no array is larger than
    the description says.

    Raises
    ------
    FileProblem
        It is missing, a link, too large or unreadable.
    ModelProblem
        It holds other arrays, or values that are no numbers.
    """
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import load_file

    path = _plain_file(folder, TENSORS)
    if path.stat().st_size > _MOST_TENSORS:
        raise FileProblem(f"'{path}' is far larger than the weights of any model of this program. It is not read.")
    try:
        with safe_open(path, framework="numpy") as file:
            names = file.keys()  # it is no dict
            slices = {name: file.get_slice(name) for name in names}
            found = {
                name: (_DTYPES.get(piece.get_dtype(), piece.get_dtype()), list(piece.get_shape()))
                for name, piece in slices.items()
            }
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}") from error
    if found.keys() != expected.keys():
        raise ModelProblem(f"'{path}' holds other arrays than '{DESCRIPTION}' says. The folder is damaged.")
    for name, (dtype, shape) in expected.items():
        if found[name] != (dtype, shape):
            raise ModelProblem(
                f"Array '{name}' in '{path}' is {found[name][0]} of shape {found[name][1]}, but '{DESCRIPTION}' says "
                f"{dtype} of shape {shape}. The folder is damaged."
            )
    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise FileProblem(f"'{path}' cannot be read: {error}") from error
    check_weights(tensors)
    return tensors


def check_weights(tensors: Mapping[str, NDArray[Any]]) -> None:
    """Refuse weights that are missing (NaN); shares explained, which describe and do not predict, may be.

    Raises
    ------
    ModelProblem
        An array holds NaN.
    """
    for name, values in tensors.items():
        if values.dtype.kind == "f" and not name.startswith(_DESCRIBES) and np.isnan(values).any():
            raise ModelProblem(
                f"The weights '{name}' of the model hold missing values (NaN): training failed or the file is damaged. "
                "Train the model again."
            )


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number that a description may hold")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _made_by(content: Mapping[str, Any]) -> str:
    versions = content.get("versions")
    made_by = versions.get("napari-st2msi") if isinstance(versions, dict) else None
    return f" ({made_by[:40]})" if isinstance(made_by, str) else ""


def _plain_file(folder: Path, name: str) -> Path:
    path = folder / name
    if path.is_symlink():
        raise FileProblem(f"'{path}' is a link. A model folder holds its files itself.")
    if not path.is_file():
        raise FileProblem(f"'{folder}' is not a model folder: '{name}' is missing.")
    return path
