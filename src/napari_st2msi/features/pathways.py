"""Pathways: sets of genes, bundled or the user's own, and what spots express of each on average."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem, ModelProblem

#: A pathway needs at least so many of its genes among those measured.
LEAST_MEMBERS = 3


def read_sets(path: str | Path) -> dict[str, list[str]]:
    """Read sets of genes from a GMT file: a set a line, its name, a description, then genes, with tabs between.

    Lines that are empty or begin with # are passed over.

    Raises
    ------
    FileProblem
        The file cannot be read, a line names no gene, or two sets have the same name.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FileProblem(f"The gene sets '{path}' cannot be read: {error}") from error
    return _parse(text, str(path))


def bundled_sets() -> dict[str, list[str]]:
    """Return the gene sets that come with this package: metabolism; see `gene_sets/README.md` for their origin."""
    name = "metabolism.gmt"
    return _parse(files("napari_st2msi.features").joinpath("gene_sets", name).read_text(encoding="utf-8"), name)


def gene_sets(path: Path | None) -> dict[str, list[str]]:
    """Return the sets of a GMT file, or the bundled ones where none is given.

    Raises
    ------
    FileProblem
        See `read_sets`.
    """
    return bundled_sets() if path is None else read_sets(path)


def members(sets: Mapping[str, Sequence[str]], genes: Sequence[str]) -> dict[str, list[str]]:
    """Return for each set which of the genes belong to it, in their order; sets with too few are left out.

    Names are compared whatever their case: symbols of human and mouse often differ in nothing else.

    Raises
    ------
    ModelProblem
        No set has enough members among the genes.
    """
    lower = [str(gene).lower() for gene in genes]
    found = {}
    for name, listed in sets.items():
        wanted = {gene.lower() for gene in listed}
        own = [str(gene) for gene, low in zip(genes, lower, strict=True) if low in wanted]
        if len(own) >= LEAST_MEMBERS:
            found[name] = own
    if not found:
        known = next(iter(sets.values()), ["none"])
        raise ModelProblem(
            f"No pathway has {LEAST_MEMBERS} genes among the {len(lower):,} genes of the training spots. Pathways have "
            f"names like '{known[0]}', the data has names like '{genes[0] if len(genes) else ''}'. Use gene symbols, "
            "or give gene sets with the names of your data."
        )
    return found


def averaging(found: Mapping[str, Sequence[str]], genes: Sequence[str]) -> NDArray[np.float64]:
    """Return (genes, pathways) weights whose product with standardised genes is the mean of each pathway's members."""
    place = {gene: row for row, gene in enumerate(genes)}
    weights = np.zeros((len(genes), len(found)))
    for column, own in enumerate(found.values()):
        weights[[place[gene] for gene in own], column] = 1 / len(own)
    return weights


def _parse(text: str, name: str) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        title, *rest = (part.strip() for part in line.split("\t"))
        genes = list(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not genes:
            raise FileProblem(
                f"Line {number} of the gene sets '{name}' names no gene. Write a set a line: its name, a description, "
                "then its genes, with tabs between (GMT)."
            )
        if title in sets:
            raise FileProblem(f"The gene sets '{name}' name '{title}' twice. Give each set its own name.")
        sets[title] = genes
    if not sets:
        raise FileProblem(f"The gene sets '{name}' are empty. Give a GMT file with at least one set.")
    return sets
