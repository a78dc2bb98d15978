"""What lies where in an imzML file, checked before a single intensity is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, FileProblem
from napari_st2msi.io.imzml_header import Header, Param, Params
from napari_st2msi.io.imzml_xml import FIELDS, ArrayFormat, Spectra, read_xml
from napari_st2msi.progress import Progress, never

_DTYPES = {
    "IMS:1100000": "<i1",
    "IMS:1100001": "<i2",
    "IMS:1000141": "<i4",
    "IMS:1000142": "<i8",
    "MS:1000519": "<i4",
    "MS:1000522": "<i8",
    "MS:1000520": "<f2",
    "MS:1000521": "<f4",
    "MS:1000523": "<f8",
}
_ZLIB = "MS:1000574"
# MS-Numpress alone and with zlib, truncation and prediction. What is not listed here still contradicts
# its number of bytes and is refused for that.
_OTHER_COMPRESSIONS = frozenset(
    f"MS:{number}" for number in (1002312, 1002313, 1002314, 1002746, 1002747, 1002748, 1003088, 1003089, 1003090)
)
_STORAGE = frozenset(_DTYPES) | _OTHER_COMPRESSIONS | {_ZLIB}
_UM = {
    "micrometer": 1.0,
    "micrometre": 1.0,
    "micron": 1.0,
    "um": 1.0,
    "µm": 1.0,
    "UO:0000017": 1.0,
    "nanometer": 1e-3,
    "nanometre": 1e-3,
    "nm": 1e-3,
    "UO:0000018": 1e-3,
    "millimeter": 1e3,
    "millimetre": 1e3,
    "mm": 1e3,
    "UO:0000016": 1e3,
}
#: More points than any spectrometer gives; a spectrum must fit into memory to be read.
_MOST_POINTS = 1 << 26


@dataclass(frozen=True)
class ArrayIndex:
    """Where one kind of array (m/z or intensities) lies in the .ibd file.

    Attributes
    ----------
    dtype
        Little-endian number format of the stored values.
    zlib
        Whether each array is compressed with zlib.
    offset, length, stored
        (spectra,) int64: first byte, number of values, number of bytes in the file.
    """

    dtype: np.dtype[np.generic]
    zlib: bool
    offset: NDArray[np.int64]
    length: NDArray[np.int64]
    stored: NDArray[np.int64]


@dataclass(frozen=True)
class ImzmlIndex:
    """The index of an imzML file.

    Attributes
    ----------
    path, ibd
        The two files.
    xyz
        (spectra, 3) int64 pixel coordinates as the file counts them, from 1.
    mz, intensity
        Where the arrays lie.
    shared_axis
        Whether all spectra that are not empty have the very same m/z array.
    profile
        Whether spectra are continuous curves (True) or lists of centroids (False).
    pixel_size_um
        Width and height of a pixel, None when the file does not say.
    notes
        What had to be assumed, in words.
    """

    path: Path
    ibd: Path
    xyz: NDArray[np.int64]
    mz: ArrayIndex
    intensity: ArrayIndex
    shared_axis: bool
    profile: bool
    pixel_size_um: tuple[float, float] | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.xyz)


def read_index(
    path: Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> ImzmlIndex:
    """Read the index of an imzML file and check that the .ibd file beside it is the right one, whole.

    The .ibd file must begin with the identifier that the .imzML file declares, and every array must lie
    inside it. Its SHA-1 or MD5 checksum is not verified: that would mean reading all of it twice.

    Raises
    ------
    FileProblem
        A file is missing, damaged, incomplete, refused for safety, does not belong to the other, or is
        written in a way that cannot be read.
    DataProblem
        There is no spectrum, or two have the same coordinates.
    """
    if not path.is_file():
        raise FileProblem(f"There is no file '{path}'.")
    ibd = find_ibd(path)
    header, spectra = read_xml(path, progress=progress, cancelled=cancelled)
    notes: list[str] = []
    _check_complete(path, header, spectra, notes)
    _check_uuid(path, ibd, header, notes)
    formats = {ArrayFormat(each.mz & _STORAGE, each.intensity & _STORAGE) for each in spectra.formats}
    if len(formats) > 1:
        raise FileProblem(
            f"The spectra of '{path.name}' are not all stored in the same number format. "
            "Export it again with one format."
        )
    stored_as = formats.pop()
    columns = dict(zip(FIELDS, spectra.numbers.T, strict=True))
    mz = _array_index(path, "m/z", stored_as.mz, columns, "mz")
    intensity = _array_index(path, "intensity", stored_as.intensity, columns, "intensity")
    _check_lengths(path, ibd, mz, intensity)
    xyz = np.ascontiguousarray(spectra.numbers[:, :3])
    _check_coordinates(path, xyz)
    return ImzmlIndex(
        path=path,
        ibd=ibd,
        xyz=xyz,
        mz=mz,
        intensity=intensity,
        shared_axis=_shares_axis(mz),
        profile=_is_profile(header),
        pixel_size_um=pixel_size(header.scan, notes),
        notes=tuple(notes),
    )


def find_ibd(path: Path) -> Path:
    """Return the .ibd file beside an .imzML file, whatever the case of its ending.

    Raises
    ------
    FileProblem
        There is none.
    """
    plain = path.with_suffix(".ibd")
    if plain.is_file():
        return plain
    for other in path.parent.iterdir():
        if other.stem == path.stem and other.suffix.lower() == ".ibd" and other.is_file():
            return other
    raise FileProblem(
        f"There is no '{plain.name}' beside '{path.name}'. The .imzML file only describes the measurement; "
        "the intensities are in the .ibd file. Put both into one folder under the same name."
    )


def _check_complete(path: Path, header: Header, spectra: Spectra, notes: list[str]) -> None:
    found = len(spectra.numbers)
    if not spectra.closed:
        declared = "" if header.declared is None else f" of {header.declared:,}"
        raise FileProblem(
            f"'{path.name}' ends in the middle, after {found:,}{declared} spectra: the file is incomplete. "
            "Copy or export it again."
        )
    if found == 0:
        raise DataProblem(f"'{path.name}' holds no spectra.")
    if header.declared is not None and header.declared != found:
        notes.append(f"The file announces {header.declared:,} spectra and holds {found:,}; all {found:,} are used.")


def _check_uuid(path: Path, ibd: Path, header: Header, notes: list[str]) -> None:
    declared = header.content.get("IMS:1000080", Param("")).value
    digits = "".join(character for character in declared.lower() if character in "0123456789abcdef")
    try:
        with ibd.open("rb") as stream:
            begin = stream.read(16)
    except OSError as error:
        raise FileProblem(f"'{ibd}' cannot be read: {error.strerror or error}.") from error
    if len(begin) < 16:
        raise FileProblem(f"'{ibd.name}' is empty or has only {len(begin)} bytes. Copy it again.")
    if not digits:
        notes.append("The file declares no identifier, so it could not be checked that the .ibd file belongs to it.")
        return
    if len(digits) != 32:
        raise FileProblem(
            f"'{path.name}' declares '{declared[:60]}', which is not an identifier (UUID). Export it again."
        )
    # Some programs write the identifier in the byte order of Windows.
    if begin not in (UUID(digits).bytes, UUID(digits).bytes_le):
        raise FileProblem(
            f"'{ibd.name}' does not belong to '{path.name}': it carries the identifier {begin.hex()}, "
            f"but {digits} is declared. Look for the .ibd file that was exported together with it."
        )


def _array_index(
    path: Path, what: str, stored_as: frozenset[str], columns: dict[str, NDArray[np.int64]], kind: str
) -> ArrayIndex:
    dtypes = {_DTYPES[accession] for accession in stored_as if accession in _DTYPES}
    if len(dtypes) != 1:
        raise FileProblem(
            f"'{path.name}' does not say in a number format known here how its {what} values are stored "
            "(32 or 64 bit float, or 8 to 64 bit integer). Export it again in one of these."
        )
    if stored_as & _OTHER_COMPRESSIONS:
        raise FileProblem(
            f"The {what} values of '{path.name}' are compressed in a way that cannot be read here. "
            "Export it again without compression, or with zlib."
        )
    dtype = np.dtype(dtypes.pop())
    zlib = _ZLIB in stored_as
    offset, length, encoded = (columns[f"{kind}_{name}"].copy() for name in ("offset", "length", "encoded"))
    for name, values in (("offset", offset), ("length", length), ("encoded length", encoded)):
        if (values < 0).any():
            first = int(np.argmax(values < 0))
            raise FileProblem(
                f"Spectrum {first + 1:,} of '{path.name}' gives a negative {name} of its {what} array "
                f"({values[first]:,}). The program that wrote it counts with too few bits; export it again."
            )
    if (length > _MOST_POINTS).any():
        first = int(np.argmax(length > _MOST_POINTS))
        raise FileProblem(
            f"Spectrum {first + 1:,} of '{path.name}' claims {length[first]:,} {what} values, which no spectrum has. "
            "The file is damaged; copy or export it again."
        )
    if zlib:
        if ((encoded == 0) & (length > 0)).any():
            raise FileProblem(
                f"'{path.name}' does not say how many bytes its compressed {what} arrays have. Export it again."
            )
        return ArrayIndex(dtype, zlib, offset, length, np.where(length > 0, encoded, 0))
    needed = length * dtype.itemsize
    differs = (encoded > 0) & (encoded != needed)
    if differs.any():
        first = int(np.argmax(differs))
        raise FileProblem(
            f"Spectrum {first + 1:,} of '{path.name}' contradicts itself: {length[first]:,} {what} values of "
            f"{dtype.itemsize} bytes in {encoded[first]:,} bytes. Export it again."
        )
    return ArrayIndex(dtype, zlib, offset, length, needed)


def _check_lengths(path: Path, ibd: Path, mz: ArrayIndex, intensity: ArrayIndex) -> None:
    differs = mz.length != intensity.length
    if differs.any():
        first = int(np.argmax(differs))
        raise FileProblem(
            f"Spectrum {first + 1:,} of '{path.name}' has {mz.length[first]:,} m/z values but "
            f"{intensity.length[first]:,} intensities. Export it again."
        )
    size = ibd.stat().st_size
    needed = max(
        int(np.max(array.offset + array.stored, where=array.stored > 0, initial=0)) for array in (mz, intensity)
    )
    if needed > size:
        raise FileProblem(
            f"'{ibd.name}' is incomplete: '{path.name}' describes {needed:,} bytes, but it has {size:,}, "
            f"{needed - size:,} too few. The copy or download was cut short; copy it again."
        )


def _check_coordinates(path: Path, xyz: NDArray[np.int64]) -> None:
    order = np.lexsort(xyz.T)
    same = (np.diff(xyz[order], axis=0) == 0).all(axis=1)
    if same.any():
        x, y, z = xyz[order[int(np.argmax(same))]]
        raise DataProblem(
            f"{int(same.sum()):,} spectra of '{path.name}' lie on a pixel that another one has already "
            f"(the first at x = {x}, y = {y}, z = {z}). Remove the duplicates, or export each region by itself."
        )


def _shares_axis(mz: ArrayIndex) -> bool:
    """Tell whether all spectra that are not empty point to one m/z array, whatever the file calls itself."""
    filled = np.flatnonzero(mz.length)
    if not len(filled):
        return False
    first = filled[0]
    return bool((mz.offset[filled] == mz.offset[first]).all() and (mz.length[filled] == mz.length[first]).all())


def _is_profile(header: Header) -> bool:
    """Tell whether spectra are curves; where nothing is said they are taken for curves."""
    said = set(header.content).union(*header.groups.values())
    return "MS:1000128" in said or "MS:1000127" not in said


def pixel_size(scan: Params, notes: list[str]) -> tuple[float, float] | None:
    """Return width and height of a pixel in µm from the scan settings, None when they do not say.

    The accession IMS:1000046 once meant the area of a pixel and now means its width, and many programs
    leave the unit out. The value is taken for an area when its unit or its agreement with the extent of
    the scan says so, and for µm without a unit; either is added to `notes`.
    """
    width = _um(scan.get("IMS:1000046"))
    height = _um(scan.get("IMS:1000047"))
    if width is None:
        width = height
    if width is None:
        return None
    param = scan.get("IMS:1000046", Param(""))
    if _is_area(param, width, scan):
        width, area = float(np.sqrt(width)), width
        height = width if height is None or height == area else height
        notes.append(f"The pixel size in the file, {area:g}, is an area; pixels are taken as {width:g} µm wide.")
    elif not (param.unit or scan.get("IMS:1000047", Param("")).unit):
        notes.append(f"The pixel size in the file, {width:g}, has no unit; it is taken as µm.")
    return width, width if height is None else height


def _is_area(param: Param, width: float, scan: Params) -> bool:
    if "square" in param.unit.lower():
        return True
    extent, count = _um(scan.get("IMS:1000044")), _um(scan.get("IMS:1000042"))
    if extent is None or count is None or width == 1:
        return False
    return abs(width - extent / count) > 0.2 * width and bool(np.isclose(width, (extent / count) ** 2, rtol=0.05))


def _um(param: Param | None) -> float | None:
    """Return a positive number in µm, None when there is none."""
    if param is None:
        return None
    try:
        value = float(param.value)
    except ValueError:
        return None
    value *= _UM.get(param.unit, 1.0)
    return value if np.isfinite(value) and value > 0 else None
