"""Small imzML files with anything right or wrong in them."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from uuid import UUID

import numpy as np

DTYPES = {
    "<f4": ("MS:1000521", "32-bit float"),
    "<f8": ("MS:1000523", "64-bit float"),
    "<i4": ("MS:1000519", "32-bit integer"),
    "<i8": ("IMS:1000142", "64-bit integer"),
}
PIXEL_SIZE = (
    '<cvParam cvRef="IMS" accession="IMS:1000046" name="pixel size (x)" value="50" unitName="micrometer"/>'
    '<cvParam cvRef="IMS" accession="IMS:1000047" name="pixel size y" value="50" unitName="micrometer"/>'
)
UID = UUID("9d501bdc-5344-4916-b7e9-7e795b02c856")

Spectrum = tuple[Sequence[int], Sequence[float], Sequence[float]]


def write(
    path: Path,
    spectra: Sequence[Spectrum],
    *,
    shared_axis: bool = False,
    mz_dtype: str = "<f8",
    intensity_dtype: str = "<f4",
    compressed: bool = False,
    kind: str = "centroid",
    uuid: str = str(UID),
    scan: str = PIXEL_SIZE,
    edit: Callable[[str], str] = lambda text: text,
    edit_spectrum: Callable[[int, str], str] = lambda number, text: text,
    prologue: str = "",
) -> Path:
    """Write path.imzML and path.ibd; `edit` and `edit_spectrum` may spoil the XML."""
    data = bytearray(UID.bytes)
    blocks = []
    axis: tuple[int, int, int] | None = None

    def put(values: Sequence[float], dtype: str) -> tuple[int, int, int]:
        raw = np.asarray(values, dtype=dtype).tobytes()
        raw = zlib.compress(raw) if compressed else raw
        place = (len(data), len(values), len(raw))
        data.extend(raw)
        return place

    for number, (position, mz, intensity) in enumerate(spectra, start=1):
        if axis is None or not shared_axis:
            axis = put(mz, mz_dtype) if len(mz) else None
        arrays = "".join(
            f'<binaryDataArray encodedLength="0"><referenceableParamGroupRef ref="{ref}"/>'
            f'<cvParam cvRef="IMS" accession="IMS:1000103" name="external array length" value="{length}"/>'
            f'<cvParam cvRef="IMS" accession="IMS:1000102" name="external offset" value="{offset}"/>'
            f'<cvParam cvRef="IMS" accession="IMS:1000104" name="external encoded length" value="{encoded}"/>'
            "<binary/></binaryDataArray>\n"
            for ref, (offset, length, encoded) in (
                ("mzs", axis if axis and len(mz) else (0, 0, 0)),
                ("ints", put(intensity, intensity_dtype)),
            )
        )
        where = "".join(
            f'<cvParam cvRef="IMS" accession="IMS:10000{50 + i}" name="position {axis_name}" value="{value}"/>'
            for i, (axis_name, value) in enumerate(zip("xyz", position, strict=False))
        )
        text = (
            f'<spectrum id="spectrum={number}" index="{number}" defaultArrayLength="0">'
            f'<scanList count="1"><scan>{where}</scan></scanList>\n'
            f'<binaryDataArrayList count="2">{arrays}</binaryDataArrayList></spectrum>\n'
        )
        blocks.append(edit_spectrum(number, text))
    compression = ("MS:1000574", "zlib compression") if compressed else ("MS:1000576", "no compression")
    groups = "".join(
        f'<referenceableParamGroup id="{ref}"><cvParam cvRef="MS" accession="{what}" name="{words}"/>'
        f'<cvParam cvRef="MS" accession="{DTYPES[dtype][0]}" name="{DTYPES[dtype][1]}"/>'
        f'<cvParam cvRef="MS" accession="{compression[0]}" name="{compression[1]}"/></referenceableParamGroup>'
        for ref, what, words, dtype in (
            ("mzs", "MS:1000514", "m/z array", mz_dtype),
            ("ints", "MS:1000515", "intensity array", intensity_dtype),
        )
    )
    shape = {"centroid": "MS:1000127", "profile": "MS:1000128"}[kind]
    text = (
        f'<?xml version="1.0" encoding="ISO-8859-1"?>\n{prologue}<mzML xmlns="http://psi.hupo.org/ms/mzml">\n'
        f'<fileDescription><fileContent><cvParam cvRef="MS" accession="{shape}" name="{kind} spectrum"/>'
        f'<cvParam cvRef="IMS" accession="IMS:1000080" name="universally unique identifier" value="{uuid}"/>'
        f"</fileContent></fileDescription>\n<referenceableParamGroupList>{groups}</referenceableParamGroupList>\n"
        f'<scanSettingsList><scanSettings id="one">{scan}</scanSettings></scanSettingsList>\n'
        f'<run id="run"><spectrumList count="{len(blocks)}">\n{"".join(blocks)}</spectrumList></run></mzML>\n'
    )
    path = path.with_suffix(".imzML")
    path.write_bytes(edit(text).encode("latin-1"))
    path.with_suffix(".ibd").write_bytes(bytes(data))
    return path


def random_spectra(
    n: int = 12, *, seed: int = 0, shared_axis: bool = False, integers: bool = False, empty: Sequence[int] = ()
) -> list[Spectrum]:
    """Return spectra on a grid four wide, with two low points that no ion of the tests reaches."""
    rng = np.random.default_rng(seed)
    axis = np.concatenate([[50.0, 51.0], np.sort(rng.uniform(100, 110, 300))])
    result: list[Spectrum] = []
    for i in range(n):
        mz = axis if shared_axis else np.concatenate([axis[:2], np.sort(rng.uniform(100, 110, rng.integers(5, 200)))])
        intensity = rng.integers(0, 1000, len(mz)) if integers else rng.gamma(1.0, 100.0, len(mz))
        if i in empty:
            mz, intensity = mz[:0], intensity[:0]
        result.append(((i % 4 + 1, i // 4 + 1), mz, intensity))
    return result
