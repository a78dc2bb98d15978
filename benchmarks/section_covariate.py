"""What the section as an input brings a network: in a section never seen, and in another part of known ones.

Three simulated sections that differ by `batch`; R² and correlation within each section, median over the ions that
genes drive. Run with ``python benchmarks/section_covariate.py`` (a minute).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

import napari_st2msi as st2msi
from napari_st2msi import PairedDataset, Recipe
from napari_st2msi.models.inner import block_folds
from napari_st2msi.models.mlp import MultilayerPerceptron

Split = tuple[NDArray[np.int64], NDArray[np.int64]]


def told(paired: PairedDataset, splits: list[Split], covariate: bool) -> tuple[NDArray[np.float64], ...]:
    """Return (ions,) R² and correlation on the log scale, means over the sections held out."""
    recipe = Recipe.model_validate(
        {"model": {"name": "mlp", "section_covariate": covariate}, "networks": {"device": "cpu"}}
    )
    r2, correlation = [], []
    for fit, held in splits:
        model = MultilayerPerceptron(recipe).fit(paired.select(fit), context=paired.genes)
        said = np.log1p(model.predict(paired.genes[held].copy(), context=paired.genes).X)
        for label in np.unique(paired.sections[held]):
            own = paired.sections[held] == label
            truth, guess = np.log1p(np.asarray(paired.ions.X[held][own], dtype=float)), said[own].astype(float)
            about, off = truth - truth.mean(axis=0), guess - guess.mean(axis=0)
            total = np.maximum((about**2).sum(axis=0), 1e-12)
            r2.append(1 - ((truth - guess) ** 2).sum(axis=0) / total)
            correlation.append((about * off).sum(axis=0) / np.sqrt(total * np.maximum((off**2).sum(axis=0), 1e-12)))
    return np.mean(r2, axis=0), np.mean(correlation, axis=0)


def main() -> None:
    """Print a row for each batch, protocol and choice."""
    torch.set_num_threads(1)
    for batch in (0.3, 1.0):
        simulation = st2msi.simulate(n_spots=400, n_genes=500, n_programs=12, n_sections=3, batch=batch, seed=5)
        paired = simulation.paired()
        driven = ~simulation.truth.ions.loc[paired.ions.var_names, "kind"].isin(("smooth", "noise")).to_numpy()
        each = [paired.sections == label for label in np.unique(paired.sections)]
        block = block_folds(paired)[0]
        protocols: dict[str, list[Split]] = {
            "new section": [(np.flatnonzero(~own), np.flatnonzero(own)) for own in each],
            "block of known sections": [(block.fit, block.held)],
        }
        for protocol, splits in protocols.items():
            for covariate in (False, True):
                r2, correlation = (np.median(scores[driven]) for scores in told(paired, splits, covariate))
                print(f"batch {batch}, {protocol}, covariate {covariate}: R² {r2:.3f}, correlation {correlation:.3f}")


if __name__ == "__main__":
    main()
