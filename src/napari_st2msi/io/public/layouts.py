"""Which files of the public data sets are what: a thin recipe over the readers of their formats.

A section of SMA, as its archive unpacks::

    V11L12-109_B1/output_data/V11L12-109_B1_RNA/outs/         Space Ranger
    V11L12-109_B1/output_data/V11L12-109_B1_MSI/*_smamsi.csv  x, y, a column per m/z; zeros where nothing was measured

The pair of SpaMTP is ``visium.RDS`` and ``SpaMTP_msi_transformed.RDS`` in one folder, in one frame.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.public.desium import holds_ions
from napari_st2msi.io.visium import is_visium
from napari_st2msi.progress import check, never

_MSI_ENDS = "smamsi.csv"
_SPAMTP = ("visium.RDS", "SpaMTP_msi_transformed.RDS")
#: Of SMA's MALDI, in µm; landmarks that people set on V11L12-038_D1 give 98.
_SMA_PIXEL_UM = 100.0
#: Levels of folders that are searched.
_DEEP = 6


class Parts(NamedTuple):
    """The ST and the MSI of a section, how to open them, and what was assumed, in words."""

    st: Path
    msi: Path
    opening: Opening
    notes: tuple[str, ...] = ()


def parts_of(path: Path, opening: Opening) -> Parts | None:
    """Return what is what in a folder of a public data set; None for anything else.

    Raises
    ------
    FileProblem
        The folder holds several sections, or half of one.
    """
    if not path.is_dir():
        return None
    name = opening.name or path.name
    pair = [path / file for file in _SPAMTP]
    if all(file.is_file() for file in pair):
        return Parts(pair[0], pair[1], opening.model_copy(update={"name": name, "same_frame": True}))
    output = path / "output_data" if (path / "output_data").is_dir() else path
    tables = sorted(file for file in output.glob(f"*_MSI/*{_MSI_ENDS}") if not file.name.startswith("._"))
    spots = sorted(folder for folder in output.glob("*_RNA/outs") if is_visium(folder))
    if len(tables) == len(spots) == 1:
        if output.name == "output_data" and path == output:
            name = opening.name or path.parent.name
        opening = opening.model_copy(update={"name": name})
        if opening.pixel_size_um is not None:
            return Parts(spots[0], tables[0], opening)
        note = f"The table of SMA does not say how large an MSI pixel is: {_SMA_PIXEL_UM:g} µm is taken."
        sized = opening.model_copy(update={"pixel_size_um": _SMA_PIXEL_UM})
        return Parts(spots[0], tables[0], sized, (note,))
    if tables or spots:
        raise FileProblem(
            f"'{path}' should hold one section of SMA: one folder '*_RNA/outs' of Space Ranger and one table "
            f"'*_MSI/*{_MSI_ENDS}'. It holds {len(spots)} and {len(tables)}; open one file of each by itself."
        )
    return None


def sections_in(folder: Path, *, cancelled: Callable[[], bool] = never) -> list[Path]:
    """Return what in a folder is a section of a public data set, ready for `open_section`, sorted by name.

    Folders deeper than six levels are not looked at.
    """
    found = []
    for top, folders, files in os.walk(folder):
        check(cancelled)
        place = Path(top)
        # Nothing that is hidden, half done, or a store of many small files.
        folders[:] = [name for name in folders if not name.startswith(".") and not name.endswith(".zarr")]
        if len(place.relative_to(folder).parts) >= _DEEP:
            folders.clear()
        if "output_data" in folders and _is_sma(place / "output_data"):
            found.append(place)
            folders.clear()
        paired = set(_SPAMTP) <= set(files)
        if paired:
            found.append(place)
        for name in files:
            path = place / name
            alone = name.lower().endswith(".rds") and not (paired and name in _SPAMTP)
            if not name.startswith(".") and (alone or (name.endswith(".h5ad") and holds_ions(path))):
                found.append(path)
    return sorted(found)


def _is_sma(output: Path) -> bool:
    return any(output.glob(f"*_MSI/*{_MSI_ENDS}")) and any(is_visium(outs) for outs in output.glob("*_RNA/outs"))
