"""Learnability as words and as a figure."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.report.learnability import famous_figure, learnability_lines


@pytest.fixture
def found() -> Learnability:
    n, rng = 12, np.random.default_rng(0)
    table = pd.DataFrame({"moran_i": rng.uniform(size=n), "tier": [1, 2, 3] * 4, "finding": ["smooth"] * n})
    rows = []
    for protocol in ("random", "blocks"):
        for column in ("r2", "r2_coordinates", "gain"):
            table[f"{protocol}_{column}"] = rng.uniform(-1, 1, n)
        for predictor, outcome, rho in (("ridge", "r2", 0.9), ("ridge", "gain", -0.1), ("coordinates", "r2", np.nan)):
            rows.append([protocol, predictor, outcome, "moran_i", rho, rho, n])
    columns = ["protocol", "predictor", "outcome", "property", "spearman", "partial", "n"]
    told = {"protocol": "blocks", "outcome": "r2", "r2": 0.5, "half_width": 0.2, "coverage": 0.88, "level": 0.9}
    told |= {f"importance_{name}": number / 10 for number, name in enumerate(PROPERTIES)}
    protocols = {"random": "Single spots.", "blocks": "Blocks of 500 µm."}
    correlations = pd.DataFrame(rows, columns=columns)
    return Learnability(table, correlations, pd.DataFrame([told]), protocols, "blocks", "ridge", notes=("No pixels.",))


def test_lines_say_tiers_and_what_moran_is_worth(found: Learnability) -> None:
    lines = learnability_lines(found)
    assert lines["judged by"] == "Blocks of 500 µm."
    assert lines["tier 2"].startswith("4 ions: ")
    assert lines["Moran's I, random"] == (
        "Spearman 0.90 with R² of ridge, unknown with R² of coordinates alone, −0.10 with what genes add"
    )
    assert (
        "held 88% where 90% was asked for; most important: signal to noise, mean intensity"
        in lines["r2 from properties"]
    )
    assert lines["note"] == "No pixels."
    found.correlations["spearman"] = np.nan
    lines = learnability_lines(found)
    assert "Moran's I, random" not in lines
    assert lines["Moran's I"].startswith("Fewer than 20 ions could be learned")


def test_the_figure_has_a_column_for_each_split(found: Learnability) -> None:
    figure = famous_figure(found)
    figure.canvas.draw()
    axes = figure.axes
    assert len(axes) == 6
    assert [axis.get_title(loc="left") for axis in axes[:2]] == ["random", "blocks"]
    assert axes[2].get_title(loc="right") == "ρ = 0.90"
    points = np.vstack([each.get_offsets() for each in axes[0].collections])
    assert len(points) == 12
    assert points[:, 1].min() >= -0.25  # worse is drawn at the edge
