import time
from threading import Event
from unittest.mock import Mock

import numpy as np
import pytest
from scipy.stats import kstest

import napari_st2msi as st2msi
from napari_st2msi.errors import DataProblem, GeometryProblem, RecipeProblem
from napari_st2msi.evaluation import nulls
from napari_st2msi.evaluation import waves as patterns
from napari_st2msi.evaluation.discovery import q_values
from napari_st2msi.evaluation.nulls import association, skill_significance
from napari_st2msi.evaluation.waves import waves
from napari_st2msi.features.spatial import neighbour_graph
from napari_st2msi.progress import Cancelled
from napari_st2msi.recipe import Recipe


@pytest.fixture(scope="module")
def smooth():
    """Pairs of smooth ions that know nothing of each other, in sections of two kinds of tissue."""
    found = []
    for seed, tissue in enumerate(["brain", "tonsil", "brain"]):
        choices = {"n_spots": 300, "n_genes": 20, "ions_per_kind": {"smooth": 150}, "image_px": 128}
        paired = st2msi.simulate(**choices, seed=seed, tissue=tissue).paired()
        found.append((np.log1p(np.asarray(paired.ions.X, dtype=float)), paired.xy, paired.sections))
    return found


def together(smooth, null):
    tables = [association(x[:, :75], x[:, 75:], *place, null=null, n_surrogates=499) for x, *place in smooth]
    return np.concatenate([table["p"] for table in tables])


def test_independent_smooth_ions_have_uniform_p_and_by_permutation_they_have_not(smooth):
    kept, lost = together(smooth, "spectral"), together(smooth, "permutation")
    assert kstest(kept, "uniform").pvalue > 0.05
    assert 0.02 < (kept <= 0.05).mean() < 0.09
    # A test that forgets smoothness believes a quarter of them.
    assert kstest(lost, "uniform").pvalue < 1e-6
    assert (lost <= 0.05).mean() > 0.2


@pytest.mark.parametrize("length", [0.15, 0.6])
def test_also_fields_that_change_once_over_the_section_are_believed_seldom(smooth, length):
    _, xy, _ = smooth[0]
    rng = np.random.default_rng(0)
    distance = np.linalg.norm(xy[:, None] - xy, axis=2) / np.ptp(xy, axis=0).max()
    root = np.linalg.cholesky(np.exp(-((distance / length) ** 2) / 2) + 0.1 * np.eye(len(xy)))
    x, y = root @ rng.normal(size=(2, len(xy), 1000))
    believed = {
        null: (association(x, y, xy, null=null, n_surrogates=499)["p"] <= 0.05).mean()
        for null in ("spectral", "permutation")
    }
    assert 0.02 < believed["spectral"] < 0.1
    assert believed["permutation"] > 0.3


def test_what_is_shared_is_found_beside_what_is_only_smooth(smooth):
    values, xy, sections = smooth[0]
    truth, other = values[:, :20], values[:, 20:40]
    guess = other.copy()
    guess[:, :10] += truth[:, :10]
    table = association(truth, guess, xy, sections, names=[f"ion {i}" for i in range(20)])
    assert (table["q"][:10] < 0.1).sum() >= 9
    assert (table["q"][10:] < 0.1).sum() <= 1
    centred = truth[:, 0] - truth[:, 0].mean(), guess[:, 0] - guess[:, 0].mean()
    assert table.loc["ion 0", "r"] == pytest.approx(np.corrcoef(*centred)[0, 1])
    # The opposite of a truth is no skill.
    assert (association(truth, -truth, xy, sections)["p"] > 0.99).all()


def test_several_sections_are_redrawn_each_by_itself(smooth):
    values = np.concatenate([x[:, :100] + 30 * number for number, (x, *_) in enumerate(smooth)])
    xy = np.concatenate([place for _, place, _ in smooth])
    sections = np.repeat(["a", "b", "c"], [len(x) for x, *_ in smooth])
    known = waves(xy, sections)
    table = association(values[:, :50], values[:, 50:], xy, sections, known=known, n_surrogates=499)
    # Levels of sections are no association.
    assert kstest(table["p"], "uniform").pvalue > 0.01
    turn = np.random.default_rng(0).permutation(len(xy))
    other = association(values[turn, :50], values[turn, 50:], xy[turn], sections[turn], n_surrogates=499)
    np.testing.assert_allclose(table["r"], other["r"])
    assert np.abs(table["p"] - other["p"]).max() < 0.15


