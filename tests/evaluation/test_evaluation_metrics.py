import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as peer

from napari_st2msi.evaluation.metrics import MEASURES, Tally, average_precision, pearson, roc_auc, spearman

RNG = np.random.default_rng(0)
Y = RNG.normal(size=(80, 4))
GUESS = 0.5 * Y + RNG.normal(size=(80, 4))
GUESS[:, 3] = np.round(GUESS[:, 3])  # ties
PRESENT = RNG.random((80, 4)) < [0.5, 0.1, 0.9, 0.5]
CHANCE = np.round(RNG.random((80, 4)) * 0.6 + 0.4 * PRESENT, 1)


@pytest.mark.parametrize("ion", range(4))
def test_same_as_scipy_and_scikit_learn(ion):
    assert pearson(Y, GUESS)[ion] == pytest.approx(stats.pearsonr(Y[:, ion], GUESS[:, ion])[0])
    assert spearman(Y, GUESS)[ion] == pytest.approx(stats.spearmanr(Y[:, ion], GUESS[:, ion])[0])
    assert roc_auc(PRESENT, CHANCE)[ion] == pytest.approx(peer.roc_auc_score(PRESENT[:, ion], CHANCE[:, ion]))
    expected = peer.average_precision_score(PRESENT[:, ion], CHANCE[:, ion])
    assert average_precision(PRESENT, CHANCE)[ion] == pytest.approx(expected)


@pytest.mark.parametrize("ion", range(4))
def test_one_fold_gives_the_textbook_scores(ion):
    tally = Tally(4, threshold=0.5)
    tally.add(Y, GUESS, Y.mean(axis=0), PRESENT, CHANCE)
    row = tally.result().iloc[ion]
    truth, called = PRESENT[:, ion], CHANCE[:, ion] >= 0.5
    assert row.r2 == pytest.approx(peer.r2_score(Y[:, ion], GUESS[:, ion]))
    assert row.rmse == pytest.approx(peer.root_mean_squared_error(Y[:, ion], GUESS[:, ion]))
    assert row.precision == pytest.approx(peer.precision_score(truth, called))
    assert row.recall == pytest.approx(peer.recall_score(truth, called))
    assert row.f1 == pytest.approx(peer.f1_score(truth, called))
    assert row.mcc == pytest.approx(peer.matthews_corrcoef(truth, called))
    assert row.brier == pytest.approx(peer.brier_score_loss(truth, CHANCE[:, ion]))
    assert row.rmse_sd == pytest.approx(row.rmse / Y[:, ion].std())
    assert row.roc_auc == pytest.approx(peer.roc_auc_score(truth, CHANCE[:, ion]))


def test_training_means_score_zero_over_folds():
    tally = Tally(4)
    for part, mean in ((slice(0, 30), 3.0), (slice(30, 80), -2.0)):
        reference = np.full(4, mean)
        tally.add(
            Y[part], np.tile(reference, (len(Y[part]), 1)), reference, PRESENT[part], np.full((80, 4), mean)[part]
        )
    scores = tally.result()
    np.testing.assert_allclose(scores.r2, 0, atol=1e-12)
    # Pooled over folds these would be far from 0 and from one half.
    np.testing.assert_allclose(scores.pearson, 0)
    np.testing.assert_allclose(scores.roc_auc, 0.5)


def test_r2_is_against_the_training_mean_and_not_the_held_out_one():
    tally = Tally(1)
    truth = np.array([[10.0], [11.0]])
    tally.add(truth, np.array([[10.5], [10.5]]), np.array([0.0]), truth > 0)
    assert tally.result().r2[0] == pytest.approx(1 - 0.5 / 221)


def test_undefined_is_nan():
    tally = Tally(2)
    zero = np.zeros((10, 2))
    tally.add(zero, zero, np.zeros(2), zero > 0, zero)
    scores = tally.result()
    assert list(scores.columns) == list(MEASURES)
    for name in ("r2", "rmse_sd", "pearson", "spearman", "precision", "recall", "f1", "mcc", "roc_auc", "pr_auc"):
        assert scores[name].isna().all()
    without = Tally(4)
    without.add(Y, GUESS, Y.mean(axis=0), PRESENT)
    assert without.result()[list(MEASURES[5:])].isna().all(axis=None)


def test_calibration_is_the_gap_between_what_was_promised_and_what_came():
    chance = np.repeat([0.05, 0.35, 0.75, 1.0], 200)[:, None]
    there = np.random.default_rng(0).random(chance.shape) < chance
    wrong = np.clip(chance + 0.2, 0, 1)
    tally = Tally(2)
    for part in (slice(0, 300), slice(300, 800)):
        both = np.hstack([chance, wrong])[part]
        twice = np.hstack([there, there])[part]
        tally.add(both, both, both.mean(axis=0), twice, both)
    ece = tally.result()["ece"]
    gaps = [abs(there[chance == level].mean() - level) for level in (0.05, 0.35, 0.75, 1.0)]
    assert ece[0] == pytest.approx(np.mean(gaps))
    assert ece[0] < 0.05
    assert ece[1] == pytest.approx(0.15, abs=0.05)


def test_rmse_over_deviation_is_of_all_folds_together():
    tally = Tally(1)
    truth = np.concatenate([np.zeros(40), np.full(40, 10.0)])[:, None] + Y.reshape(-1)[:80, None]
    guess = truth + 1.0
    for part in (slice(0, 40), slice(40, 80)):
        tally.add(truth[part], guess[part], np.array([7.0]), truth[part] > 0)
    assert tally.result()["rmse_sd"][0] == pytest.approx(1 / truth.std())


@pytest.mark.parametrize("value", [1.0, 0.3, np.log1p(7.3)])
def test_an_ion_that_is_the_same_everywhere_has_no_r2(value):
    truth, train = np.full((50, 1), value), np.full((31, 1), value)
    tally = Tally(1)
    tally.add(truth, np.float32(truth).astype(float), train.mean(axis=0), truth > 0)
    assert np.isnan(tally.result()["r2"][0])
