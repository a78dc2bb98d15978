"""The splits on the tissue: which spots were held out together, and who trained for one fold."""

from __future__ import annotations

from typing import Any

from napari.layers import Layer
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi.evaluation.learnability import Learnability
from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.report.folds import FOLD_COLOURS, ROLES
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.aside import see, wanted
from napari_st2msi.viewer.folds import show_folds
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.words import Words

_ALL = -1
_MOST_NAMED = 12


class SplitsView(QWidget):
    """Draws folds on the canvas, in a layer that is shown and hidden here.

    Parameters
    ----------
    viewer
        The viewer that they are drawn in.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._section: Section | None = None
        self._found: Learnability | None = None
        self.protocol, self.fold = ChoiceField([]), ChoiceField([])
        choices, rows = form()
        rows.addRow("Held out", self.protocol)
        rows.addRow("Show", self.fold)
        self.button = flat("Draw on the tissue", "Show the folds over the ST spots, or hide them again")
        self.held, self.legend = Words(role="note"), Words()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(choices)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignLeft)
        layout.addWidget(self.legend)
        layout.addWidget(self.held)
        self.protocol.changed.connect(self._on_protocol)
        self.fold.changed.connect(self._on_fold)
        self.button.clicked.connect(self.toggle)
        viewer.layers.events.removed.connect(self._refresh)

    def show_found(self, section: Section | None, found: Learnability | None) -> None:
        """Offer other folds; drawn ones are drawn anew."""
        chosen = self.protocol.value()
        self._section, self._found = section, found
        names = [] if found is None else [name for name in found.protocols if name in found.evaluations]
        chosen = chosen if chosen in names or found is None else found.judged_by
        self.protocol.set_choices([(name, protocol_words(name)) for name in names], chosen)
        self._on_protocol()

    @property
    def layer(self) -> Layer | None:
        """The layer of folds of the section looked at; None where it is not there."""
        return None if self._section is None else layers.find(self._viewer, self._section, "folds")

    @property
    def shown(self) -> bool:
        """Whether folds are seen on the canvas."""
        return self.layer is not None and wanted(self.layer)

    def toggle(self) -> None:
        """Show the folds, or hide them again."""
        if self.shown:
            see(self.layer, False)
        else:
            self._draw()
        self._refresh()

    def _draw(self) -> None:
        name = self.protocol.value()
        if self._section is None or self._found is None or name not in self._found.evaluations:
            return
        evaluation = self._found.evaluations[name]
        only = self.fold.value()
        layer = show_folds(
            self._viewer, self._section, evaluation.prediction, evaluation.folds, None if only == _ALL else only
        )
        if layer is not None:
            see(layer, True)

    def _on_protocol(self) -> None:
        name = self.protocol.value()
        folds = [] if self._found is None or name is None else self._found.evaluations[name].folds
        self.fold.set_choices([(_ALL, "all folds"), *((number, fold.name) for number, fold in enumerate(folds))])
        self._on_fold()

    def _on_fold(self) -> None:
        if self.shown:
            self._draw()
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        self.button.setText("Hide the folds" if self.shown else "Draw on the tissue")
        name = self.protocol.value()
        if self._found is None or name is None:
            self.held.setText("")
            self.legend.setText("")
            return
        self.held.setText(self._found.protocols[name])
        folds = self._found.evaluations[name].folds
        if self.fold.value() != _ALL:
            marks = list(zip(ROLES, ROLES.values(), strict=True))
        else:
            marks = [(fold.name, FOLD_COLOURS[number % len(FOLD_COLOURS)]) for number, fold in enumerate(folds)]
        more = f" and {len(marks) - _MOST_NAMED} more" if len(marks) > _MOST_NAMED else ""
        self.legend.setText(
            " &nbsp; ".join(
                f'<span style="color:{colour}">●</span>&nbsp;{words.replace(" ", "&nbsp;")}'
                for words, colour in marks[:_MOST_NAMED]
            )
            + more
        )
