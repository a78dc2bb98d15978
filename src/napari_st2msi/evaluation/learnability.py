"""Which metabolites can be learned from genes, under every way of holding out, and which properties tell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_st2msi.errors import DataProblem, FileProblem, RecipeProblem
from napari_st2msi.evaluation.ceilings import ceilings
from napari_st2msi.evaluation.evaluate import covered_spots, cross_validate
from napari_st2msi.evaluation.forecast import LEAST_IONS, expected, expected_tiers, forecast
from napari_st2msi.evaluation.learnability_tables import (
    OUTCOMES,
    correlations,
    forecasts,
    judged,
    scores_and_properties,
)
from napari_st2msi.evaluation.nulls import skill_significance
from napari_st2msi.evaluation.properties import PROPERTIES, properties
from napari_st2msi.evaluation.protocols import held_out_by, protocol_words, short_name, strictest
from napari_st2msi.evaluation.result import check_same, scale_facts
from napari_st2msi.evaluation.tiers import Tiers
from napari_st2msi.evaluation.waves import waves
from napari_st2msi.io.one_file import replacing
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.recipe import Recipe

if TYPE_CHECKING:
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.paired import PairedDataset
    from napari_st2msi.section import Section

# How often images are redrawn to ask whether skill is more than smoothness gives.
_SURROGATES = 999
# Files of a folder that `save` wrote.
_FILES = _TABLE, _CSV, _CORRELATIONS, _MODELS, _FACTS = (
    "learnability.parquet", "learnability.csv", "correlations.csv", "forecasts.csv", "learnability.json",
)  # fmt: skip


@dataclass(frozen=True)
class Learnability:
    """What could be learned of each ion, under every protocol, and why.

    Attributes
    ----------
    table
        One row an ion. What it is: `mz`, `name`, `formula`, `adduct`, `label`, `class`. What it is like:
        `moran_i`, `ceiling`, `ceiling_source`, `sparsity`, `dynamic_range`, `skewness`, `entropy`, `mean_intensity`,
        `signal_to_noise`. Of each protocol P: `P_r2`, `P_gain` (over the best of training mean, coordinates and
        position), its interval `P_gain_lower` and `P_gain_upper`, `P_gain_coordinates`, `P_gain_position` (over that
        alone, or the mean where that is better), `P_r2_coordinates`, `P_r2_position`, `P_pearson`, `P_spearman`,
        `P_skill_p`, `P_skill_q` (how often an image redrawn with its smoothness is predicted as well, and the false
        discovery rate; see `napari_st2msi.skill_significance`).
        Judged by one protocol: `learnable`, `relative_r2` (R² as a share of the ceiling), `tier` (1 to 3),
        `finding`, `reason`; and out of fold, from the ion's properties alone: `tier_likely_1` to `tier_likely_3`.
    correlations
        One row for each protocol, predictor (the model, ``coordinates``, ``position``), outcome (``r2``, ``gain``) and
        property: `spearman`, `partial` (given all other properties), `n`.
    forecasts
        One row for each protocol and outcome (``r2``, ``gain``) of the model: how well properties tell it on ions not
        seen (`r2`, `spearman`), the `half_width` of intervals and their `coverage`, and `importance_PROPERTY`.
    protocols
        Names of the protocols in the order asked for, each with what was held out in words.
    judged_by
        The protocol that tiers are judged by.
    model
        Name of the model.
    criteria
        Of the tiers.
    notes
        What could not be done, in words.
    evaluations
        By protocol; empty when read from a folder.
    """

    table: pd.DataFrame
    correlations: pd.DataFrame
    forecasts: pd.DataFrame
    protocols: dict[str, str]
    judged_by: str
    model: str
    criteria: Tiers = field(default_factory=Tiers)
    notes: tuple[str, ...] = ()
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict, repr=False)

    @property
    def counts(self) -> dict[int, int]:
        """How many ions are in each tier."""
        return {number: int((self.table["tier"] == number).sum()) for number in (1, 2, 3)}

    def judged(self, criteria: Tiers | None = None, by: str | None = None) -> Learnability:
        """Return the same with other criteria, or judged by another protocol. No ion is predicted anew.

        Raises
        ------
        RecipeProblem
            There is no such protocol.
        """
        criteria, by = self.criteria if criteria is None else criteria, self.judged_by if by is None else by
        if by not in self.protocols:
            raise RecipeProblem(f"Nothing was held out by '{by}'. Choose from: {', '.join(self.protocols)}.")
        return replace(self, table=judged(self.table, by, criteria), judged_by=by, criteria=criteria)

    def famous(self) -> pd.DataFrame:
        """Return protocols × (predictor, outcome): Spearman's correlation of Moran's I with skill and with gain."""
        own = self.correlations[self.correlations["property"] == "moran_i"]
        table = own.pivot_table(
            index="protocol", columns=["predictor", "outcome"], values="spearman", sort=False, dropna=False
        )
        return table.reindex(list(self.protocols))

    def spearman(self, protocol: str, outcome: str, *, of: str = "moran_i", predictor: str | None = None) -> float:
        """Return how a property ranks ions as an outcome does; of the model unless a baseline is named.

        Raises
        ------
        RecipeProblem
            There is no such protocol, outcome, property or predictor.
        """
        own = self.correlations
        wanted = {
            "protocol": protocol,
            "outcome": outcome,
            "property": of,
            "predictor": self.model if predictor is None else predictor,
        }
        for column, value in wanted.items():
            if value not in (there := own[column].unique()):
                raise RecipeProblem(f"There is no {column} '{value}' here. Choose from: {', '.join(map(str, there))}.")
            own = own[own[column] == value]
        return float(own["spearman"].iloc[0])

    def expect(self, new: pd.DataFrame, *, seed: int = 0) -> pd.DataFrame:
        """Return what to expect of ions that were not predicted, from their properties.

        Parameters
        ----------
        new
            Ions × properties, as `napari_st2msi.evaluation.properties.properties` returns them; some may be missing.

        Returns
        -------
        DataFrame
            `tier` (the likeliest), `tier_likely_1` to `tier_likely_3`, and for skill and gain under the protocol that
            tiers are judged by `r2`, `r2_lower`, `r2_upper`, `gain`, `gain_lower`, `gain_upper` (90 % intervals;
            `forecasts` says how many they held out of fold).

        Raises
        ------
        DataProblem
            There are too few ions to learn from.
        """
        known = self.table[list(PROPERTIES)]
        new = new.reindex(columns=list(PROPERTIES))
        tried = self.table["learnable"].astype(bool)
        parts: list[pd.DataFrame] = []
        for outcome in OUTCOMES:
            goal = self.table.loc[tried, f"{self.judged_by}_{outcome}"].dropna()
            found = forecast(known.loc[goal.index], goal, seed=seed)
            if found is None:
                raise DataProblem(
                    f"There are fewer than {LEAST_IONS} ions to learn from, or all are alike. Nothing can be expected."
                )
            guess = expected(new, known.loc[goal.index], found, goal, seed=seed)
            parts.append(guess.set_axis([outcome, f"{outcome}_lower", f"{outcome}_upper"], axis=1))
        likely = expected_tiers(new, known, self.table["tier"], seed=seed).reindex(columns=[1, 2, 3], fill_value=0.0)
        tier = likely.idxmax(axis=1).rename("tier").to_frame()
        return pd.concat([tier, likely.add_prefix("tier_likely_"), *parts], axis=1)

    def save(self, folder: str | Path) -> Path:
        """Write a folder: the table as parquet and CSV, correlations and forecasts as CSV, the rest as JSON.

        Raises
        ------
        FileProblem
            It cannot be written.
        """
        folder = Path(folder)
        facts = {
            "protocols": self.protocols,
            "judged_by": self.judged_by,
            "model": self.model,
            "criteria": self.criteria.model_dump(),
            "notes": list(self.notes),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileProblem(f"'{folder}' cannot be written: {error.strerror or error}.") from error
        with ExitStack() as files:  # none takes its place before all are written
            places = {name: files.enter_context(replacing(folder / name)) for name in _FILES}
            self.table.to_parquet(places[_TABLE])
            self.table.to_csv(places[_CSV], index_label="ion", float_format="%.6g")
            self.correlations.to_csv(places[_CORRELATIONS], index=False, float_format="%.6g")
            self.forecasts.to_csv(places[_MODELS], index=False, float_format="%.6g")
            places[_FACTS].write_text(json.dumps(facts, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def load(cls, folder: str | Path) -> Learnability:
        """Read what `save` wrote.

        Raises
        ------
        FileProblem
            Something is missing or cannot be read.
        """
        folder = Path(folder)
        try:
            facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
            return cls(
                pd.read_parquet(folder / _TABLE),
                pd.read_csv(folder / _CORRELATIONS),
                pd.read_csv(folder / _MODELS),
                facts["protocols"],
                facts["judged_by"],
                facts["model"],
                Tiers.model_validate(facts["criteria"]),
                tuple(facts["notes"]),
            )
        except (OSError, ValueError, KeyError) as error:
            raise FileProblem(f"'{folder}' holds no learnability that can be read: {error}.") from error


def learnability(
    paired: PairedDataset,
    recipe: Recipe | None = None,
    *,
    protocols: Sequence[str] = ("random", "blocks"),
    section: Section | Sequence[Section] | None = None,
    adjacent_sections: tuple[str, str] | None = None,
    evaluations: Mapping[str, Evaluation] | None = None,
    criteria: Tiers | None = None,
    judged_by: str | None = None,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Learnability:
    """Find for each ion what it is like, how well it is predicted under every protocol, its tier, and what tells it.

    Parameters
    ----------
    recipe
        The model and its choices; how spots are held out comes from `protocols`.
    protocols
        Names as `recipe.evaluation.protocol` has them; ``leave_group_out:donor`` also says the group.
    section
        What the spots were paired from, so that the pixels of spots can be halved for ceilings.
    adjacent_sections
        Names of two sections that lie next to each other in the tissue block, for ceilings.
    evaluations
        Of the same spots, model and scale of ions, by name of the protocol or by that of its columns: what is there is
        not done again. Where `protocols` does not name them, they are looked at as well.
    judged_by
        The protocol that tiers are judged by; None for the strictest.

    Raises
    ------
    RecipeProblem
        A protocol is unknown or not given, or evaluations are of different models.
    DataProblem
        Evaluations are of other spots or ions, or on another scale; or as `napari_st2msi.evaluate`.
    """
    recipe = Recipe() if recipe is None else recipe
    given = [(short_name(name), each) for name, each in (evaluations or {}).items()]
    intervals = recipe.intervals.model_copy(update={"make_intervals": "never"})
    quick = recipe.model_copy(update={"intervals": intervals})
    asked = {short_name(name): held_out_by(quick, name) for name in protocols}
    found = dict(given)
    names = [*asked, *(name for name in found if name not in asked)]
    if not names or len(asked) < len(protocols) or len(found) < len(given):
        raise RecipeProblem("Name one or more protocols, each once, for example random and blocks.")
    by = None if judged_by is None else short_name(judged_by)
    if by is not None and by not in names:
        raise RecipeProblem(
            f"Tiers cannot be judged by '{judged_by}', which is not tried. Choose from: {', '.join(names)}."
        )
    covered, _ = covered_spots(paired)
    _check(found, covered, recipe, to_do=[name for name in names if name not in found])
    progress(0.0, "what is reproducible of ions")
    limits = ceilings(
        covered, recipe.ions, section=section, adjacent_sections=adjacent_sections,
        progress=progress.part(0.0, 0.05), cancelled=cancelled,
    )  # fmt: skip
    check(cancelled)
    progress(0.05, "what ions are like")
    known = properties(covered, recipe.ions, ceiling=limits.ceiling)
    check(cancelled)
    patterns = waves(covered.xy, covered.sections, progress=progress.part(0.06, 0.1), cancelled=cancelled)
    beyond: dict[str, pd.DataFrame] = {}
    for number, name in enumerate(names):
        check(cancelled)
        part = progress.part(0.1 + 0.85 * number / len(names), 0.1 + 0.85 * (number + 1) / len(names))
        if name not in found:
            whole = part.part(0.0, 0.9).named(protocol_words(name))
            found[name] = cross_validate(paired, asked[name], progress=whole, cancelled=cancelled)
        beyond[name] = skill_significance(
            found[name].prediction,
            n_surrogates=_SURROGATES,
            known=patterns,
            progress=part.part(0.9, 1.0).named(protocol_words(name)),
            cancelled=cancelled,
        )
    check(cancelled)
    progress(0.95, "properties and skill")
    found = {name: found[name] for name in names}
    if by is None:
        uncut = [name for name, each in found.items() if each.protocol["whole_sections"]]
        by = strictest({name: str(each.protocol["protocol"]) for name, each in found.items()}, uncut)
    model, criteria = found[by].model, Tiers() if criteria is None else criteria
    table = judged(scores_and_properties(found, beyond, known, limits.table["source"]), by, criteria)
    check(cancelled)
    correlated = correlations(table, names, model)
    check(cancelled)
    return Learnability(
        table,
        correlated,
        forecasts(table, names),
        {name: str(each.protocol["note"]) for name, each in found.items()},
        by,
        model,
        criteria,
        limits.notes,
        found,
    )


def _check(found: Mapping[str, Evaluation], covered: PairedDataset, recipe: Recipe, to_do: Sequence[str]) -> None:
    """Refuse evaluations that do not go together, before any work."""
    models = {each.model for each in found.values()} | ({recipe.model.name} if to_do else set())
    if len(models) > 1:
        raise RecipeProblem(f"The evaluations are of different models: {', '.join(sorted(models))}. Give those of one.")
    for name, each in found.items():
        check_same(name, each, "the paired spots and the recipe", covered.genes.obs_names, scale_facts(recipe.ions))
        if not each.table.index.equals(covered.ions.var_names):
            raise DataProblem(f"The evaluation '{name}' is of other ions than the paired spots have. Evaluate these.")
