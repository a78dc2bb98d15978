"""Ways of holding out by their names: which there are, how strict each is, and what tables call it."""

from __future__ import annotations

from collections.abc import Container, Mapping

from napari_st2msi.errors import RecipeProblem
from napari_st2msi.recipe import Recipe

#: Ways of holding out, the strictest first, where all or none of them hold out whole sections.
STRICTEST = ("leave_group_out", "tissue_halves", "knndm", "blocks", "half", "random")

_WORDS = {"knndm": "kNNDM", "leave_group_out": "each group"}


def held_out_by(recipe: Recipe, name: str) -> Recipe:
    """Return the recipe that holds out as a protocol's name says; see `choices_of`."""
    return recipe.model_copy(update={"evaluation": recipe.evaluation.model_copy(update=choices_of(name))})


def choices_of(name: str) -> dict[str, str]:
    """Return the choices of `recipe.evaluation` that a protocol's name makes; ``leave_group_out:donor`` has a group.

    Raises
    ------
    RecipeProblem
        There is no such protocol.
    """
    protocol, _, group = name.partition(":")
    if protocol not in STRICTEST or (group and protocol != "leave_group_out"):
        raise RecipeProblem(
            f"There is no protocol '{name}'. Choose from: {', '.join(reversed(STRICTEST))}; "
            "'leave_group_out:donor' says which group."
        )
    return {"protocol": protocol} | ({"group": group} if group else {})


def short_name(name: str) -> str:
    """Return a protocol's name as columns have it: ``leave_group_out:donor`` is ``leave_donor``."""
    protocol, _, group = name.partition(":")
    return f"leave_{group}" if group and protocol == "leave_group_out" else name


def protocol_words(name: str) -> str:
    """Return what a protocol is called beside others: ``leave_donor`` is ``each donor``."""
    name = short_name(name)
    if name not in _WORDS and name.startswith("leave_"):
        return f"each {name.removeprefix('leave_').replace('_', ' ')}"
    return _WORDS.get(name, name.replace("_", " "))


def strictest(protocols: Mapping[str, str], whole_sections: Container[str] = ()) -> str:
    """Return the name whose protocol is the strictest, the first of equals.

    Parameters
    ----------
    protocols
        Of each name.
    whole_sections
        Names that hold out whole sections. They come first: groups that are regions of a section leave the rest of it
        to learn from, whatever is between them.
    """
    return min(protocols, key=lambda name: (name not in whole_sections, STRICTEST.index(protocols[name])))
