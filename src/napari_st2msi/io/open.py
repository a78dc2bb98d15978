"""Open anything: which reader a path belongs to, and how two files become one section."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.io.store import is_store, recover
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

__all__ = ["Opening", "open_any"]


def open_any(
    path: Path,
    msi: Path | None = None,
    opening: Opening | None = None,
    *,
    progress: Progress = Progress(),  # noqa: B008 (stateless)
    cancelled: Callable[[], bool] = never,
) -> Section:
    from napari_st2msi.io.spatialdata import read_spatialdata

    check(cancelled)
    recover(path)
    if not path.exists():
        raise FileProblem(f"There is no '{path}'.")
    if is_store(path):
        return read_spatialdata(path, opening, progress=progress, cancelled=cancelled)
    if path.suffix.lower() == ".imzml":
        from napari_st2msi.io.imzml import read_imzml

        return read_imzml(path, opening, progress=progress, cancelled=cancelled)
    raise FileProblem(f"'{path}' cannot be opened.")
