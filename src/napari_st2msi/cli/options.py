"""Options made from the fields of `Recipe` and `Opening`, so that nothing is said twice."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import GenericAlias, NoneType
from typing import Annotated, Any, Literal, cast, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Recipe

#: Sections of the recipe, in its order.
SECTIONS: dict[str, type[BaseModel]] = {
    name: cast("type[BaseModel]", field.annotation) for name, field in Recipe.model_fields.items()
}

# Fields of several models share a name; on the command line each needs its own.
_NAMES = {
    ("opening", "st"): "st-table",
    ("opening", "msi"): "msi-table",
    ("opening", "group"): "section-column",
    ("genes", "log1p"): "genes-log1p",
    ("genes", "min_spots"): "genes-min-spots",
    ("genes", "file"): "gene-list",
    ("genes", "histology"): "genes-histology",
    ("ions", "log1p"): "ions-log1p",
    ("ions", "min_spots"): "ions-min-spots",
    ("ions", "n_top"): "ions-n-top",
    ("ions", "normalisation"): "ions-normalisation",
    ("model", "name"): "model",
    ("networks", "seed"): "network-seed",
    ("search", "seed"): "search-seed",
    ("intervals", "level"): "interval-level",
    ("intervals", "make_intervals"): "intervals",
}


# What a section that 'convert' wrote can still be asked for: everything else is settled in it.
_ROLES = ("name", "st", "st_element", "msi", "msi_element", "image")


def parameters(home: str) -> list[inspect.Parameter]:
    """Return one option for each field of a model, as parameters of a typer command.

    Every option is None until given. Values stay text: the model itself reads and checks them.

    Parameters
    ----------
    home
        ``opening``, ``roles`` (the part of it that says what is what in a section), or a section of
        the recipe: ``pairing``, ``genes``, ``ions``, ``model``, ``networks``, ``evaluation``,
        ``intervals``, ``search``.
    """
    if home == "roles":
        fields = {name: Opening.model_fields[name] for name in _ROLES}
        return [_parameter("opening", name, field, "What is what in the section") for name, field in fields.items()]
    model, title = _model(home)
    return [_parameter(home, name, field, title) for name, field in model.model_fields.items()]


def opening_from(given: Mapping[str, Any]) -> Opening:
    """Return the `Opening` of the options that were given.

    Raises
    ------
    RecipeProblem
        A value cannot be used.
    """
    return Opening.of(_given("opening", given))


def recipe_from(
    given: Mapping[str, Any], homes: Iterable[str], *, file: Path | None = None, settings: Iterable[str] = ()
) -> Recipe:
    """Return the `Recipe` of a file, changed by ``section.field=value`` settings and by options.

    Raises
    ------
    RecipeProblem
        A value cannot be used, or a setting names no choice.
    FileProblem
        The file cannot be read.
    """
    choices = Recipe() if file is None else Recipe.read(file)
    wanted = choices.model_dump()
    for setting in settings:
        path, equals, text = setting.partition("=")
        section, _, field = path.strip().partition(".")
        if not equals or section not in SECTIONS or field not in SECTIONS[section].model_fields:
            raise RecipeProblem(
                f"'{setting}' does not set anything. Write SECTION.FIELD=VALUE, for example genes.n_top=500; "
                f"the sections are {', '.join(SECTIONS)}."
            )
        try:
            wanted[section][field] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise RecipeProblem(f"The value of '{setting}' cannot be read: {error}") from error
    for home in homes:
        wanted[home] |= _given(home, given)
    return Recipe.of(wanted)


def _model(home: str) -> tuple[type[BaseModel], str]:
    if home == "opening":
        return Opening, "Opening files"
    return SECTIONS[home], str(Recipe.model_fields[home].title)


def _parameter(home: str, name: str, field: FieldInfo, panel: str) -> inspect.Parameter:
    flag = _NAMES.get((home, name), name.replace("_", "-"))
    kind, optional = _kind(field.annotation)
    words: dict[str, Any] = {"rich_help_panel": panel, "help": _help(field), "show_default": False}
    value: Any = str
    if kind is bool:
        value = bool
        declarations = [f"--{flag}/--no-{flag}"]
    else:
        declarations = [f"--{flag}"]
        words["metavar"] = _metavar(kind, optional and field.default is not None)
        if get_origin(kind) is Literal:
            choices = [str(choice) for choice in get_args(kind)]
            words["autocompletion"] = lambda: choices
        elif get_origin(kind) is tuple:
            members = get_args(kind)
            value = list[str] if Ellipsis in members else GenericAlias(tuple, (str,) * len(members))
    return inspect.Parameter(
        f"{home}_{name}",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[value | None, typer.Option(*declarations, **words)],
    )


def _given(home: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a model that the user gave; the word none stands for "no value"."""
    found = {}
    for name, field in _model(home)[0].model_fields.items():
        value = given.get(f"{home}_{name}")
        if value is None or value == []:
            continue
        no_value = isinstance(value, str) and value.lower() == "none" and _kind(field.annotation)[1]
        found[name] = None if no_value else value
    return found


def _kind(annotation: Any) -> tuple[Any, bool]:
    """Return the type of a field without None, and whether None is allowed."""
    members = get_args(annotation)
    if NoneType not in members:
        return annotation, False
    (kind,) = (member for member in members if member is not NoneType)
    return kind, True


def _metavar(kind: Any, or_none: bool) -> str:
    if get_origin(kind) is Literal:
        text = "CHOICE"
    elif get_origin(kind) is tuple:
        members = get_args(kind)
        text = "NUMBER" if Ellipsis in members else " ".join(["NUMBER"] * len(members))
    else:
        text = {int: "INTEGER", float: "NUMBER", Path: "FILE"}.get(kind, "TEXT")
    return f"{text}|none" if or_none else text


def _help(field: FieldInfo) -> str:
    """Return the words of a field; where a form says what empty means, an option says the default."""
    text = f"{field.title}. {field.description or ''}".rstrip()
    kind, _ = _kind(field.annotation)
    if get_origin(kind) is Literal and not all(f"{choice}:" in text for choice in get_args(kind)):
        text = f"{text} One of: {', '.join(map(str, get_args(kind)))}."
    default = field.default
    if default is None:
        return text.replace("Empty:", "Default:")
    if isinstance(default, tuple):
        default = " ".join(f"{value:g}" for value in default)
    elif isinstance(default, bool):
        default = "yes" if default else "no"
    elif isinstance(default, float):
        default = f"{default:g}"
    return f"{text.replace('Empty:', 'none:')} Default: {default}."
