"""Which genes become features: the most variable, the most spatial, or those of a list."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import FileProblem

_BINS = 20


def most_variable(mean: NDArray[np.float64], variance: NDArray[np.float64], n_top: int) -> NDArray[np.int64]:
    """Return the genes whose dispersion stands out among genes of similar mean.

    Dispersion (variance over mean) is compared with the median of its bin of equally many genes, in
    units of the bin's median absolute deviation: the idea of Satija et al. 2015, doi:10.1038/nbt.3192.
    """
    dispersion = np.log(np.maximum(variance, 1e-12) / np.maximum(mean, 1e-12))
    order = np.argsort(mean, kind="stable")
    score = np.empty(len(mean))
    for members in np.array_split(order, max(1, min(_BINS, len(mean) // 5))):
        middle = np.median(dispersion[members])
        spread = np.median(np.abs(dispersion[members] - middle))
        score[members] = (dispersion[members] - middle) / max(spread, 1e-6)
    return np.argsort(-score, kind="stable")[:n_top]


def read_genes(path: str | Path) -> list[str]:
    """Read names of genes: one a line, or all genes of the sets of a GMT file, each once.

    In a GMT file a line is a set: its name, a description, then its genes, with tabs between. Lines
    that are empty or begin with # are passed over.

    Raises
    ------
    FileProblem
        The file cannot be read, or names no gene.
    """
    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FileProblem(f"The gene list '{path}' cannot be read: {error}") from error
    lines = [line for line in lines if line.strip() and not line.startswith("#")]
    sets = [line.rstrip().split("\t") for line in lines]
    found = [name.strip() for parts in sets for name in (parts[2:] if len(parts) > 2 else parts[:1])]
    names = list(dict.fromkeys(name for name in found if name))
    if not names:
        raise FileProblem(f"The gene list '{path}' names no gene. Write one gene a line.")
    return names
