"""The demo does the main job for real and leaves what it promises."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi

needs_display = pytest.mark.skipif(
    sys.platform.startswith("linux") and not os.environ.get("DISPLAY"), reason="there is no display to draw on"
)


def demo(out: Path, *arguments: str) -> pd.DataFrame:
    """Run the demo, look at all that it leaves, and return the scores."""
    code = "from napari_st2msi.cli import main; main()"
    command = [sys.executable, "-c", code, "demo", "--no-window", "--json", "--out", str(out), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    written = {name: Path(path) for name, path in json.loads(done.stdout)["written"].items()}
    section = st2msi.open_section(written["section"])
    assert section.registered
    assert section.paired
    assert section.predicted is not None
    assert st2msi.load_model(written["model"]).predict(section.st).n_vars == 70
    assert "predicted from genes" in written["report"].read_text(encoding="utf-8")
    for name in ("Data", "Register", "Train"):
        assert tissue_in(written[f"picture of {name}"], 1, 1).all()
    # H&E and measured above predicted and residual, each with a tissue of its own.
    assert tissue_in(written["picture of Explore"], 2, 2).all()
    return pd.read_csv(written["scores"])


def tissue_in(picture: Path, rows: int, columns: int) -> np.ndarray:
    """Tell for each part of a canvas whether more than a title is drawn there: a fortieth of it in colours."""
    from PIL import Image

    with Image.open(picture) as image:
        canvas = np.asarray(image.convert("RGB"))[24:-30, 360:1100]  # between the docks on either side
    drawn = canvas.max(axis=2) > 40
    return np.array(
        [[part.mean() > 0.025 for part in np.array_split(row, columns, axis=1)] for row in np.array_split(drawn, rows)]
    )


@needs_display
def test_the_demo_leaves_pictures_report_section_and_model(tmp_path: Path) -> None:
    scores = demo(tmp_path / "demo", "--spots", "200")
    assert (scores["verdict"] == "predicted from genes").any()


@pytest.mark.slow
@needs_display
def test_the_demo_of_full_size_predicts_what_follows_genes(tmp_path: Path) -> None:
    # Of ten ions of each of seven kinds, five kinds follow genes in one way or another.
    assert 20 < (demo(tmp_path / "demo")["verdict"] == "predicted from genes").sum() <= 50
