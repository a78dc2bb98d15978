"""What properties of ions say about an outcome: rank correlations, and a model judged on ions it has not seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.evaluation.metrics import pearson, spearman

#: Folds of ions, and the least number of ions from which anything is said.
FOLDS, LEAST_IONS = 5, 20
#: How sure intervals for new ions are.
LEVEL = 0.9
# How often a property is dealt out anew to see what it was worth.
_REPEATS = 5


@dataclass(frozen=True)
class Forecast:
    """A model of an outcome from properties, judged out of fold.

    Attributes
    ----------
    predicted
        Of each ion, by a model that had not seen it; NaN for ions without the outcome.
    r2, spearman
        Of these predictions.
    importance
        By property: how much R² is lost on held-out ions when its values are dealt out anew among them.
    half_width
        What predictions of new ions are sure to, at `LEVEL`.
    coverage
        Share of ions within the interval that ions of the other folds give.
    """

    predicted: pd.Series
    r2: float
    spearman: float
    importance: pd.Series
    half_width: float
    coverage: float


def rank_correlations(properties: pd.DataFrame, outcome: pd.Series) -> pd.DataFrame:
    """Return how each property goes with an outcome, alone and given all others.

    Parameters
    ----------
    properties
        Ions × numbers; ions that lack any or the outcome are left out, as are properties that do not vary.

    Returns
    -------
    DataFrame
        Properties × `spearman`, `partial` (correlation of the ranks after a linear regression of both on the ranks of
        all other properties; NaN where the others say all of it), `n` (ions).
    """
    from scipy.stats import rankdata

    table = usable(properties).assign(outcome=outcome).replace([np.inf, -np.inf], np.nan).dropna()
    rows = {name: {"spearman": np.nan, "partial": np.nan, "n": len(table)} for name in properties}
    varying = [name for name in table if name != "outcome" and np.ptp(table[name]) > 0]
    if len(table) >= LEAST_IONS and np.ptp(table["outcome"]) > 0:
        ranks = pd.DataFrame(rankdata(table, axis=0), index=table.index, columns=table.columns)
        ranks = (ranks - ranks.mean()) / ranks.std().replace(0.0, 1.0)
        for name in varying:
            others = ranks[[other for other in varying if other != name]].to_numpy()
            own, goal = (_left(ranks[column].to_numpy(), others) for column in (name, "outcome"))
            rows[name]["spearman"] = _correlation(ranks[name].to_numpy(), ranks["outcome"].to_numpy())
            rows[name]["partial"] = _correlation(own, goal)
    return pd.DataFrame.from_dict(rows, orient="index")


def forecast(properties: pd.DataFrame, outcome: pd.Series, *, seed: int = 0) -> Forecast | None:
    """Fit boosted trees on the ranks of properties, and judge them on ions they have not seen.

    Returns
    -------
    None where fewer than 20 ions have the outcome, or it is the same for all.
    """
    properties = usable(properties)
    goal = outcome.astype(float).replace([np.inf, -np.inf], np.nan).dropna()
    if len(goal) < LEAST_IONS or np.ptp(goal) == 0 or not len(properties.columns):
        return None
    x, y = properties.loc[goal.index].to_numpy(dtype=float), goal.to_numpy(dtype=np.float64)
    rng = np.random.default_rng(seed)
    fold = rng.permutation(len(y)) % FOLDS
    predicted = np.full(len(y), np.nan)
    lost = np.zeros((x.shape[1], len(y)))
    for number in range(FOLDS):
        train, held = fold != number, fold == number
        ranks = Ranks(x[train])
        model = _trees(seed).fit(ranks(x[train]), y[train])
        seen = ranks(x[held])
        predicted[held] = model.predict(seen)
        for column in range(x.shape[1]):
            for _ in range(_REPEATS):
                dealt = seen.copy()
                dealt[:, column] = rng.permutation(dealt[:, column])
                lost[column, held] += (model.predict(dealt) - y[held]) ** 2 / _REPEATS
    error = (y - predicted) ** 2
    total = ((y - y.mean()) ** 2).sum()
    off = np.sqrt(error)
    inside = [off[fold == k] <= _half_width(off[fold != k]) for k in range(FOLDS)]
    return Forecast(
        pd.Series(predicted, index=goal.index).reindex(outcome.index),
        float(1 - error.sum() / total),
        float(spearman(y[:, None], predicted[:, None])[0]),
        pd.Series((lost.sum(axis=1) - error.sum()) / total, index=properties.columns),
        _half_width(off),
        float(np.concatenate(inside).mean()),
    )


def tier_forecast(properties: pd.DataFrame, tier: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Return out of fold how likely each tier is for each ion: ions × the tiers there are; rows sum to 1.

    NaN where there are fewer than 20 ions.
    """
    properties = usable(properties)
    x, y = properties.to_numpy(dtype=float), tier.to_numpy()
    fold = np.random.default_rng(seed).permutation(len(y)) % FOLDS
    likely = pd.DataFrame(np.nan, index=tier.index, columns=np.unique(y))
    if len(y) < LEAST_IONS:
        return likely
    for number in range(FOLDS):
        held = fold == number
        likely.loc[held] = _likely(x[~held], y[~held], x[held], list(likely.columns), seed)
    return likely


