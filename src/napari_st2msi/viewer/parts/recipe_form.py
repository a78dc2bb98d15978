"""A form made from a pydantic model, so that a choice is described in one place only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType, UnionType
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_st2msi.recipe import explain
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import (
    CheckField,
    ChoiceField,
    Field,
    NumberField,
    NumbersField,
    PathField,
    TextField,
)
from napari_st2msi.viewer.parts.words import Words

M = TypeVar("M", bound=BaseModel)
Choices = Sequence[tuple[Any, str]]
#: Tells from the values of a form whether a field matters.
Condition = Callable[[Mapping[str, Any]], bool]


class _Announcing(QWidget):
    # A generic class cannot declare signals: Qt's metaclass wants them on a plain one.

    #: The choices changed and are valid; carries the model.
    changed = Signal(object)
    #: The choices changed and are not valid; carries why, in words. Empty once they are again.
    refused = Signal(str)


class RecipeForm(_Announcing, Generic[M]):
    """Edits one pydantic model: labels, units, limits, hints and defaults are those of its fields.

    Parameters
    ----------
    value
        What the form shows first; also says which model it is.
    fields
        Which fields to show, in this order; all when None. The others keep their value.
    choices
        For a text field, the (value, words) to choose from.
    shown_when
        For a field that matters only with certain values of others, when that is.
    """

    def __init__(
        self,
        value: M,
        *,
        fields: Sequence[str] | None = None,
        choices: Mapping[str, Choices] = MappingProxyType({}),
        shown_when: Mapping[str, Condition] = MappingProxyType({}),
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._value, self._shown_when = value, shown_when
        self._reason = ""
        self._filling = False
        inner, self._rows = form()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(2)
        outer.addWidget(inner)
        self._complaint = Words(role="complaint")
        self._complaint.hide()
        outer.addWidget(self._complaint)
        self.fields: dict[str, Field] = {}
        infos = type(value).model_fields
        for name in infos if fields is None else fields:
            self._add(name, infos[name], choices.get(name))
        self.set_value(value)

    @property
    def value(self) -> M:
        """The choices, as they were last valid; what is still being typed counts."""
        for field in self.fields.values():
            field.finish()
        return self._value

    @property
    def reason(self) -> str:
        """Why what the form shows is not valid, in words; empty when it is."""
        return self._reason

    def set_value(self, value: M) -> None:
        """Show other choices without announcing them."""
        self._filling = True
        for name, field in self.fields.items():
            field.set_value(getattr(value, name))
        self._filling = False
        self._value = value
        self._refuse("")
        self.update_shown()

    def set_choices(self, name: str, choices: Choices) -> None:
        """Set what a field with choices offers; its value stays, even where it is no longer offered."""
        field = self.fields[name]
        assert isinstance(field, ChoiceField)
        self._filling = True
        field.set_choices(choices)
        field.set_value(getattr(self._value, name))
        self._filling = False

    def _add(self, name: str, info: FieldInfo, choices: Choices | None) -> None:
        title, unit = split_unit(info.title or name)
        field = field_for(info, unit, choices)
        hint = info.description or ""
        label = QLabel(title)
        label.setBuddy(field)
        for widget in (label, field):
            widget.setToolTip(f"<qt>{hint}</qt>")
        field.setAccessibleName(title)
        field.changed.connect(partial(self._on_changed, name))
        if isinstance(field, CheckField):
            field.setText(title)
            self._rows.addRow(field)
        else:
            self._rows.addRow(label, field)
        self.fields[name] = field

    def _on_changed(self, name: str) -> None:
        if self._filling:
            return
        shown = {key: field.value() for key, field in self.fields.items()}
        try:
            value = type(self._value).model_validate({**self._value.model_dump(), **shown})
        except ValidationError as error:
            self._refuse(self._in_titles(explain(error)))
            return
        known, self._value = self._value, value
        self._refuse("")
        self.update_shown()
        if value != known:
            self.changed.emit(value)

    def _refuse(self, reason: str) -> None:
        self._complaint.setText(reason)
        self._complaint.setVisible(bool(reason))
        if reason != self._reason:
            self._reason = reason
            self.refused.emit(reason)

    def _in_titles(self, text: str) -> str:
        """Return an explanation with the titles that the form shows instead of names of fields."""
        for name, info in type(self._value).model_fields.items():
            text = text.replace(f"'{name}'", f"'{split_unit(info.title or name)[0]}'")
        return text

    def update_shown(self) -> None:
        """Show the fields that matter; call it when something outside the form decides that too."""
        values = self._value.model_dump()
        for name, matters in self._shown_when.items():
            if name in self.fields:
                self._rows.setRowVisible(self.fields[name], matters(values))


def split_unit(title: str) -> tuple[str, str]:
    """Return title and unit of a title such as ``Radius (µm)``."""
    if title.endswith(")") and " (" in title:
        name, _, unit = title[:-1].rpartition(" (")
        return name, unit
    return title, ""


def placeholder_for(info: FieldInfo) -> str:
    """Return what an empty field stands for: what its description says if that is short."""
    _, found, meaning = (info.description or "").partition("Empty: ")
    meaning = meaning.strip().rstrip(".")
    return meaning if found and len(meaning) <= 24 else "automatic"


def field_for(info: FieldInfo, unit: str, choices: Choices | None) -> Field:
    """Return the field that edits values of one pydantic field."""
    kind, optional = _without_none(info.annotation)
    if choices is not None:
        return ChoiceField(choices)
    if get_origin(kind) is Literal:
        return ChoiceField([(value, words_for(value)) for value in get_args(kind)])
    if kind is bool:
        return CheckField()
    if kind in (int, float):
        low, high = _limits(info, whole=kind is int)
        empty = placeholder_for(info) if optional else None
        return NumberField(low, high, whole=kind is int, unit=unit, empty=empty)
    if get_origin(kind) is tuple:
        return NumbersField(placeholder_for(info) if optional else "")
    if kind is Path:
        return PathField(placeholder_for(info) if optional else "")
    if kind is str:
        return TextField(placeholder_for(info) if optional else "", optional=optional)
    raise TypeError(f"no field is known for {info.annotation}")


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (Union, UnionType):
        kinds = [kind for kind in get_args(annotation) if kind is not type(None)]
        return kinds[0], len(kinds) < len(get_args(annotation))
    return annotation, False


def _limits(info: FieldInfo, *, whole: bool) -> tuple[float, float]:
    """Return the least and the greatest value that the constraints of a field allow."""
    low, high = -1e9, 1e9
    for limit in info.metadata:
        # An open limit is approached by the smallest step that the field can show.
        step = 1.0 if whole else 1e-6
        if (ge := getattr(limit, "ge", None)) is not None:
            low = float(ge)
        if (gt := getattr(limit, "gt", None)) is not None:
            low = float(gt) + step
        if (le := getattr(limit, "le", None)) is not None:
            high = float(le)
        if (lt := getattr(limit, "lt", None)) is not None:
            high = float(lt) - step
    return low, high
