"""The model card: what a person should know of a model before using it, as Markdown.

It is written from the model and never read back (Mitchell et al. 2019, Model cards for model reporting,
doi:10.1145/3287560.3287596).
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from napari_st2msi.evaluation.conformal import COLUMNS
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.models.registry import BASELINES
from napari_st2msi.training.familiarity import EXPECTED

_FEW_SECTIONS = 3
_SHOWN = 20
#: What was seen of one section, and of two, and how penalties were chosen then.
_SEEN = (
    "one section. Its penalties were chosen on blocks of tissue",
    "two sections. Its penalties were chosen by holding out each once, and on blocks of tissue",
)


def card(model: Any) -> str:
    """Return the card of a model as Markdown.

    Parameters
    ----------
    model
        A `napari_st2msi.training.folder.TrainedModel`, which writes its card into its folder.
    """
    paragraphs = [
        f"# {model.predictor.name.replace('_', '-')}: {len(model.ions):,} ions from {len(model.genes):,} genes",
        f"Fitted on {model.created} with napari-st2msi {model.versions.get('napari-st2msi', '')}. "
        f"It assumes: {model.predictor.assumes}",
        "## Data",
        _data(model),
        _stained(model),
        "## Skill on spots that it did not see",
        *_scores(model),
        "## Intervals",
        *_intervals(model),
        "## Spots unlike those of training",
        _familiar(model),
        "## Where not to use it",
        "\n".join(f"- {line}" for line in limits(model)),
        "## Ions",
        *_ions(model),
        "## Recipe",
        f"```yaml\n{model.recipe.to_yaml()}```",
        "## Made with",
        ", ".join(f"{name} {version}" for name, version in model.versions.items())
        + f". Mark of the training data: `{model.fingerprint}`.",
    ]
    return "\n\n".join(text for text in paragraphs if text) + "\n"


def limits(model: Any) -> list[str]:
    """Say where a model should not be used, one sentence or two each."""
    n = len(model.sections)
    lines = []
    if n < _FEW_SECTIONS:
        lines.append(
            f"It has seen {_SEEN[n == 2]}, which says little about another section: levels there may be far off, "
            "and skill may be gone. "
            "Train on three sections or more, and hold sections out."
        )
    held_out = (model.summary or {}).get("protocol", {})
    protocol = held_out.get("protocol")
    if protocol is None:
        lines.append("Its skill was not measured. Do not rely on any of its images before it is.")
    elif protocol in ("random", "half"):
        lines.append("Its skill was measured on random spots, which flatters: real skill is lower.")
    elif not held_out["whole_sections"]:
        lines.append("Its skill was measured on other parts of the same sections, not on another section.")
    lines += [
        "Other tissues, species, stages or treatments than in training, other chemistry of capture or other panels of "
        "genes: nothing is known there.",
        *(["Sections stained or scanned in another way: it looks at the stain."] if _looks(model) else []),
        "Ions that were measured with another matrix, polarity or instrument: predicted intensities are in the units "
        "of the training data.",
        "Ions without skill or without gain over position, in the table below: their images show where spots lie, not "
        "what their genes say.",
        "Diagnosis, or any decision about a patient.",
    ]
    return lines


def _data(model: Any) -> str:
    sections = [f"{_safe(name)} ({spots:,})" for name, spots in model.sections.items()]
    shown = ", ".join(sections[:_SHOWN]) + (" …" if len(sections) > _SHOWN else "")
    many = f"{len(sections):,} section{'s' * (len(sections) > 1)}"
    return f"{model.n_spots:,} spots of {many}: {shown}. {len(model.genes):,} genes, {len(model.ions):,} ions."


def _looks(model: Any) -> bool:
    return bool(model.recipe.genes.histology != "none")


def _stained(model: Any) -> str:
    """Say what the model sees of the stained section; nothing where it sees nothing."""
    if not _looks(model):
        return ""
    choices = model.recipe.genes
    weights = "" if choices.histology_weights is None else _safe(choices.histology_weights.name)
    ways = {
        "texture": "stains and texture, as classical measures",
        "learned": f"{choices.histology_outputs} numbers of a small network, learned on the training spots from their "
        "genes",
        "timm": f"the network '{_safe(choices.histology_network)}' of timm with the weights '{weights}' (SHA-256 "
        f"`{choices.histology_fingerprint}`), which are not in this folder",
    }
    return (
        f"It looks at the stained section within {2 * choices.histology_radius:g} µm of a spot as well: "
        f"{ways[choices.histology]}. A section without a picture is refused."
    )


def _scores(model: Any) -> list[str]:
    summary = model.summary
    if summary is None or model.scores is None:
        return ["Not measured."]
    rows = []
    for name, entry in summary["predictors"].items():
        words = (
            "**this model**" if name == summary["model"] else f"{name}, without genes" if name in BASELINES else name
        )
        share = entry["share_skill"]
        cells = [_number(entry["r2"][key]) for key in ("q1", "median", "q3")]
        rows.append([words, *cells, "–" if share is None else f"{share:.0%}"])
    head = ["predictor", "R², lower quartile", "median", "upper quartile", f"ions above {SKILL:g}"]
    verdicts = "; ".join(f"{kind}: {count:,}" for kind, count in summary["verdicts"].items())
    return [str(summary["protocol"]["note"]), _table(head, rows), f"Ions by verdict: {verdicts}."]


def _intervals(model: Any) -> list[str]:
    if model.intervals is None:
        return [model.no_intervals]
    rows = [[_safe(cell) for cell in row] for row in model.intervals.rows()[: 2 * _SHOWN]]
    return [model.intervals.in_words(), _table(list(COLUMNS), rows)]


def _familiar(model: Any) -> str:
    if model.familiarity.limit_ == float("inf"):
        return "There were too few spots to tell which are unlike those of training."
    return (
        "A prediction says for each spot how far its genes lie from those of training (`novelty`) and whether that is "
        f"farther than {1 - EXPECTED:.0%} of held-out training spots do (`ood`). Many more than {EXPECTED:.0%} of "
        "spots beyond it mean that the section differs from those of training: its values are extrapolated, and "
        "intervals do not hold there."
    )


def _ions(model: Any) -> list[str]:
    scores = model.scores
    if scores is None:
        return [", ".join(map(_safe, model.ions.index[: 10 * _SHOWN])) + " …" * (len(model.ions) > 10 * _SHOWN)]
    best = scores.sort_values("r2", ascending=False, kind="stable", na_position="last").head(_SHOWN)
    rows = [
        [_safe(row["label"] or ion), _number(row["r2"]), _number(row["gain"]), _share(row["interval_coverage"])]
        + [_safe(row["verdict"])]
        for ion, row in best.iterrows()
    ]
    head = ["ion", "R²", "gain over position", "within interval", "verdict"]
    rest = len(scores) - len(best)
    return [_table(head, rows), f"And {rest:,} more: `model.json` holds the scores of all." if rest else ""]


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _number(value: Any) -> str:
    # Adding 0 takes the sign from what rounds to nothing.
    return "–" if value is None or pd.isna(value) else f"{round(float(value), 3) + 0.0:.3f}"


def _share(value: Any) -> str:
    return "–" if value is None or pd.isna(value) else f"{value:.1%}"


def _safe(text: Any) -> str:
    """Return text that cannot end a cell of a table or begin a tag."""
    return str(text).replace("|", "/").replace("<", "‹").replace(">", "›").replace("\n", " ").replace("`", "'")
