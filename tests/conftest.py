"""Fixtures that many tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real data sets; the test is skipped where it is missing."""
    folder = Path(os.environ.get("NAPARI_ST2MSI_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set NAPARI_ST2MSI_DATA to the folder that holds it")
    return folder
