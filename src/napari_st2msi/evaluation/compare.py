"""Whether one model is better than another: differences on the same spots, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.evaluation.block_errors import DRAWS, LEVEL, interval
from napari_st2msi.evaluation.result import check_same

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation

#: The row of a comparison that is about all ions together.
ALL_IONS = "all ions"


def compare(
    evaluations: Mapping[str, Evaluation],
    *,
    baselines: Sequence[str] = (),
    draws: int = DRAWS,
    level: float = LEVEL,
    seed: int = 0,
) -> pd.DataFrame:
    """Compare models pair by pair, for each ion and over all.

    Intervals are of the paired block bootstrap: squares of tissue are drawn anew, the same for both models, and R²
    of both computed from the errors in them (after Künsch 1989, doi:10.1214/aos/1176347265). They say how far a
    difference holds for other tissue of these sections, not for other sections, and not for models fitted anew.

    Parameters
    ----------
    evaluations
        By name. All of the same spots and scale of ions, held out in the same folds, with the same buffers.
    baselines
        Baselines of the first evaluation to compare with as well, such as ``"coordinates"``.
    draws, level, seed
        Of the bootstrap.

    Returns
    -------
    One row for each pair of models and each ion that both could learn, in the order given, and before them one for
    ``"all ions"``, the median over these. Columns: `model`, `other`, `ion`, `r2`, `r2_other`, `difference` (of R²;
    for all ions the median of the differences), `lower`, `upper`, and `better`: the name of the model that is,
    where the interval leaves out 0, else empty.

    Raises
    ------
    RecipeProblem
        There are fewer than two to compare, or a baseline is unknown.
    DataProblem
        Spots, folds, buffers or the scale of ions differ, or no ion was learned by all.
    """
    names = [*evaluations, *baselines]
    if twice := [name for name in names if names.count(name) > 1]:
        raise RecipeProblem(
            f"'{twice[0]}' is named twice. Give each evaluation a name that no other and no baseline has."
        )
    if not evaluations or len(names) < 2:
        raise RecipeProblem("A comparison needs two models at least. Evaluate another one.")
    ions = _common(evaluations)
    first = next(iter(evaluations.values()))
    unknown = [name for name in baselines if name not in first.errors.sse]
    if unknown:
        raise RecipeProblem(
            f"'{unknown[0]}' is no baseline of this evaluation. Choose from: {', '.join(first.errors.sse)}."
        )
    weight = first.errors.draws(draws, seed)
    entries = {name: (each, each.model) for name, each in evaluations.items()}
    entries |= {name: (first, name) for name in baselines}
    scores: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for name, (evaluation, predictor) in entries.items():
        place = evaluation.table.index.get_indexer(ions)
        scores[name] = (
            evaluation.errors.r2(predictor)[place],
            evaluation.errors.r2(predictor, weight)[:, place],
        )
    return pd.concat([_pair(one, other, scores, ions, level) for one, other in combinations(entries, 2)])


def _pair(
    one: str,
    other: str,
    scores: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    ions: pd.Index,
    level: float,
) -> pd.DataFrame:
    (here, drawn), (there, drawn_there) = scores[one], scores[other]
    gap, gaps = here - there, drawn - drawn_there
    with_all = np.append(np.median(gap), gap)
    low, high = interval(np.column_stack([np.median(gaps, axis=1), gaps]), level)
    return pd.DataFrame(
        {
            "model": one,
            "other": other,
            "ion": [ALL_IONS, *ions],
            "r2": np.append(np.median(here), here),
            "r2_other": np.append(np.median(there), there),
            "difference": with_all,
            "lower": low,
            "upper": high,
            "better": np.where(low > 0, one, np.where(high < 0, other, "")),
        }
    )


def _common(evaluations: Mapping[str, Evaluation]) -> pd.Index:
    """Return the ions that all could learn, after checking that they are about the same spots and folds."""
    (first_name, first), *others = evaluations.items()
    ions = first.learned
    for name, other in others:
        check_same(name, other, f"'{first_name}'", first.prediction.obs_names, first.protocol)
        for part, words in (("test", "held out"), ("train", "trained on")):
            here, there = ([getattr(fold, part).tolist() for fold in each.folds] for each in (first, other))
            if here != there:
                raise DataProblem(
                    f"'{first_name}' and '{name}' {words} other spots, so what their scores differ by says nothing "
                    "of models. Evaluate both with the same protocol, folds, seed and buffer."
                )
        ions = ions[ions.isin(other.learned)]
    if not len(ions):
        raise DataProblem("No ion was learned by all models, so there is nothing to compare.")
    return ions
