"""The XML of an imzML file as a stream: nine whole numbers for each spectrum.

The XML is most of the time of opening an imzML file, because every spectrum is three kilobytes of
markup around a handful of numbers. All spectra of a file are written by one program, so their markup
is the same but for the values. Each new shape of markup is therefore parsed strictly, by expat, and
remembered as a regular expression in which only values may vary; spectra that match it exactly need
no further parsing, all others go through expat again. Nothing is ever resolved: a file that declares
a document type, and with it entities, is refused.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.imzml_header import Header, Params, damaged, read_header, safe_parser
from napari_st2msi.progress import Progress, check, never

#: What is kept of a spectrum, in the order of the columns of `read_xml`.
FIELDS = (
    "x",
    "y",
    "z",
    "mz_offset",
    "mz_length",
    "mz_encoded",
    "intensity_offset",
    "intensity_length",
    "intensity_encoded",
)
_POSITION = {"IMS:1000050": "x", "IMS:1000051": "y", "IMS:1000052": "z"}
_EXTERNAL = {"IMS:1000102": "offset", "IMS:1000103": "length", "IMS:1000104": "encoded"}
_ARRAY = {"MS:1000514": "mz", "MS:1000515": "intensity"}
_OPTIONAL = {"z": 1, "mz_encoded": 0, "intensity_encoded": 0}
_WORDS = {
    "x": "position x (IMS:1000050)",
    "y": "position y (IMS:1000051)",
    "mz_offset": "place of the m/z array in the .ibd file (IMS:1000102)",
    "mz_length": "number of m/z values (IMS:1000103)",
    "intensity_offset": "place of the intensity array in the .ibd file (IMS:1000102)",
    "intensity_length": "number of intensities (IMS:1000103)",
}

_BLOCK = 1 << 20
_LONGEST_SPECTRUM = 64 << 20
_LONGEST_SHAPE = 1 << 16
_MOST_SHAPES = 16
_ATTRIBUTE = re.compile(rb"""=\s*(?:"([^"<>&]*)"|'([^'<>&]*)')""")


class ArrayFormat(NamedTuple):
    """How the m/z or the intensities are stored: accessions of the group that says so."""

    mz: frozenset[str]
    intensity: frozenset[str]


@dataclass
class Spectra:
    """What the XML says of every spectrum.

    Attributes
    ----------
    numbers
        (spectra, 9) int64, columns as in `FIELDS`; an encoded length of 0 means that none is given.
    formats
        The different ways in which arrays are said to be stored; one in a healthy file.
    closed
        Whether the list of spectra ends as it should.
    """

    numbers: NDArray[np.int64]
    formats: set[ArrayFormat]
    closed: bool


