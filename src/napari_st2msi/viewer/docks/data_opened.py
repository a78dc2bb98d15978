"""Opening in the background: files or a sample become sections, with what they carry made ready."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from napari_st2msi import pipeline
from napari_st2msi.errors import St2msiError
from napari_st2msi.io.sample import SAMPLES
from napari_st2msi.paired import PairedDataset
from napari_st2msi.pairing.pair import stale
from napari_st2msi.progress import Progress, check
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.docks.data_open import Request


@dataclass(frozen=True)
class Opened:
    """A section that was opened.

    Attributes
    ----------
    paired
        Its paired spots, if it carries a pairing.
    stale
        Why that pairing no longer fits, in words.
    problem
        Why a pairing that it carries cannot be used, in words.
    """

    section: Section
    paired: PairedDataset | None = None
    stale: str = ""
    problem: str = ""


def open_request(request: Request, *, progress: Progress, cancelled: Callable[[], bool]) -> list[Opened]:
    """Open what was asked for."""
    section = pipeline.open_section(
        request.path, request.msi, opening=request.opening, progress=progress.part(0, 0.9), cancelled=cancelled
    )
    check(cancelled)
    progress(0.9, "looking at what was found")
    return [_ready(section)]


def open_sample(name: str, *, progress: Progress, cancelled: Callable[[], bool], **changes: Any) -> list[Opened]:
    """Simulate a sample, with single choices of it changed."""
    simulation = pipeline.simulate(
        choices=SAMPLES[name], progress=progress.part(0, 0.95), cancelled=cancelled, **changes
    )
    return [_ready(section) for section in simulation.sections]


def derive(section: Section) -> None:
    """Derive here, in the background, what the window asks for first; the section remembers it."""
    section.summary()
    if section.has_st:
        _ = section.spots
    if section.has_msi:
        _ = section.total_ions
    if section.warped_element is not None:
        layers.pixel_site(section)


def _ready(section: Section) -> Opened:
    derive(section)
    if not section.paired:
        return Opened(section)
    try:
        return Opened(section, pipeline.paired_dataset(section), stale(section) or "")
    except St2msiError as error:
        return Opened(section, problem=str(error))
