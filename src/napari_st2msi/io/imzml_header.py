"""The header of an imzML file, and the parser that refuses whatever could reach beyond the file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn
from xml.parsers import expat

from napari_st2msi.errors import FileProblem

_BLOCK = 1 << 20
_LONGEST_HEADER = 64 << 20


class Param(NamedTuple):
    """A controlled-vocabulary parameter: its value and unit as written."""

    value: str
    unit: str = ""
    name: str = ""


Params = dict[str, Param]


@dataclass
class Header:
    """What an imzML file says before its first spectrum.

    Attributes
    ----------
    content, scan
        Parameters of the file description and of the scan settings, by accession.
    groups
        Referenceable groups of parameters, by id.
    declared
        How many spectra there should be, None when it does not say.
    """

    content: Params = field(default_factory=dict)
    scan: Params = field(default_factory=dict)
    groups: dict[str, Params] = field(default_factory=dict)
    declared: int | None = None


class _ListReached(Exception):
    """The header ends here."""


class _HeaderHandler:
    def __init__(self, parser: expat.XMLParserType) -> None:
        self.header = Header()
        self.prefix = b""
        self.root: str | None = None
        self.list_start = 0
        self._parser = parser
        self._open: list[Params] = [{}]

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        prefix, _, name = tag.rpartition(":")
        if self.root is None:
            self.root = name
        if name == "spectrumList":
            self.prefix = prefix.encode() + b":" if prefix else b""
            count = attributes.get("count", "")
            self.header.declared = int(count) if count.isdecimal() else None
            self.list_start = self._parser.CurrentByteIndex
            raise _ListReached
        if name == "fileContent":
            self._open.append(self.header.content)
        elif name == "scanSettings":
            self._open.append(self.header.scan)
        elif name == "referenceableParamGroup":
            self._open.append(self.header.groups.setdefault(attributes.get("id", ""), {}))
        elif name == "referenceableParamGroupRef":
            self._open[-1].update(self.header.groups.get(attributes.get("ref", ""), {}))
        elif name == "cvParam":
            unit = attributes.get("unitName", "") or attributes.get("unitAccession", "")
            param = Param(attributes.get("value", ""), unit, attributes.get("name", ""))
            self._open[-1].setdefault(attributes.get("accession", ""), param)

    def end(self, tag: str) -> None:
        if tag.rpartition(":")[2] in ("fileContent", "scanSettings", "referenceableParamGroup"):
            self._open.pop()


def read_header(stream: BinaryIO, path: Path) -> tuple[Header, bytes, bytes]:
    """Return the header, the namespace prefix of its tags, and what was read beyond it.

    Raises
    ------
    FileProblem
        Not XML, not imzML, cut off before the list of spectra, or refused for its document type.
    """
    parser = safe_parser(path)
    handler = _HeaderHandler(parser)
    parser.StartElementHandler = handler.start
    parser.EndElementHandler = handler.end
    seen = b""
    while block := stream.read(_BLOCK):
        if not seen and b"\0" in block[:64]:
            raise FileProblem(
                f"'{path.name}' is not text in UTF-8 or Latin-1, so its XML cannot be read. Export again."
            )
        seen += block
        if len(seen) > _LONGEST_HEADER:
            break
        try:
            parser.Parse(block, False)
        except _ListReached:
            # A start tag is reported only when all of it was read.
            stop = seen.index(b">", handler.list_start) + 1
            return handler.header, handler.prefix, seen[stop:]
        except expat.ExpatError as error:
            raise damaged(path, error) from error
    if handler.root not in ("mzML", "indexedmzML"):
        raise FileProblem(f"'{path.name}' is not an imzML file: its XML does not begin with mzML.")
    raise FileProblem(
        f"'{path.name}' ends before its list of spectra: the file is incomplete. Copy or export it again."
    )


def safe_parser(path: Path, encoding: str | None = None) -> expat.XMLParserType:
    """Return a parser that refuses document types, hence every entity."""

    def refuse(*_: object) -> NoReturn:
        raise FileProblem(
            f"'{path.name}' declares a document type, through which XML can name an external entity or grow "
            "without end. imzML never needs one, so the file is refused. Export it again."
        )

    parser = expat.ParserCreate(encoding)
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    return parser


def damaged(path: Path, error: expat.ExpatError, spectrum: int | None = None) -> FileProblem:
    """Return the problem of XML that is not well-formed, in words."""
    where = f"line {error.lineno}" if spectrum is None else f"spectrum {spectrum:,}"
    return FileProblem(
        f"The XML of '{path.name}' is damaged at {where} ({expat.ErrorString(error.code)}). Copy or export it again."
    )
