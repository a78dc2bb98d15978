"""What to expect of a metabolite that was not measured here, from what it would be like."""

from __future__ import annotations

from functools import partial

import numpy as np
from qtpy.QtCore import Qt, QTimer
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi.evaluation.forecast import LEVEL, usable
from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.properties import PROPERTIES
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.evaluation.tiers import TIERS
from napari_st2msi.report.words import fixed
from napari_st2msi.viewer.docks import learnability_work
from napari_st2msi.viewer.docks.learnability_work import Expected
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import Dock, form
from napari_st2msi.viewer.parts.fields import NumberField
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.words import Words

_REST_MS = 300
_MANY = 1e12
#: Of each property: the least and the greatest number that can be, and what it means.
_MEANING = {
    "moran_i": (-1.0, 1.0, "How smooth its image is: 0 is noise, 1 is perfectly smooth"),
    "ceiling": (0.0, 1.0, "Share of its variance that is reproducible"),
    "sparsity": (0.0, 1.0, "Share of spots without it"),
    "dynamic_range": (0.0, _MANY, "Log10 of its 99th over its 1st percentile, where it is present"),
    "skewness": (-_MANY, _MANY, "Third standardised moment: 0 is symmetric"),
    "entropy": (0.0, 5.0, "In bits, of its intensities in 32 bins"),
    "mean_intensity": (0.0, _MANY, "As measured"),
    "signal_to_noise": (0.0, _MANY, "Its mean over the deviation of what is not reproducible"),
}
_ASK = "Choose an ion that it is like, or type what is known of it."


class ExpectView(QWidget):
    """Properties of a new metabolite, and the tier, skill and gain that ions like it had.

    Parameters
    ----------
    dock
        Its state and messages are used.
    """

    def __init__(self, dock: Dock) -> None:
        super().__init__()
        self._found: Learnability | None = None
        self.like = SearchEdit("Find an ion")
        self.like.setAccessibleName("An ion that it is like")
        self.fields: dict[str, NumberField] = {}
        choices, self._rows = form()
        self._rows.addRow("Like", self.like)
        for name, (low, high, _) in _MEANING.items():
            field = NumberField(low, high, empty="unknown")
            field.set_value(None)
            field.setAccessibleName(PROPERTIES[name])
            field.changed.connect(self._on_typed)
            self.fields[name] = field
            self._rows.addRow(PROPERTIES[name], field)
        self.clear = flat("Clear", "Forget all that was typed")
        self.words, self.beyond = Words(_ASK), Words(role="note")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(choices)
        layout.addWidget(self.clear, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.words)
        layout.addWidget(self.beyond)
        self.like.chosen.connect(self._start_from)
        self.like.missed.connect(self._on_missed)
        self.clear.clicked.connect(self.forget)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(self._ask)
        self._jobs = Jobs(dock.state, self)
        self._jobs.done.connect(self._on_expected)
        self._jobs.failed.connect(self._on_failed)

    @property
    def known(self) -> dict[str, float]:
        """What is typed of the metabolite."""
        values = {name: field.value() for name, field in self.fields.items()}
        return {name: float(value) for name, value in values.items() if value is not None}

    def summary(self) -> str:
        """Return what is expected, in few words."""
        return self.words.text().partition("\n")[0] if self.known else ""

    def show_found(self, found: Learnability) -> None:
        """Learn from other ions; what was typed stays."""
        self._found = found
        self.like.set_choices(zip(found.table.index.astype(str), found.table["label"].astype(str), strict=True))
        seen = found.table[list(PROPERTIES)]
        used = usable(seen)
        for name, field in self.fields.items():
            self._rows.setRowVisible(field, name in used)
            if name in used:
                field.setToolTip(f"{_MEANING[name][2]}. Seen here: {_number(seen[name].min())} to "
                                 f"{_number(seen[name].max())}")  # fmt: skip
            else:
                _put(field, None)
        self._ask_soon()

    def forget(self) -> None:
        """Forget all that was typed."""
        self.like.choose(None)
        for field in self.fields.values():
            _put(field, None)
        self._ask()

    def _start_from(self, ion: str) -> None:
        """Take over what a measured ion is like."""
        assert self._found is not None
        for name, field in self.fields.items():
            value = self._found.table[name].to_dict()[ion]
            _put(field, float(f"{value:.3g}") if np.isfinite(value) else None)
        self._ask()

    def _on_missed(self, words: str) -> None:
        self._jobs.shut()
        self.words.setText(words)

    def _on_typed(self) -> None:
        """Forget the ion that it was like: with another number it is not."""
        self.like.choose(None)
        self._ask_soon()

    def _ask_soon(self) -> None:
        self._rest.start()

    def _ask(self) -> None:
        self._rest.stop()
        self.beyond.setText("")
        self.beyond.hide()
        if self._found is None or not self.known:
            self._jobs.shut()
            self.words.setText(_ASK)
            return
        self.words.setText("Working out what to expect.")
        like = self.like.key if self.like.text() else None
        self._jobs.start(
            Job("Expect a new metabolite", partial(learnability_work.expect, self._found, self.known, like))
        )

    def _on_expected(self, expected: Expected) -> None:
        self.words.setText(expected_in_words(expected))
        self.beyond.setText(beyond_in_words(expected))
        self.beyond.setVisible(bool(self.beyond.text()))

    def _on_failed(self, words: str, _details: str) -> None:
        self.words.setText(words)


