"""What all parts of a recipe share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, ValidationError


class Choices(BaseModel):
    """Choices that are checked, cannot be changed, and of which none may be unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


def explain(error: ValidationError, what: str = "recipe") -> str:
    """Return a pydantic error as sentences a user can act on; `what` is what was checked."""
    lines = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"]) or what
        if problem["type"] == "extra_forbidden":
            lines.append(f"'{where}' is not a choice of the {what}.")
        else:
            lines.append(f"'{where}' is {problem['input']!r}: {problem['msg'][:1].lower()}{problem['msg'][1:]}.")
    return " ".join(lines)