def read_xml(
    path: Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> tuple[Header, Spectra]:
    """Read the XML of an imzML file without ever holding more than a few spectra of it.

    Raises
    ------
    FileProblem
        The file cannot be read, is not XML or not imzML, declares a document type (refused, since
        entities could reach other files), ends in the middle, or lacks something about a spectrum.
    """
    try:
        with path.open("rb") as stream:
            size = max(1, path.stat().st_size)
            header, prefix, rest = read_header(stream, path)
            scanner = _Scanner(path, header, prefix)
            for done in scanner.scan(stream, rest):
                check(cancelled)
                progress(min(1.0, done / size), "reading the list of spectra")
    except OSError as error:
        raise FileProblem(f"'{path}' cannot be read: {error.strerror or error}.") from error
    return header, Spectra(scanner.numbers(), scanner.formats, scanner.closed)


@dataclass
class _Shape:
    """One shape of markup: which value is which field, and what those values were, row by row."""

    fields: list[int]
    constants: dict[int, int]
    pattern: re.Pattern[bytes] | None = None
    rows: array[int] = field(default_factory=lambda: array("q"))
    values: array[int] = field(default_factory=lambda: array("q"))


class _Scanner:
    def __init__(self, path: Path, header: Header, prefix: bytes) -> None:
        self.formats: set[ArrayFormat] = set()
        self.closed = False
        self._path = path
        self._header = header
        self._start = b"<" + prefix + b"spectrum"
        self._end = b"</" + prefix + b"spectrum>"
        self._list_end = b"</" + prefix + b"spectrumList"
        self._shapes: list[_Shape] = []
        self._odd = _Shape(list(range(len(FIELDS))), {})
        self._count = 0

    def numbers(self) -> NDArray[np.int64]:
        table = np.empty((self._count, len(FIELDS)), dtype=np.int64)
        for shape in (*self._shapes, self._odd):
            rows = np.frombuffer(shape.rows, dtype=np.int64)
            values = np.frombuffer(shape.values, dtype=np.int64).reshape(len(rows), len(shape.fields))
            for column, number in shape.constants.items():
                table[rows, column] = number
            for i, column in enumerate(shape.fields):
                table[rows, column] = values[:, i]
        return table

    def scan(self, stream: BinaryIO, buffer: bytes) -> Iterator[int]:
        """Take in all spectra, and say after each block how many bytes were read."""
        done = len(buffer)
        while True:
            buffer = buffer[self._take(buffer) :]
            if self.closed:
                return
            block = stream.read(_BLOCK)
            if not block:
                return
            if len(buffer) > _LONGEST_SPECTRUM:
                raise FileProblem(
                    f"Spectrum {self._count + 1:,} of '{self._path.name}' has more than {_LONGEST_SPECTRUM >> 20} MB "
                    "of markup. imzML keeps its data in the .ibd file; export it again."
                )
            buffer += block
            done += len(block)
            yield done

    def _take(self, buffer: bytes) -> int:
        """Take the whole spectra of a buffer and return where they end."""
        position = 0
        while True:
            for number, shape in enumerate(self._shapes):
                assert shape.pattern is not None
                found = shape.pattern.match(buffer, position)
                if found is None:
                    continue
                shape.values.extend(map(int, found.groups()))
                shape.rows.append(self._count)
                self._count += 1
                position = found.end()
                if number:
                    # Neighbours mostly look alike: try the shape that fitted last first.
                    self._shapes.insert(0, self._shapes.pop(number))
                break
            else:
                stop = buffer.find(self._end, position)
                close = buffer.find(self._list_end, position, None if stop < 0 else stop)
                if close >= 0 and not _without_comments(buffer[position:close]).strip():
                    self.closed = True
                    return close
                if stop < 0:
                    return position
                stop += len(self._end)
                self._learn(buffer[position:stop])
                position = stop

    def _learn(self, markup: bytes) -> None:
        """Parse one spectrum strictly, keep its numbers, and remember its markup if it is plain."""
        if not markup.lstrip().startswith(self._start):
            markup = _without_comments(markup)
        parsed = _SpectrumHandler(self._header.groups)
        parser = safe_parser(self._path, "utf-8" if _is_utf8(markup) else "iso-8859-1")
        parser.ordered_attributes = True
        parser.StartElementHandler = parsed.start
        parser.EndElementHandler = parsed.end
        try:
            parser.Parse(markup.strip(), True)
        except expat.ExpatError as error:
            raise damaged(self._path, error, self._count + 1) from error
        numbers = {name: self._number(name, text) for name, text in parsed.texts.items()}
        missing = next((name for name in FIELDS if name not in numbers and name not in _OPTIONAL), None)
        if missing is not None:
            raise FileProblem(
                f"Spectrum {self._count + 1:,} of '{self._path.name}' does not give its {_WORDS[missing]}. "
                "Export it again."
            )
        complete = _OPTIONAL | numbers
        self.formats.add(ArrayFormat(*(frozenset(parsed.formats.get(kind, ())) for kind in ("mz", "intensity"))))
        self._odd.rows.append(self._count)
        self._odd.values.extend(complete[name] for name in FIELDS)
        self._count += 1
        if len(self._shapes) < _MOST_SHAPES and len(markup) < _LONGEST_SHAPE:
            shape = _shape(markup, parsed, complete)
            if shape is not None:
                self._shapes.insert(0, shape)

    def _number(self, name: str, text: str) -> int:
        # Some programs write 3.0 for 3.
        text = text.strip().removesuffix(".0")
        if re.fullmatch(r"[+-]?\d{1,18}", text):
            return int(text)
        raise FileProblem(
            f"Spectrum {self._count + 1:,} of '{self._path.name}' gives '{text[:40]}' where a whole number is "
            f"needed ({name.replace('_', ' ')}). Export it again."
        )


class _SpectrumHandler:
    """What one spectrum says: texts of its fields, and where each stands among all attributes."""

    def __init__(self, groups: dict[str, Params]) -> None:
        self.texts: dict[str, str] = {}
        self.places: dict[str, int] = {}
        self.formats: dict[str, set[str]] = {}
        self.attributes: list[str] = []
        self.fixed: set[int] = set()
        self._groups = groups
        self._array: dict[str, tuple[str, int | None]] | None = None

    def start(self, tag: str, flat: list[str]) -> None:
        name = tag.rpartition(":")[2]
        attributes = dict(zip(flat[::2], flat[1::2], strict=True))
        first = len(self.attributes)
        self.attributes.extend(flat[1::2])
        # What a value means must not vary within one shape of markup.
        self.fixed.update(first + i for i, key in enumerate(flat[::2]) if key in ("accession", "ref"))
        if name == "binaryDataArray":
            self._array = {}
        elif name == "referenceableParamGroupRef":
            for accession, param in self._groups.get(attributes.get("ref", ""), {}).items():
                self._param(accession, param.value, None)
        elif name == "cvParam":
            place = first + flat[::2].index("value") if "value" in attributes else None
            self._param(attributes.get("accession", ""), attributes.get("value", ""), place)

    def end(self, tag: str) -> None:
        if tag.rpartition(":")[2] != "binaryDataArray" or self._array is None:
            return
        kind = next((name for accession, name in _ARRAY.items() if accession in self._array), None)
        if kind is not None and kind not in self.formats:
            self.formats[kind] = set(self._array) - set(_EXTERNAL)
            for accession, what in _EXTERNAL.items():
                if accession in self._array:
                    self._keep(f"{kind}_{what}", *self._array[accession])
        self._array = None

    def _param(self, accession: str, text: str, place: int | None) -> None:
        if self._array is not None:
            # The spectrum's own word goes before that of a group.
            if place is not None or accession not in self._array:
                self._array[accession] = (text, place)
        elif accession in _POSITION and _POSITION[accession] not in self.texts:
            self._keep(_POSITION[accession], text, place)

    def _keep(self, name: str, text: str, place: int | None) -> None:
        self.texts[name] = text
        if place is not None:
            self.places[name] = place


def _shape(markup: bytes, parsed: _SpectrumHandler, numbers: dict[str, int]) -> _Shape | None:
    """Return the shape of a spectrum's markup, None when it is not plain enough to be sure of it."""
    markup = markup.strip()
    if b"<!" in markup or b"<?" in markup:
        return None
    found = list(_ATTRIBUTE.finditer(markup))
    spans = [one.span(1 if one.group(1) is not None else 2) for one in found]
    if [markup[a:b].decode("latin-1") for a, b in spans] != parsed.attributes:
        return None
    wanted = {place: name for name, place in parsed.places.items()}
    pieces, position = [rb"\s*"], 0
    for place, (start, stop) in enumerate(spans):
        pieces.append(re.escape(markup[position:start]))
        if place in wanted:
            pieces.append(rb"(\d{1,18})")
        elif place in parsed.fixed:
            pieces.append(re.escape(markup[start:stop]))
        else:
            pieces.append(rb"[^\"'<>&]*+")
        position = stop
    pieces.append(re.escape(markup[position:]))
    constants = {i: numbers[name] for i, name in enumerate(FIELDS) if name not in parsed.places}
    fields = [FIELDS.index(wanted[place]) for place in sorted(wanted)]
    return _Shape(fields, constants, re.compile(b"".join(pieces)))


def _without_comments(markup: bytes) -> bytes:
    """Drop comments before a spectrum; whatever else stands there is left for the parser to refuse."""
    return re.sub(rb"\A(?:\s*<!--(?:(?!--).)*+-->)+", b"", markup, flags=re.DOTALL)


def _is_utf8(markup: bytes) -> bool:
    try:
        markup.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
