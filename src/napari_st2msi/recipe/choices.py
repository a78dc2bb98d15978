"""What all parts of a recipe share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from napari_st2msi.errors import RecipeProblem


class Choices(BaseModel):
    """Choices that are checked, cannot be changed, and of which none may be unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)

    #: What messages call all of them together.
    called: ClassVar[str] = "recipe"

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Check choices that a user gave.

        Raises
        ------
        RecipeProblem
            Something is unknown, missing or out of range.
        """
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise RecipeProblem(explain(error, cls.called)) from error


def explain(error: ValidationError, what: str = "recipe") -> str:
    """Return a pydantic error as sentences a user can act on; `what` is what was checked."""
    lines = []
    problems = error.errors()
    inner = {problem["loc"][:depth] for problem in problems for depth in range(1, len(problem["loc"]))}
    for problem in problems:
        if problem["type"] == "too_short" and problem["loc"] in inner:
            continue  # its entries were refused, which is said of each
        where, given = ".".join(str(part) for part in problem["loc"]), problem["input"]
        # What a check of our own found, it says in whole sentences; pydantic puts "Value error, " before them.
        own = problem["type"] == "value_error"
        words = str(problem["ctx"]["error"]) if own else problem["msg"]
        # A whole section of choices would bury what is wrong with it.
        shown = f" is {given!r}" if isinstance(given, str | int | float | None) else ""
        if problem["type"] == "extra_forbidden":
            lines.append(f"'{where}' is not a choice of the {what}.")
        elif problem["type"] == "missing":
            lines.append(f"'{where}' is missing.")
        elif own and not where:
            lines.append(f"{words[:1].upper()}{words[1:]}.")
        else:
            lines.append(f"'{where or what}'{shown}: {words[:1].lower()}{words[1:]}.")
    return " ".join(lines)
