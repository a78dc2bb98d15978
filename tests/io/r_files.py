"""Small .rds files as R writes them (serialisation format 2, XDR), and Seurat objects of the layouts in use."""

from __future__ import annotations

import gzip
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csc_matrix

_LIST, _SYMBOL, _CHAR, _LOGICAL, _INTEGER, _REAL, _TEXT, _VECTOR, _S4, _NIL = 2, 1, 9, 10, 13, 14, 16, 19, 25, 254
_HAS_ATTRIBUTES, _HAS_TAG, _IS_OBJECT = 1 << 9, 1 << 10, 1 << 8


@dataclass
class R:
    """A value of R: numbers, text, a list (of `R`), or an S4 object (None), with its attributes."""

    value: Any = None
    attributes: dict[str, Any] = field(default_factory=dict)


def write_rds(path: Path, value: Any) -> Path:
    content = b"X\n" + struct.pack(">iii", 2, 0x00030600, 0x00020300) + _bytes(value)
    path.write_bytes(gzip.compress(content))
    return path


def _bytes(value: Any) -> bytes:
    value = value if isinstance(value, R) else R(value)
    flags = (_HAS_ATTRIBUTES if value.attributes else 0) | (_IS_OBJECT if "class" in value.attributes else 0)
    content = value.value
    if isinstance(content, str):
        content = [content]
    if content is None:
        kind, body = _S4, b""
    elif isinstance(content, list) and (not content or isinstance(content[0], str)):
        kind, body = _TEXT, struct.pack(">i", len(content)) + b"".join(map(_char, content))
    elif isinstance(content, list):
        kind, body = _VECTOR, struct.pack(">i", len(content)) + b"".join(map(_bytes, content))
    else:
        array = np.asarray(content).ravel(order="F")
        kind = {"b": _LOGICAL, "i": _INTEGER, "f": _REAL}[array.dtype.kind]
        body = struct.pack(">i", array.size) + array.astype(">f8" if kind == _REAL else ">i4").tobytes()
    attributes = b"".join(
        struct.pack(">ii", _LIST | _HAS_TAG, _SYMBOL) + _char(name) + _bytes(each)
        for name, each in value.attributes.items()
    )
    end = struct.pack(">i", _NIL) if value.attributes else b""
    return struct.pack(">i", kind | flags) + body + attributes + end


def _char(text: str) -> bytes:
    content = text.encode()
    return struct.pack(">ii", _CHAR | (1 << 15), len(content)) + content


def named(**items: Any) -> R:
    return R(list(items.values()), {"names": list(items)})


def frame(rows: Sequence[str], **columns: Any) -> R:
    return R(list(columns.values()), {"names": list(columns), "row.names": list(rows), "class": "data.frame"})


def sparse(values: np.ndarray, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> R:
    matrix = csc_matrix(values)
    parts = {"i": matrix.indices, "p": matrix.indptr, "Dim": np.array(values.shape), "x": matrix.data.astype(float)}
    return R(None, {**parts, "Dimnames": R([R(list(rows)), R(list(columns))]), "class": "dgCMatrix"})


def log_map(names: Sequence[str], present: np.ndarray) -> R:
    return R(
        present,
        {"dim": np.array(present.shape), "dimnames": R([R(list(names)), R(["counts", "data"])]), "class": "LogMap"},
    )


def assay5(values: np.ndarray, features: Sequence[str], cells: Sequence[str]) -> R:
    """Features × cells, as Seurat 5 keeps them; the assay knows one feature more than its counts have."""
    known = np.ones((len(features) + 1, 2), dtype=bool)
    known[0, 0] = False
    return R(
        None,
        {
            "layers": named(counts=sparse(values)),
            "cells": log_map(cells, np.ones((len(cells), 2), dtype=bool)),
            "features": log_map(["scaled only", *features], known),
            "class": "Assay5",
        },
    )


def split_assay5(
    parts: dict[str, np.ndarray], features: dict[str, Sequence[str]], cells: dict[str, Sequence[str]]
) -> R:
    """Features × cells by layer, each with features and cells of its own."""

    def log(names: dict[str, Sequence[str]]) -> R:
        every = list(dict.fromkeys(name for own in names.values() for name in own))
        present = np.array([[name in own for own in names.values()] for name in every])
        dimnames = R([R(every), R(list(names))])
        return R(present, {"dim": np.array(present.shape), "dimnames": dimnames, "class": "LogMap"})

    layers = named(**{layer: sparse(values) for layer, values in parts.items()})
    return R(None, {"layers": layers, "cells": log(cells), "features": log(features), "class": "Assay5"})


def assay(values: np.ndarray, features: Sequence[str], cells: Sequence[str]) -> R:
    """Features × cells, as Seurat 3 and 4 keep them."""
    return R(None, {"counts": sparse(values, features, cells), "data": np.zeros(0), "class": "Assay"})


def centroids(cells: Sequence[str], xy: np.ndarray, kind: str = "FOV") -> R:
    inside = R(None, {"cells": list(cells), "coords": R(xy, {"dim": np.array(xy.shape)}), "class": "Centroids"})
    return R(None, {"boundaries": named(centroids=inside), "class": kind})


def visium(cells: Sequence[str], xy: np.ndarray, array: np.ndarray) -> R:
    """`xy` is row and column of the full-resolution picture."""
    places = frame(cells, row=array[:, 0], col=array[:, 1], imagerow=xy[:, 0], imagecol=xy[:, 1])
    return R(None, {"coordinates": places, "class": "VisiumV1"})


def seurat(cells: Sequence[str], image: R | None, **assays: R) -> R:
    regions = R(
        np.array([1, 2] * (len(cells) // 2) + [1] * (len(cells) % 2)), {"levels": ["CTX", "STR"], "class": "factor"}
    )
    return R(
        None,
        {
            "assays": named(**assays),
            "meta.data": frame(cells, region=regions),
            "images": R([]) if image is None else named(slice1=image),
            "class": "Seurat",
        },
    )