def test_redrawn_images_keep_length_and_smoothness():
    rng = np.random.default_rng(0)
    xy = rng.uniform(size=(101, 2))
    known = waves(xy)
    (_, modes), one = known.modes[0], np.repeat("section", 101)
    assert modes.shape == (101, 100)
    np.testing.assert_allclose(modes.T @ modes, np.eye(100), atol=1e-4)
    np.testing.assert_allclose(modes.sum(axis=0), 0, atol=1e-3)
    graph = neighbour_graph(xy, one)
    mutual = (graph + graph.T).toarray() > 0
    rough = ((modes.T[:, :, None] - modes.T[:, None]) ** 2 * mutual).sum(axis=(1, 2))
    assert (np.diff(rough) > -1e-2).all()
    # The surrogates of an image against itself are cosines between the image and them: 1 at most, far less at most.
    image = known.gathered(rng.normal(size=(101, 1)))
    drawn = np.concatenate(list(nulls._turned(image, image, known, 2000, rng)))
    assert np.abs(drawn).max() < 1
    assert abs(drawn.mean()) < 0.02


def test_shifts_are_exact_for_periodic_images_and_need_a_rectangle():
    rng = np.random.default_rng(0)
    row, column = np.divmod(np.arange(24 * 20), 20)
    xy = np.column_stack([column, row]) * 50.0
    both = np.concatenate([xy, xy + 5000])
    sections = np.repeat(["a", "b"], len(xy))
    wave = np.exp(-0.5 * ((np.fft.fftfreq(24)[:, None] * 20) ** 2 + (np.fft.fftfreq(20) * 20) ** 2) / 2)
    noise = rng.normal(size=(2, 2, 300, 24, 20))
    images = np.fft.ifft2(np.fft.fft2(noise) * wave).real.reshape(2, 2, 300, -1)
    x, y = images.transpose(0, 1, 3, 2).reshape(2, 2 * len(xy), 300)
    table = association(x, y, both, sections, null="shift", n_surrogates=999)
    assert kstest(table["p"], "uniform").pvalue > 0.01
    # The same image elsewhere is what the null draws: only in place it stands out.
    assert association(x, x, both, sections, null="shift", n_surrogates=999)["p"].max() < 0.02
    turned = np.roll(x.reshape(2, 24, 20, 300), (5, 7), axis=(1, 2)).reshape(x.shape)
    assert association(x, turned, both, sections, null="shift", n_surrogates=999)["p"].median() > 0.1
    with pytest.raises(GeometryProblem, match="section 'a' do not fill a rectangle"):
        association(x[1:], y[1:], both[1:], sections[1:], null="shift")
    hexagons = xy + np.column_stack([row % 2 * 25.0, 0 * row])
    with pytest.raises(GeometryProblem, match="spectral"):
        association(x[:480], y[:480], hexagons, null="shift")


def test_large_sections_are_compared_in_squares(smooth, monkeypatch):
    values, xy, sections = smooth[0]
    monkeypatch.setattr(patterns, "MOST_SPOTS", 120)
    known = waves(xy, sections)
    assert 60 < len(known.xy) <= 120
    assert len(known.modes[0][1]) == len(known.xy)
    means = known.gathered(np.column_stack([xy[:, 0], np.ones(len(xy))]))
    np.testing.assert_allclose(np.corrcoef(means[:, 0], known.xy[:, 0])[0, 1], 1)
    assert np.isnan(means[:, 1]).all()
    table = association(values[:, :75], values[:, 75:], xy, sections, known=known, n_surrogates=499)
    assert kstest(table["p"], "uniform").pvalue > 0.01
    assert association(values, values, xy, sections)["p"].max() == 1 / 10000


