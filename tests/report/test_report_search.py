"""The picture of a search shows every trial, and one absurd trial does not hide the others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from napari_st2msi.report.figures import png
from napari_st2msi.report.search import history_figure


def history(r2: list[float], states: list[str] | None = None) -> pd.DataFrame:
    frame = pd.DataFrame({"trial": range(len(r2)), "state": states or ["scored"] * len(r2), "r2": r2})
    return frame.assign(best=frame["r2"].where(frame["state"] == "scored").cummax().ffill())


def test_each_search_has_its_panel_and_each_trial_its_dot() -> None:
    states = ["scored", "given up", "scored", "failed"]
    searches = {f"fold {number}": history([0.1, 0.05, 0.2, np.nan], states) for number in range(4)}
    figure = history_figure(searches)
    shown = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in shown] == list(searches)
    scored, given_up = shown[0].collections
    assert scored.get_offsets().tolist() == [[0, 0.1], [2, 0.2]]
    assert given_up.get_offsets().tolist() == [[1, 0.05]]
    np.testing.assert_allclose(shown[0].lines[0].get_ydata(), [0.1, 0.1, 0.2, 0.2])
    assert png(figure)[:4] == b"\x89PNG"


def test_an_absurd_trial_is_drawn_at_the_edge() -> None:
    (axis,) = history_figure({"": history([0.3, -50.0, 0.31, 0.32, 0.3])}).axes
    assert axis.collections[0].get_offsets()[:, 1].min() > 0.2


@pytest.mark.parametrize("r2", [[], [np.nan], [0.1]])
def test_hardly_any_trial(r2: list[float]) -> None:
    assert png(history_figure({"": history(r2)}))[:4] == b"\x89PNG"
