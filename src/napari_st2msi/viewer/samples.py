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
#: napari looks for a file of that name unless it reads like an address.
PREFIX = "st2msi://samples/"


def sample_uri(name: str) -> str:
    """Return what a sample is called in the manifest: ``st2msi://samples/simulated-brain.st2msi-sample``."""
    return f"{PREFIX}{_plain(name)}{SUFFIX}"


def sample_name(path: str | Path) -> str | None:
    """Return the name of the sample that a path of the manifest stands for, None for any other path."""
    stem = Path(path).name.removesuffix(SUFFIX)
    return next((name for name in SAMPLES if _plain(name) == stem), None)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
