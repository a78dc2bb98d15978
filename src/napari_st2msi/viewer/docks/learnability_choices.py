"""Which ways of holding out to assess ions under."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.evaluation.protocols import protocol_words
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.viewer.docks.train_view import group_choices
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.fields import ChoiceField

_GROUPS = "leave_group_out"
_OPTIMISTIC = "Neighbours of held-out spots train, so that whatever is smooth looks predictable"
#: Ways of holding out, the most lenient first, and what they are.
_TIPS = {
    "random": _OPTIMISTIC,
    "half": _OPTIMISTIC,
    "blocks": "Squares of tissue, with a buffer around them that does not train",
    "knndm": "Folds as far from training as the tissue to predict will be",
    "tissue_halves": "One half of every section, then the other",
    _GROUPS: "One section, donor or region after the other",
}


class ProtocolsView(QWidget):
    """A tick for each way of holding out, and the group for whole groups.

    Parameters
    ----------
    ticked
        Which are ticked at first.
    """

    #: The choice changed.
    changed = Signal()

    def __init__(self, ticked: Sequence[str]) -> None:
        super().__init__()
        self.boxes: dict[str, QCheckBox] = {}
        self.group = ChoiceField([])
        self.group.changed.connect(self.changed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(3)
        for name, tip in _TIPS.items():
            words = words_for(name).removesuffix(f" ({protocol_words('knndm')})")  # too wide for a narrow dock
            box = QCheckBox(words[:1].upper() + words[1:] if name != _GROUPS else "Whole groups:")
            box.setToolTip(tip)
            box.setChecked(name in ticked)
            box.toggled.connect(lambda _: self.changed.emit())
            self.boxes[name] = box
            if name != _GROUPS:
                layout.addWidget(box)
        self._groups = QWidget()
        line = QHBoxLayout(self._groups)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.boxes[_GROUPS])
        line.addWidget(self.group, 1)
        layout.addWidget(self._groups)
        self.offer_groups([], Recipe())

    def offer_groups(self, parts: Sequence[PairedDataset], recipe: Recipe) -> None:
        """Offer the groups that spots belong to; without any, whole groups cannot be held out."""
        choices = group_choices(parts, recipe)
        known = bool(choices) and choices[0][0] != choices[0][1]  # a group that is there says how many there are
        self.group.set_choices(choices if known else [], self.group.value())
        self._groups.setVisible(known)

    def chosen(self) -> tuple[str, ...]:
        """Return the ticked ones, as the functions take them: ``leave_group_out:donor`` says the group."""
        names = [name for name, box in self.boxes.items() if box.isChecked() and name != _GROUPS]
        group = self.group.value()
        if self.boxes[_GROUPS].isChecked() and group:
            names.append(f"{_GROUPS}:{group}")
        return tuple(names)

    def tick(self, chosen: Sequence[str]) -> None:
        """Tick those that `chosen` returned, without announcing a change; groups that are not offered are left away."""
        groups = dict(name.partition(":")[::2] for name in chosen)
        self.blockSignals(True)
        for name, box in self.boxes.items():
            box.setChecked(name in groups)
        if (place := self.group.box.findData(groups.get(_GROUPS))) >= 0:
            self.group.box.setCurrentIndex(place)
        self.blockSignals(False)

    def summary(self) -> str:
        """Return what is ticked, in few words."""
        return " · ".join(map(protocol_words, self.chosen())) or "none"
