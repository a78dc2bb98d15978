"""Paired spots with a planted signal, small enough for every test."""

from __future__ import annotations

import numpy as np
import pandas as pd
from anndata import AnnData
from scipy.sparse import csr_matrix

from napari_st2msi.paired import PairedDataset

KINDS = ("linear", "presence", "noise", "zero", "rare")


def planted(
    n_side: int = 16, sections: int = 1, genes: int = 30, per_kind: int = 3, seed: int = 0, sparse: bool = True
) -> PairedDataset:
    """Return spots on a 100 µm grid whose ions depend on gene programs that differ from spot to spot.

    Ions: `linear` in two programs, `presence` by one program, `noise`, `zero` everywhere, and `rare`
    (present in three spots). Gene ``g0`` is constant.
    """
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.arange(n_side), np.arange(n_side))
    xy = np.tile(np.column_stack([x.ravel(), y.ravel()]) * 100.0, (sections, 1))
    n = len(xy)
    programs = rng.normal(size=(n, 3))
    weights = rng.normal(size=(3, genes)) * (rng.random((3, genes)) < 0.4)
    counts = rng.poisson(np.exp(2.5 + 0.5 * programs @ weights)).astype(np.float32)
    counts[:, 0] = 7
    obs = pd.DataFrame(
        {"section": np.repeat([f"s{number}" for number in range(sections)], n_side**2)},
        index=[f"spot{number}" for number in range(n)],
    )
    mix = rng.normal(size=(3, per_kind))
    log = 4 + 0.6 * programs @ mix + 0.2 * rng.normal(size=(n, per_kind))
    chance = 1 / (1 + np.exp(-3 * programs[:, [0]]))
    there = rng.random((n, per_kind)) < chance
    rare = np.zeros((n, per_kind))
    rare[rng.choice(n, 3, replace=False)] = 50.0
    values = np.hstack(
        [
            np.expm1(np.maximum(log, 0)),
            there * np.expm1(3 + 0.2 * rng.normal(size=(n, per_kind))),
            np.expm1(4 + 0.3 * rng.normal(size=(n, per_kind))),
            np.zeros((n, per_kind)),
            rare,
        ]
    )
    names = [f"{kind}{number}" for kind in KINDS for number in range(per_kind)]
    var = pd.DataFrame({"mz": 100.0 + np.arange(len(names)), "kind": np.repeat(KINDS, per_kind)}, index=names)
    position = {"spatial": xy}
    return PairedDataset(
        AnnData(
            csr_matrix(counts) if sparse else counts,
            obs=obs.copy(),
            var=pd.DataFrame(index=[f"g{number}" for number in range(genes)]),
            obsm=position,
        ),
        AnnData(values.astype(np.float32), obs=obs.copy(), var=var, obsm=dict(position)),
    )