def expected(
    properties: pd.DataFrame, known: pd.DataFrame, found: Forecast, outcome: pd.Series, *, seed: int = 0
) -> pd.DataFrame:
    """Return what to expect of new ions: `expected`, `lower`, `upper`.

    Parameters
    ----------
    properties
        New ions × properties.
    known
        Ions that were measured × properties, with their `outcome`, and what `forecast` found on them.
    """
    names = list(usable(known).columns)
    goal = outcome.astype(float).dropna()
    ranks = Ranks(known.loc[goal.index, names].to_numpy(dtype=float))
    model = _trees(seed).fit(ranks(known.loc[goal.index, names].to_numpy(dtype=float)), goal.to_numpy())
    middle = model.predict(ranks(properties[names].to_numpy(dtype=float)))
    columns = {"expected": middle, "lower": middle - found.half_width, "upper": middle + found.half_width}
    return pd.DataFrame(columns, index=properties.index)


def expected_tiers(properties: pd.DataFrame, known: pd.DataFrame, tier: pd.Series, *, seed: int = 0) -> pd.DataFrame:
    """Return how likely each tier is for new ions."""
    names = list(usable(known).columns)
    tiers = sorted(tier.unique())
    x, new = known[names].to_numpy(dtype=float), properties[names].to_numpy(dtype=float)
    return pd.DataFrame(_likely(x, tier.to_numpy(), new, tiers, seed), index=properties.index, columns=tiers)


def usable(properties: pd.DataFrame) -> pd.DataFrame:
    """Return the properties that are known for any ion."""
    return properties.loc[:, properties.notna().any()]


class Ranks:
    """Where values lie among those of training, 0 to 1; a missing one in the middle."""

    def __init__(self, values: NDArray[np.float64]) -> None:
        self._sorted = [np.sort(column[np.isfinite(column)]) for column in values.T]

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, properties) ranks."""
        ranks = np.full(values.shape, 0.5)
        for number, known in enumerate(self._sorted):
            there = np.isfinite(values[:, number])
            if len(known):
                left, right = (np.searchsorted(known, values[there, number], side=side) for side in ("left", "right"))
                ranks[there, number] = (left + right) / (2 * len(known))
        return ranks


def _likely(
    x: NDArray[np.float64], y: NDArray[Any], new: NDArray[np.float64], tiers: Sequence[Any], seed: int
) -> NDArray[np.float64]:
    from sklearn.ensemble import GradientBoostingClassifier

    likely = np.zeros((len(new), len(tiers)))
    there = np.unique(y)
    places = [list(tiers).index(value) for value in there]
    if len(there) == 1:
        likely[:, places[0]] = 1.0
        return likely
    ranks = Ranks(x)
    model = GradientBoostingClassifier(
        n_estimators=60, learning_rate=0.05, max_depth=2, subsample=0.7, min_samples_leaf=5, random_state=seed
    ).fit(ranks(x), y)
    likely[:, places] = model.predict_proba(ranks(new))
    return likely


def _trees(seed: int) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor

    return GradientBoostingRegressor(
        n_estimators=120, learning_rate=0.05, max_depth=2, subsample=0.7, min_samples_leaf=5, random_state=seed
    )


def _half_width(off: NDArray[np.float64]) -> float:
    """Return the split-conformal half width at `LEVEL` (Vovk et al. 2005, doi:10.1007/b106715)."""
    share = min(1.0, LEVEL * (len(off) + 1) / len(off))
    return float(np.quantile(off, share, method="higher"))


def _left(values: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what a linear regression on others leaves of standardised values; nothing if that is rounding."""
    if not others.shape[1]:
        return values
    rest = values - others @ np.linalg.lstsq(others, values, rcond=None)[0]
    return rest if (rest**2).mean() > 1e-8 else np.zeros_like(values)


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    return float(pearson(one[:, None], other[:, None])[0])
