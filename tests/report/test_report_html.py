"""The report is one file, says what was done and how well, and lets no name of an ion become code."""

from __future__ import annotations

import re
from base64 import b64decode
from dataclasses import replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import FileProblem
from napari_st2msi.evaluation.result import Evaluation
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.report.html import report_page, write_report
from napari_st2msi.report.measures import measures, over_sections
from napari_st2msi.report.methods import methods
from napari_st2msi.report.table import write_table
from napari_st2msi.report.words import fixed, in_short, quartiles, score_lines, scored

SCRIPT = "<script>alert('&')</script>"
RECIPE = Recipe.model_validate({"model": {"n_alphas": 4}, "evaluation": {"n_folds": 2}, "genes": {"n_top": 30}})


@pytest.fixture(scope="module")
def paired() -> PairedDataset:
    paired = st2msi.simulate(n_spots=150, n_genes=60, ions_per_kind=2, image_px=128, name="S<1>").paired()
    paired.ions.var["name"] = [SCRIPT, *paired.ions.var["name"][1:]]
    # One ion that is never there: learned by nobody, scored by nobody.
    paired.ions.X[:, 3] = 0
    return paired


@pytest.fixture(scope="module")
def evaluation(paired: PairedDataset) -> Evaluation:
    return st2msi.evaluate(paired, RECIPE)


@pytest.fixture(scope="module")
def page(paired: PairedDataset, evaluation: Evaluation) -> str:
    return report_page(evaluation, recipe=RECIPE, paired=paired)


class Reader(HTMLParser):
    """Collects tags, what they link to, and text; complains of tags left open."""

    EMPTY = {"meta", "img", "input", "br", "link"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(page: str) -> None:
    reader = Reader(page)
    names = [tag for tag, _ in reader.tags]
    assert names.count("script") == 1
    assert "link" not in names
    sources = [attributes[key] for _, attributes in reader.tags for key in ("src", "href") if key in attributes]
    assert sources
    assert all(source is not None and source.startswith("data:image/png;base64,") for source in sources)
    assert all(b64decode(source.split(",")[1])[:4] == b"\x89PNG" for source in sources if source)
    assert "url(" not in page
    assert "@import" not in page


def test_names_are_text_and_never_code(page: str) -> None:
    assert SCRIPT not in page
    assert "&lt;script&gt;" in page
    assert "S<1>" not in page
    assert SCRIPT in Reader(page).text


def test_every_ion_has_its_row(page: str, evaluation: Evaluation) -> None:
    flat = evaluation.flat()
    body = page[page.index("<tbody>", page.index('id="ions"')) :]
    rows = body[: body.index("</tbody>")].split("<tr>")[1:]
    assert len(rows) == len(flat) == 14
    assert all(any(f">{mz:.4f}<" in row for row in rows) for mz in flat["mz"])
    best = flat.loc[flat["gain"].idxmax()]
    assert f"[{fixed(best['gain_lower'], 2)}, {fixed(best['gain_upper'], 2)}]" in body
    unlearned = flat["verdict"].str.startswith("not learnable").sum()
    assert sum("not learnable" in row for row in rows) == unlearned > 0


def test_what_was_done_is_said_exactly(page: str, evaluation: Evaluation) -> None:
    text = Reader(page).text
    assert str(evaluation.protocol["note"]) in text
    assert "the 30 most variable were kept" in text
    assert "n_top: 30" in text
    other = Recipe.model_validate({"genes": {"n_top": None, "standardise": False}, "ions": {"normalisation": "tic"}})
    said = dict(methods(evaluation, other))
    assert "all genes were used" in said["Genes"]
    assert "standardised" not in said["Genes"]
    assert "total ion current" in said["Ions"]
    assert "counts as present" not in said["Ions"]
    other = Recipe.model_validate(
        {"genes": {"histology": "texture"}, "ions": {"presence_rule": "noise", "noise_quantile": 0.1}}
    )
    said = dict(methods(evaluation, other))
    assert "within 30 and 60 µm" in said["Genes"]
    assert "10% of all intensities" in said["Ions"]


def test_groups_within_a_section_are_said_to_have_neighbours(evaluation: Evaluation) -> None:
    group = {**evaluation.protocol, "protocol": "leave_group_out", "group": "region"}
    for alone in (True, False):
        grouped = replace(evaluation, protocol=group | {"whole_sections": alone})
        said = dict(methods(grouped, None))["Baselines without genes"]
        assert ("has no neighbours in training" in said) == alone
        assert "Gain: R² above the best" in said


def test_without_a_recipe_nothing_is_made_up(evaluation: Evaluation) -> None:
    assert [heading for heading, _ in methods(evaluation, None)] == [
        "Held-out spots",
        "Baselines without genes",
        "Scores",
    ]
    assert "log1p: " not in report_page(evaluation)


def test_medians_are_over_ions(evaluation: Evaluation, page: str) -> None:
    fair = scored(evaluation.flat())
    assert 0 < len(fair) == evaluation.flat()["learnable"].sum() < 14
    table = quartiles(evaluation.flat(), "two-stage")
    assert table.loc["two-stage", "median"] == pytest.approx(np.median(fair["r2"]))
    assert table.loc["training mean", "median"] == pytest.approx(0, abs=1e-3)
    assert fixed(table.loc["two-stage", "median"], 3) in Reader(page).text
    assert list(score_lines(evaluation))[-1] == "in short"


@pytest.mark.parametrize(
    ("gain", "words"),
    [(0.3, "genes add 0.30 R²"), (0.0, "next to nothing"), (-0.2, "position alone does better")],
)
def test_the_sentence_in_short_is_honest(gain: float, words: str) -> None:
    flat = pd.DataFrame({"r2": [0.5, 0.4], "gain": [gain, gain], "learnable": True, "verdict": "predicted from genes"})
    assert words in in_short(flat)


def test_no_ion_that_could_be_scored(evaluation: Evaluation) -> None:
    flat = evaluation.flat().assign(learnable=False)
    assert "no score" in in_short(flat)


def test_nothing_is_half_written(tmp_path: Path, evaluation: Evaluation, paired: PairedDataset) -> None:
    path = write_report(tmp_path / "report.html", evaluation, recipe=RECIPE, paired=paired, title="A <b> title")
    assert re.search(r"<title>A &lt;b&gt; title</title>", path.read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileProblem, match="could not be written"):
        write_report(tmp_path / "missing" / "report.html", evaluation)
    assert list(tmp_path.iterdir()) == [path]


def test_the_table_reads_back(tmp_path: Path, evaluation: Evaluation) -> None:
    frame = pd.read_csv(write_table(tmp_path / "scores.csv", evaluation), index_col="ion", dtype={"ion": str})
    flat = evaluation.flat()
    assert list(frame.columns) == list(flat.columns)
    np.testing.assert_allclose(frame["r2"], flat["r2"], rtol=1e-4, atol=1e-6)


def test_further_measures_stand_beside_what_the_training_mean_reaches(page: str, evaluation: Evaluation) -> None:
    table, flat = measures(evaluation), scored(evaluation.flat())
    assert table.loc["RMSE / SD", "median"] == pytest.approx(flat["rmse_sd"].median())
    assert table.loc["Pearson", "mean"] == 0
    assert np.isnan(table.loc["SSIM", "mean"])
    assert "genes added to position" not in table.index  # nobody asked for it
    for name in table.index:
        assert f'<td class="text">{escape(name)}</td>' in page
    assert over_sections(evaluation) == ""


def test_the_folds_are_drawn(page: str) -> None:
    assert "Left: spots by the fold in which they were held out" in page
