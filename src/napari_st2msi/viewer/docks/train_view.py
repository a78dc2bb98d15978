"""What the Train dock shows: which sections, the live score, scores beside the baselines."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np
import pandas as pd
from qtpy.QtCore import QPointF, Qt, Signal
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen
from qtpy.QtWidgets import QCheckBox, QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from napari_st2msi.evaluation.result import Evaluation
from napari_st2msi.evaluation.verdict import SKILL
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.report.words import fixed, in_short, model_words, quartiles
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.words import Words

# Columns of obs that say where a spot lies or how it was paired, and never where it came from.
_NO_GROUPS = ["coverage", "n_pixels", "instance", "region", "array_row", "array_col", "in_tissue"]


def group_choices(parts: Sequence[PairedDataset], recipe: Recipe) -> list[tuple[str, str]]:
    """Return the columns of obs that could name a group, with how many groups each has.

    A group needs spots enough to score it: columns with one value only, or nearly as many as spots,
    are left out, and so is what Visium numbers its spots by.
    """
    known = (recipe.evaluation.group, recipe.evaluation.group)
    if not parts:
        return [known]
    obs = pd.concat([part.obs for part in parts], join="inner")
    found = []
    for column in obs.columns.drop(_NO_GROUPS, errors="ignore"):
        if obs[column].dtype.kind == "f":
            continue
        n = int(obs[column].nunique())
        if 2 <= n <= max(2, min(200, len(obs) // 2)):
            found.append((str(column), f"{column} ({n})"))
    return found or [known]


class SectionsView(QWidget):
    """Which of several paired sections to train on."""

    #: The choice changed.
    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._boxes: dict[QCheckBox, Section] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 4)
        self._layout.setSpacing(3)

    def show_sections(self, sections: Sequence[Section]) -> None:
        """Offer sections; those that were offered before keep their tick, new ones are ticked."""
        before = {section: box.isChecked() for box, section in self._boxes.items()}
        for box in self._boxes:
            self._layout.removeWidget(box)
            box.deleteLater()
        self._boxes = {}
        for section in sections:
            box = QCheckBox(section.name)
            box.setChecked(before.get(section, True))
            box.toggled.connect(lambda _: self.changed.emit())
            self._layout.addWidget(box)
            self._boxes[box] = section

    def leave_out(self, sections: Collection[Section]) -> None:
        """Take away the ticks of sections, without announcing a change."""
        self.blockSignals(True)
        for box, section in self._boxes.items():
            box.setChecked(section not in sections)
        self.blockSignals(False)

    def chosen(self) -> list[Section]:
        """Return the ticked sections."""
        return [section for box, section in self._boxes.items() if box.isChecked()]

    def summary(self) -> str:
        """Return how many are ticked."""
        return f"{len(self.chosen())} of {len(self._boxes)}"


class LiveScore(QWidget):
    """The median R² after each fold, as a number and as a line."""

    def __init__(self) -> None:
        super().__init__()
        self.label, self._line = Words(), _Line()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(2)
        layout.addWidget(self.label)
        layout.addWidget(self._line)
        self.setToolTip("Median R² over ions on held-out spots, after each fold so far")
        self.clear()

    @property
    def scores(self) -> tuple[float, ...]:
        """The scores so far."""
        return tuple(self._line.scores)

    def set_colour(self, colour: str) -> None:
        """Draw in a colour of the theme."""
        self._line.colour = QColor(colour)
        self._line.update()

    def clear(self) -> None:
        """Begin anew."""
        self._line.scores = []
        self._line.update()
        self.label.setText("The score appears after the first fold.")

    def add(self, score: float) -> None:
        """Add the score after another fold."""
        self._line.scores.append(score)
        self._line.update()
        n = len(self.scores)
        self.label.setText(f"Median R² {fixed(score, 3)} after {n} fold{'s' * (n > 1)}")


class _Line(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.scores: list[float] = []
        self.colour = QColor("white")
        self.setFixedHeight(34)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw a line from 0 to the highest score."""
        values = np.nan_to_num(np.array(self.scores, dtype=float))
        if not len(values):
            return
        low, high = min(0.0, values.min()), max(values.max(), 0.05)
        xs = np.linspace(4, self.width() - 5, len(values)) if len(values) > 1 else np.array([4.0])
        ys = self.height() - 4 - (values - low) / (high - low) * (self.height() - 8)
        points = [QPointF(float(x), float(y)) for x, y in zip(xs, ys, strict=True)]
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(self.colour, 1.5))
        painter.drawPolyline(points)
        painter.setBrush(self.colour)
        for point in points:
            painter.drawEllipse(point, 2.5, 2.5)


class ScoresView(QWidget):
    """Median R² of the model beside what works without genes, and what that means."""

    report_pressed = Signal()
    explore_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._shown: Evaluation | None = None
        self._table = QWidget()
        self._grid = QGridLayout(self._table)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(10)
        self._grid.setVerticalSpacing(3)
        self._grid.setColumnStretch(0, 1)
        self.verdict, self.note = Words(), Words(role="note")
        self.report = flat("Report…", "Write everything as one HTML file")
        self.explore = flat("Explore ions", "Look at predicted, measured and residual images")
        self.report.clicked.connect(self.report_pressed)
        self.explore.clicked.connect(self.explore_pressed)
        buttons = QHBoxLayout()
        buttons.addWidget(self.explore)
        buttons.addWidget(self.report)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(6)
        layout.addWidget(self._table)
        layout.addWidget(self.verdict)
        layout.addWidget(self.note)
        layout.addLayout(buttons)

    def show_evaluation(self, evaluation: Evaluation) -> None:
        """Show what an evaluation found."""
        if evaluation is self._shown:
            return
        self._shown = evaluation
        scores = evaluation.flat()
        rows = score_rows(quartiles(scores, model_words(evaluation)))
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.deleteLater()
        for row, cells in enumerate([("Over ions", "Median R²", f"> {SKILL:g}"), *rows]):
            for column, text in enumerate(cells):
                role = "note" if row == 0 else "title" if row == 1 else ""
                label: QLabel = QLabel(text)
                if column == 0:
                    label = Words(text)
                    label.setMinimumWidth(90)
                    label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
                label.setProperty("role", role)
                side = Qt.AlignmentFlag.AlignRight if column else Qt.AlignmentFlag.AlignLeft
                label.setAlignment(side | Qt.AlignmentFlag.AlignVCenter)
                if column == 2:
                    label.setToolTip(f"Share of ions with R² above {SKILL:g}: less is within reach of pure noise")
                self._grid.addWidget(label, row, column)
        self.verdict.setText(in_short(scores))
        self.note.setText(str(evaluation.protocol["note"]))


def score_rows(table: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return (predictor, median R², share of ions with skill) as text, the model first."""
    return [(str(name), fixed(row["median"], 3), f"{row['over'] / row['ions']:.0%}") for name, row in table.iterrows()]