def expected_in_words(expected: Expected) -> str:
    """Return the likeliest tier, and the skill and gain to expect, with how well such guesses did on ions left out."""
    row, found = expected.row, expected.found
    tier = int(row["tier"])
    others = ", ".join(f"tier {each} {row[f'tier_likely_{each}']:.0%}" for each in TIERS if each != tier)
    rows = found.forecasts[found.forecasts["protocol"] == found.judged_by].to_dict("records")
    judged = {str(own["outcome"]): own for own in rows}
    parts, held = [], []
    for outcome, title in (("r2", "R²"), ("gain", "Gain")):
        low, high = row[f"{outcome}_lower"], row[f"{outcome}_upper"]
        parts.append(f"{title} {_number(row[outcome])} [{_number(low)}, {_number(high)}]")
        if outcome in judged:
            held.append(f"{judged[outcome]['coverage']:.0%} ({title})")
    lines = [
        f"Most likely tier {tier} ({row[f'tier_likely_{tier}']:.0%}): {TIERS[tier]}.",
        f"Otherwise {others}.",
        f"{' · '.join(parts)}, judged by {protocol_words(found.judged_by)}: {LEVEL:.0%} intervals"
        + (f", which held {' and '.join(held)} of ions left out." if held else "."),
    ]
    if row["gain_lower"] < found.criteria.least_gain < row["gain_upper"]:
        lines.append("To some ions like it genes add, to others they do not: only measuring this one tells.")
    if "gain" in judged and judged["gain"]["r2"] <= 0:
        lines.append(
            "What ions are like told the gain of those left out no better than the mean does, so it says little here."
        )
    return "\n".join(lines)


def beyond_in_words(expected: Expected) -> str:
    """Return which properties are outside of what was seen; empty where none is."""
    parts = []
    for name, value in expected.known.items():
        seen = expected.found.table[name].dropna()
        # As they are shown, since an ion that is taken over is rounded.
        low, high = (float(f"{end:.3g}") for end in (seen.min(), seen.max()))
        if not low <= value <= high:
            side = "above" if value > high else "below"
            parts.append(f"{PROPERTIES[name]} {_number(value)} is {side} what was seen ({_number(low)} to "
                         f"{_number(high)})")  # fmt: skip
    return f"{'; '.join(parts)}. It counts as the nearest that was seen, so expect less of this." if parts else ""


def _put(field: NumberField, value: float | None) -> None:
    field.blockSignals(True)
    field.set_value(value)
    field.blockSignals(False)


def _number(value: float) -> str:
    text = fixed(value, 2) if abs(value) < 10 else f"{value:,.4g}"
    return text.replace("-", "−")
