"""The fields that forms are made of: each shows one value and says when it changed."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.utils.history import get_open_history
from qtpy.QtCore import QEvent, QObject, Qt, QTimer, Signal
from qtpy.QtGui import QFocusEvent, QPaintEvent, QValidator, QWheelEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QToolButton,
    QWidget,
)

from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.style import restyle


class _NoWheel(QObject):
    """Lets the wheel scroll the dock and not change a field that is merely under the pointer."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if isinstance(event, QWheelEvent) and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


class Field(QWidget):
    """One value of a form."""

    #: The user changed the value.
    changed = Signal()

    def value(self) -> Any:
        """Return what is shown."""
        raise NotImplementedError

    def set_value(self, value: Any) -> None:
        """Show a value."""
        raise NotImplementedError

    def finish(self) -> None:
        """Take what is still being typed."""

    def _hold(self, *widgets: QWidget) -> None:
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        for widget in widgets:
            layout.addWidget(widget, 1 if widget is widgets[0] else 0)
        self.setFocusProxy(widgets[0])
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def setAccessibleName(self, name: str) -> None:
        """Name the control inside for screen readers."""
        super().setAccessibleName(name)
        if (inner := self.focusProxy()) is not None:
            inner.setAccessibleName(name)


class CheckField(Field):
    """Yes or no."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.box = QCheckBox(text)
        self.box.toggled.connect(lambda _: self.changed.emit())
        self._hold(self.box)

    def setText(self, text: str) -> None:
        """Set the words beside the box."""
        self.box.setText(text)

    def value(self) -> bool:
        """Return whether it is ticked."""
        return bool(self.box.isChecked())

    def set_value(self, value: Any) -> None:
        """Tick it or not."""
        self.box.setChecked(bool(value))


class _Combo(QComboBox):
    """A combo box that shows where its words are cut."""

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QStylePainter(self)
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        room = self.style().subControlRect(
            QStyle.ComplexControl.CC_ComboBox, option, QStyle.SubControl.SC_ComboBoxEditField, self
        )
        option.currentText = self.fontMetrics().elidedText(
            option.currentText, Qt.TextElideMode.ElideRight, room.width() - 2
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)


class ChoiceField(Field):
    """One of a few choices, each (value, words)."""

    def __init__(self, choices: Sequence[tuple[Any, str]]) -> None:
        super().__init__()
        self.box = _Combo()
        # A long choice must not make the dock wider than its place.
        self.box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.box.setMinimumContentsLength(6)
        self.box.setMinimumWidth(90)
        self.box.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.box.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.box.installEventFilter(_NoWheel(self))
        self.set_choices(choices)
        self.box.currentIndexChanged.connect(lambda _: self.changed.emit())
        self._hold(self.box)

    def set_choices(self, choices: Sequence[tuple[Any, str]], chosen: Any = None) -> None:
        """Offer other choices, of which `chosen`, or the first, is chosen; no change is announced."""
        self.box.blockSignals(True)
        self.box.clear()
        for value, words in choices:
            self.box.addItem(words, value)
        self.box.setCurrentIndex(max(self.box.findData(chosen), 0) if choices else -1)
        self.box.blockSignals(False)

    def value(self) -> Any:
        """Return the value chosen."""
        return self.box.currentData()

    def set_value(self, value: Any) -> None:
        """Choose a value; one that is not offered is added, because hiding it would be a lie."""
        place = self.box.findData(value)
        if place < 0:
            self.box.addItem(words_for(value) if value is not None else "none", value)
            place = self.box.count() - 1
        self.box.setCurrentIndex(place)


class _Spin(QDoubleSpinBox):
    """A spin box that may be empty; empty is kept as a value below the least one."""

    def __init__(self, low: float, high: float, *, whole: bool, empty: str | None) -> None:
        super().__init__()
        self.low, self.whole, self.empty = low, whole, empty
        self.setDecimals(0 if whole else 6)
        self.setRange(low - 1 if empty is not None else low, high)
        self.setAlignment(Qt.AlignmentFlag.AlignRight)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
        self.setKeyboardTracking(False)
        # The longest number it could hold must not make the dock wider than its place.
        self.setMinimumWidth(80)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.installEventFilter(_NoWheel(self))
        if empty is not None:
            self.setSpecialValueText(empty)
            # The words need the room, and there is nothing to step from.
            self.setButtonSymbols(QDoubleSpinBox.ButtonSymbols.NoButtons)

    def is_empty(self) -> bool:
        return self.empty is not None and self.value() < self.low

    def textFromValue(self, value: float) -> str:
        return f"{value:.0f}" if self.whole else f"{value:.10g}"

    def valueFromText(self, text: str) -> float:
        number = _number(text.removesuffix(self.suffix()).strip())
        if number is None:
            return self.minimum() if self.empty is not None else self.value()
        return max(number, self.low)

    def validate(self, text: str | None, position: int) -> tuple[QValidator.State, str, int]:
        text = text or ""
        typed = text.removesuffix(self.suffix()).strip()
        number = _number(typed)
        if self.empty is not None and typed in ("", self.empty):
            state = QValidator.State.Acceptable
        elif number is None:
            # A prefix of the placeholder, a lone sign or exponent: on the way to a number.
            state = QValidator.State.Intermediate
        else:
            state = (
                QValidator.State.Acceptable if self.low <= number <= self.maximum() else QValidator.State.Intermediate
            )
        return state, text, position

    def fixup(self, text: str | None) -> str:
        number = _number((text or "").removesuffix(self.suffix()).strip())
        if number is None:
            return self.empty if self.empty is not None else self.textFromValue(self.value())
        return self.textFromValue(min(max(number, self.low), self.maximum()))

    def stepBy(self, steps: int) -> None:
        if self.is_empty():
            if steps > 0:
                self.setValue(max(self.low, 1.0))
            return
        super().stepBy(steps)
        # Below the least value lies "empty", which is reached by clearing and not by stepping.
        if self.is_empty():
            self.setValue(self.low)

    def focusInEvent(self, event: QFocusEvent | None) -> None:
        super().focusInEvent(event)
        # Typing replaces "automatic" at once, however the field was entered.
        QTimer.singleShot(0, self._select_placeholder)

    def _select_placeholder(self) -> None:
        if self.is_empty() and self.hasFocus():
            self.selectAll()


class NumberField(Field):
    """A number within limits, with its unit; may be empty.

    Parameters
    ----------
    low, high
        Limits, both allowed.
    empty
        What an empty field means; None when it must not be empty.
    """

    def __init__(
        self, low: float, high: float, *, whole: bool = False, unit: str = "", empty: str | None = None
    ) -> None:
        super().__init__()
        self.spin = _Spin(low, high, whole=whole, empty=empty)
        if unit:
            self.spin.setSuffix(f" {unit}")
        self.spin.valueChanged.connect(lambda _: self.changed.emit())
        self._hold(self.spin)

    def value(self) -> int | float | None:
        """Return the number, None when empty."""
        if self.spin.is_empty():
            return None
        number = float(self.spin.value())
        return round(number) if self.spin.whole else number

    def set_value(self, value: Any) -> None:
        """Show a number, or None."""
        self.spin.setValue(self.spin.minimum() if value is None else float(value))

    def finish(self) -> None:
        """Take what is still being typed."""
        self.spin.interpretText()


class TextField(Field):
    """A line of text; empty is None where the value may be absent."""

    def __init__(self, placeholder: str = "", *, optional: bool = True) -> None:
        super().__init__()
        self._optional = optional
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(placeholder)
        self.edit.editingFinished.connect(self.changed)
        self._hold(self.edit)

    def value(self) -> Any:
        """Return the text, None when empty."""
        text = self.edit.text().strip()
        return None if self._optional and not text else text

    def set_value(self, value: Any) -> None:
        """Show a text."""
        self.edit.setText("" if value is None else str(value))

    def finish(self) -> None:
        """Take what is still being typed."""
        if self.edit.isModified():
            self.edit.setModified(False)
            self.changed.emit()


class NumbersField(TextField):
    """Several numbers, separated by anything sensible."""

    def __init__(self, placeholder: str = "") -> None:
        super().__init__(placeholder)
        self.edit.editingFinished.connect(self._mark)

    def value(self) -> Any:
        """Return the numbers, None when empty; the text itself where it holds something else."""
        text = self.edit.text().strip()
        parts = [part for part in re.split(r"[,;\s]+|\bto\b|–", text) if part]
        numbers = [_number(part) for part in parts]
        if not parts:
            return None
        return text if None in numbers else tuple(numbers)

    def set_value(self, value: Any) -> None:
        """Show numbers."""
        self.edit.setText("" if value is None else ", ".join(_short(number) for number in value))

    def _mark(self) -> None:
        self.edit.setProperty("wrong", "true" if isinstance(self.value(), str) else "false")
        restyle(self.edit)


class PathField(TextField):
    """The path of a file or folder: typed, chosen, or dropped here.

    Parameters
    ----------
    folders
        Whether a folder may be chosen as well.
    filters
        What the file dialog offers, as Qt writes it.
    """

    def __init__(self, placeholder: str = "", *, folders: bool = False, filters: str = "") -> None:
        QWidget.__init__(self)
        self._optional, self._filters = True, filters
        self.edit = QLineEdit()
        self.edit.setPlaceholderText(placeholder)
        self.edit.setClearButtonEnabled(True)
        self.edit.editingFinished.connect(self.changed)
        self.edit.textChanged.connect(lambda text: self.edit.setToolTip(text))
        self.button = QToolButton()
        self.button.setText("…")
        self.button.setProperty("role", "flat")
        self.button.setToolTip("Choose a file or a folder" if folders else "Choose a file")
        if folders:
            menu = QMenu(self.button)
            menu.addAction("File…", self.choose_file)
            menu.addAction("Folder…", self.choose_folder)
            self.button.setMenu(menu)
            self.button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        else:
            self.button.clicked.connect(self.choose_file)
        self._hold(self.edit, self.button)

    def value(self) -> Path | None:
        """Return the path, None when empty."""
        text = self.edit.text().strip().strip('"')
        return Path(text).expanduser() if text else None

    def take(self, path: Path | None) -> None:
        """Show a path as if the user had typed it."""
        self.set_value(path)
        self.changed.emit()

    def choose_file(self) -> None:
        """Ask for a file."""
        path, _ = QFileDialog.getOpenFileName(self, "Choose a file", self._start(), self._filters)
        if path:
            self.take(Path(path))

    def choose_folder(self) -> None:
        """Ask for a folder."""
        path = QFileDialog.getExistingDirectory(self, "Choose a folder", self._start())
        if path:
            self.take(Path(path))

    def _start(self) -> str:
        """Return where a dialog begins: beside what is chosen, else where napari opened a file last."""
        value = self.value()
        return get_open_history()[0] if value is None else str(value.parent)


def _short(number: float) -> str:
    """Return a number with the digits it has; powers of ten as people write them."""
    if number >= 1e5 and math.log10(number).is_integer():
        return f"1e{math.log10(number):.0f}"
    return f"{number:.10g}"


def _number(text: str) -> float | None:
    """Return a number as people type it (2,000 or 2000; 0.5 or 0,5), None when it is none."""
    if re.fullmatch(r"[1-9]\d{0,2}(,\d{3})+(\.\d*)?", text):
        text = text.replace(",", "")
    elif text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