def test_large_sections_share_the_squares_that_there_may_be(smooth, monkeypatch):
    values = np.concatenate([x for x, *_ in smooth])
    xy, sections = np.concatenate([place for _, place, _ in smooth]), np.repeat(["a", "b", "c"], [300, 300, 300])
    monkeypatch.setattr(patterns, "MOST_SPOTS", 400)
    known = waves(xy, sections)
    assert 200 < len(known.xy) <= 400
    counts = np.unique(known.sections, return_counts=True)[1]
    assert (counts <= 133).all()
    table = association(values[:, :75], values[:, 75:], xy, sections, known=known, n_surrogates=499)
    assert kstest(table["p"], "uniform").pvalue > 0.01


def test_a_decomposition_lets_the_window_work():
    asked = []

    def ask() -> bool:
        asked.append(time.monotonic())
        return False

    waves(np.random.default_rng(0).uniform(size=(2000, 2)), cancelled=ask)
    ended = time.monotonic()
    # One that kept the interpreter would not ask before it is done.
    assert np.diff([*asked, ended]).max() < (ended - asked[0]) / 2


def test_a_decomposition_is_left_to_itself_when_the_user_stops():
    release, asked = Event(), iter([False, False, True])
    with pytest.raises(Cancelled):
        patterns._patiently(lambda: np.zeros(int(release.wait(60))), lambda: next(asked))
    release.set()
    with pytest.raises(MemoryError):
        patterns._patiently(Mock(side_effect=MemoryError), lambda: False)


def test_bad_input_is_refused_in_words(smooth):
    values, xy, sections = smooth[0]
    truth = values[:, :3].copy()
    truth[:, 1] = 7.3
    table = association(truth, values[:, :3], xy, sections, n_surrogates=99)
    assert table.iloc[1].isna().all()
    assert table.iloc[[0, 2]].notna().all(axis=None)
    with pytest.raises(DataProblem, match="Truth has 3 ions, the prediction 2"):
        association(truth, truth[:, :2], xy)
    with pytest.raises(DataProblem, match="do not fit together"):
        association(truth, truth, xy[1:])
    with pytest.raises(DataProblem, match="waves are of 300 spots, the values of 299"):
        association(truth[1:], truth[1:], xy[1:], known=waves(xy))
    with pytest.raises(RecipeProblem, match="no null 'torus'"):
        association(truth, truth, xy, null="torus")
    with pytest.raises(RecipeProblem, match="At least one"):
        association(truth, truth, xy, n_surrogates=0)
    with pytest.raises(Cancelled):
        association(truth, truth, xy, cancelled=lambda: True)
    truth[5, 0] = np.nan
    with pytest.raises(DataProblem, match="1 of the values are missing"):
        association(truth, values[:, :3], xy)
    one = association(values[:1, :2], values[:1, :2], xy[:1], n_surrogates=9)
    assert one.isna().all(axis=None)


def test_an_evaluation_says_which_ions_are_predicted_beyond_smoothness():
    choices = {"n_spots": 300, "n_genes": 120, "ions_per_kind": {"linear": 6, "noise": 6}, "image_px": 128}
    simulation = st2msi.simulate(**choices)
    paired = simulation.paired()
    recipe = Recipe.model_validate({"model": {"name": "ridge", "n_alphas": 4}, "evaluation": {"n_folds": 3}})
    evaluation = st2msi.evaluate(paired, recipe)
    table = skill_significance(evaluation.prediction)
    kind = simulation.truth.ions.loc[table.index, "kind"]
    assert (table["skill_q"][kind == "linear"] < 0.01).all()
    assert (table["skill_q"][kind == "noise"] > 0.05).all()
    # Ions that could not be learned are not tested, and do not count among those that are.
    prediction = evaluation.prediction.copy()
    prediction.var["learnable"] = (kind == "linear").to_numpy()
    fewer = skill_significance(prediction)
    assert fewer[kind == "noise"].isna().all(axis=None)
    np.testing.assert_allclose(fewer["skill_q"][kind == "linear"], q_values(fewer["skill_p"][kind == "linear"]))
    prediction.var["learnable"] = False
    assert skill_significance(prediction).isna().all(axis=None)
    del evaluation.prediction.layers["measured"]
    with pytest.raises(DataProblem, match="does not hold what was measured"):
        skill_significance(evaluation.prediction)
