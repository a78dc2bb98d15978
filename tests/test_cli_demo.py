"""The demo does the main job for real and leaves what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

import napari_st2msi as st2msi


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"), reason="there is no display to draw on"
)
def test_the_demo_leaves_pictures_report_section_and_model(tmp_path: Path) -> None:
    code = "from napari_st2msi.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", "--no-window", "--json", "--out", str(tmp_path / "demo")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    written = json.loads(done.stdout)["written"]
    assert all(Path(path).exists() for path in written.values())
    section = st2msi.open_section(written["section"])
    assert section.registered
    assert section.paired
    assert section.predicted is not None
    assert st2msi.load_model(written["model"]).predict(section.st).n_vars == 70
    scores = pd.read_csv(written["scores"])
    # Of ten ions of each of seven kinds, five kinds follow genes in one way or another.
    assert 20 < (scores["verdict"] == "predicted from genes").sum() <= 50
    for name in ("Data", "Register", "Train", "Explore"):
        assert Path(written[f"picture of {name}"]).stat().st_size > 50_000
