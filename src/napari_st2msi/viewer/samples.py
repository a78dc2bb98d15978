"""The entries of *File > Open Sample*: names that end in `SUFFIX` and that our reader simulates.

napari lets a sample be a function that returns layers, which would hold up the window for as long as
it simulates, or something for a reader to open. The second leads through the Data dock: in the
background, with progress and Cancel.
"""

from __future__ import annotations

import re
from pathlib import Path

from napari_st2msi.io.sample import SAMPLES

SUFFIX = ".st2msi-sample"


def sample_key(name: str) -> str:
    """Return a sample's name as it can stand in the manifest: ``simulated-brain-section-visium``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def sample_name(path: str | Path) -> str | None:
    """Return the name of the sample that a path of the manifest stands for, None for any other path."""
    stem = Path(path).name.removesuffix(SUFFIX)
    return next((name for name in SAMPLES if sample_key(name) == stem), None)
