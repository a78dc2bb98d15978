"""Histology files to pixels: TIFF, PNG and JPEG, with their size in µm where the file can be trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem

#: Pictures beyond this many pixels are read at the next lower level of their pyramid.
MOST_PIXELS = 250_000_000
#: Microscopes and slide scanners: what lies outside is a printer's resolution, such as 72 dpi.
_PLAUSIBLE_UM = (0.02, 25.0)
_TO_UM = {"µm": 1.0, "um": 1.0, "micron": 1.0, "microns": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4}
_TIFF = (".tif", ".tiff", ".btf", ".svs", ".ndpi")
FORMATS = (*_TIFF, ".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Histology:
    """A picture of the stained section.

    Attributes
    ----------
    pixels
        (rows, columns, 3) uint8, RGB.
    um_per_pixel
        Of `pixels`; None where the file does not say.
    reduced
        How many pixels of the file one of `pixels` is wide; above 1 where a lower level was read.
    notes
        What to tell the user.
    """

    pixels: NDArray[np.uint8]
    um_per_pixel: float | None = None
    reduced: float = 1.0
    notes: tuple[str, ...] = ()

    def with_um(self, um_per_pixel: float) -> Histology:
        """Return the same picture with another size of its pixels."""
        return replace(self, um_per_pixel=um_per_pixel)


def read_histology(path: Path) -> Histology:
    """Read a picture as RGB.

    Grey becomes RGB, transparency is laid over white, 16 bit is scaled to 8. Of a pyramid the finest level
    with at most `MOST_PIXELS` pixels is read. µm per pixel is taken from OME or ImageJ metadata, from the
    scanner's own, or from the resolution tag if that is a plausible one for a microscope.

    Raises
    ------
    FileProblem
        The file is missing, of another kind, damaged, or too large.
    """
    path = path.expanduser()
    if not path.is_file():
        raise FileProblem(f"There is no histology file '{path}'.")
    if path.suffix.lower() not in FORMATS:
        raise FileProblem(f"'{path.name}' is not a picture that can be read. Use TIFF, PNG or JPEG.")
    try:
        picture = _read_tiff(path) if path.suffix.lower() in _TIFF else _read_plain(path)
    except FileProblem:
        raise
    except Exception as error:  # decoders raise whatever they like on damaged files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise FileProblem(f"The histology '{path}' cannot be read: {reason}.") from error
    return picture


def _read_plain(path: Path) -> Histology:
    from PIL import Image

    with Image.open(path) as image:
        if image.width * image.height > MOST_PIXELS:
            raise FileProblem(_too_large(path))
        return Histology(as_rgb(np.asarray(image.convert("RGBA") if image.mode == "P" else image)))


def _read_tiff(path: Path) -> Histology:
    import tifffile

    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        levels = list(getattr(series, "levels", None) or [series])
        level = next((level for level in levels if _area(level) <= MOST_PIXELS), None)
        if level is None:
            raise FileProblem(_too_large(path))
        reduced = _width(levels[0]) / _width(level)
        size = _um_per_pixel(file)
        pixels = as_rgb(_channels_last(level.asarray(), level.axes))
    notes: tuple[str, ...] = ()
    if reduced > 1:
        notes = (f"The histology is read at 1/{reduced:.0f} of its resolution, which fits into memory.",)
    return Histology(pixels, None if size is None else size * reduced, reduced, notes)


def _too_large(path: Path) -> str:
    return (
        f"'{path.name}' has more than {MOST_PIXELS / 1e6:.0f} million pixels and no smaller version inside. "
        "Save it as a pyramidal TIFF, or at a lower resolution."
    )


def as_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Return (rows, columns, 3) uint8 from grey, RGB or RGBA of 8 or 16 bit or float.

    Raises
    ------
    FileProblem
        The array is no picture.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.ndim != 3 or pixels.shape[-1] not in (1, 2, 3, 4) or 0 in pixels.shape:
        raise FileProblem(f"A picture with {pixels.shape} values is neither grey nor RGB.")
    pixels = _to_8_bit(pixels)
    if pixels.shape[-1] in (2, 4):
        opacity = pixels[..., -1:]
        pixels = pixels[..., :-1]
        if not (opacity == 255).all():
            share = opacity.astype(np.float32) / 255
            pixels = (pixels * share + 255 * (1 - share)).round().astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels)


def _to_8_bit(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == bool:
        return pixels.astype(np.uint8) * np.uint8(255)
    finite = np.nan_to_num(pixels.astype(np.float32))
    # Cameras of 12 or 14 bit write into 16: the brightest value says how much of the range is used.
    top = 1.0 if pixels.dtype.kind == "f" and finite.max() <= 1 else float(finite.max())
    return np.asarray(np.clip(finite / max(top, 1e-12), 0, 1) * 255).round().astype(np.uint8)


def _channels_last(pixels: NDArray[Any], axes: str) -> NDArray[Any]:
    """Return (rows, columns[, channels]) of the first plane of a TIFF series."""
    for axis in [axis for axis in axes if axis not in "YXSC"]:
        pixels = np.take(pixels, 0, axis=axes.index(axis))
        axes = axes.replace(axis, "")
    if "S" in axes and "C" in axes:
        pixels = np.take(pixels, 0, axis=axes.index("C"))
        axes = axes.replace("C", "")
    for channel in "SC":
        if channel in axes:
            return np.moveaxis(pixels, axes.index(channel), -1)
    return pixels


def _area(level: Any) -> int:
    return int(level.shape[level.axes.index("Y")]) * _width(level)


def _width(level: Any) -> int:
    return int(level.shape[level.axes.index("X")])


def _um_per_pixel(file: Any) -> float | None:
    """Return µm per pixel of the finest level of a TIFF, None where nothing credible is said."""
    page = file.pages[0]
    size = _from_ome(file) or _from_imagej(file, page) or _from_scanner(page) or _from_tags(page)
    return size if size is not None and _PLAUSIBLE_UM[0] <= size <= _PLAUSIBLE_UM[1] else None


def _from_ome(file: Any) -> float | None:
    if not file.is_ome:
        return None
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        root: Element = fromstring(file.ome_metadata)
    except (ParseError, DefusedXmlException, TypeError):
        return None
    pixels = next((element for element in root.iter() if element.tag.endswith("}Pixels")), None)
    if pixels is None or "PhysicalSizeX" not in pixels.attrib:
        return None
    unit = _TO_UM.get(pixels.attrib.get("PhysicalSizeXUnit", "µm"))
    number = _number(pixels.attrib["PhysicalSizeX"])
    return None if unit is None or number is None else number * unit


def _from_imagej(file: Any, page: Any) -> float | None:
    unit = _TO_UM.get(str((file.imagej_metadata or {}).get("unit", "")).replace("\\u00B5", "µ"))
    pixels_per_unit = _resolution(page)
    return unit / pixels_per_unit if unit and pixels_per_unit else None


def _from_scanner(page: Any) -> float | None:
    found = re.search(r"MPP\s*=\s*([\d.]+)", page.description or "")
    return _number(found[1]) if found else None


def _from_tags(page: Any) -> float | None:
    unit = {2: 25_400.0, 3: 10_000.0}.get(int(page.tags.valueof("ResolutionUnit", default=0)))
    pixels_per_unit = _resolution(page)
    return unit / pixels_per_unit if unit and pixels_per_unit else None


def _resolution(page: Any) -> float | None:
    value = page.tags.valueof("XResolution", default=None)
    if not value or not value[1]:
        return None
    return float(value[0]) / float(value[1]) or None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
