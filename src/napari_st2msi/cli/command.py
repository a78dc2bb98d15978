"""Turn a function into a command: add the options of the models it takes, run it, end it properly."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_st2msi.cli.console import running
from napari_st2msi.cli.options import opening_from, parameters, recipe_from

_RECIPE = Annotated[
    Path | None,
    typer.Option(
        "--recipe",
        metavar="FILE",
        help="A YAML file of choices; options change what it says.",
        rich_help_panel="Recipe",
    ),
]
_SET = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.FIELD=VALUE",
        help="Any choice of the recipe, for example genes.n_top=500. May be given again.",
        rich_help_panel="Recipe",
    ),
]
_JSON = Annotated[
    bool, typer.Option("--json", help="Print the result as one JSON object to stdout, for scripts.", show_default=False)
]


def command(app: typer.Typer, *homes: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that adds a function to `app` as a command.

    Parameters
    ----------
    homes
        What the command takes options for: ``opening`` or ``roles``, and sections of the recipe.

    The function's own parameters become arguments and options as typer has it, except three that it
    may ask for by name: `run` (`console.Run`), `opening` (`Opening`) and `recipe` (`Recipe`).
    """
    sections = [home for home in homes if home not in ("opening", "roles")]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        asked = inspect.signature(function, eval_str=True).parameters
        own = [
            parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY)
            for name, parameter in asked.items()
            if name not in ("run", "opening", "recipe")
        ]
        added = [parameter for home in homes for parameter in parameters(home)]
        if sections:
            added.append(_option("recipe_file", _RECIPE))
            added.append(_option("settings", _SET))
        added.append(_option("as_json", _JSON, False))

        @wraps(function)
        def run_it(**given: Any) -> None:
            with running(as_json=given["as_json"]) as run:
                arguments = {parameter.name: given[parameter.name] for parameter in own}
                if "opening" in asked:
                    arguments["opening"] = opening_from(given)
                if sections:
                    arguments["recipe"] = recipe_from(
                        given, sections, file=given["recipe_file"], settings=given["settings"] or ()
                    )
                function(**arguments, run=run)

        # typer asks `inspect` for the signature, and reads the annotations, too: those of the function are text.
        vars(run_it)["__signature__"] = inspect.Signature([*own, *added])
        run_it.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *added]}
        app.command()(run_it)
        return run_it

    return decorate


def _option(name: str, annotation: Any, default: Any = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
