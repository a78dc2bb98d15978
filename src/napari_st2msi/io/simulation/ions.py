"""Ions of known kinds: what drives each, how noisy it is, and how well it could be predicted at best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.io.simulation.choices import Kind

#: Hidden programs drive part of the nonlinear ions and no gene.
N_HIDDEN = 4
_HIDDEN_SHARE = 0.25
# Logistic width of the switch of an ion that is present or absent, in deviations of its program.
_SWITCH = 0.15
_MASS = {"C": 12.0, "H": 1.00782503207, "N": 14.0030740048, "O": 15.9949146196, "P": 30.97376163, "S": 31.972071}
_ADDUCTS = {"M+H": 1.00727646, "M+Na": 22.98922070, "M+K": 38.96315810}
# Class → atoms (C, H, N, O, P, S) without chains, smallest and largest number of carbons, of double bonds.
_LIPIDS: dict[str, tuple[tuple[int, int, int, int, int, int], range, range]] = {
    "PC": ((8, 16, 1, 8, 1, 0), range(30, 42, 2), range(0, 7)),
    "PE": ((5, 10, 1, 8, 1, 0), range(32, 42, 2), range(0, 7)),
    "PS": ((6, 10, 1, 10, 1, 0), range(34, 42, 2), range(0, 7)),
    "PI": ((9, 15, 0, 13, 1, 0), range(34, 42, 2), range(0, 7)),
    "SM": ((5, 13, 2, 6, 1, 0), range(32, 44, 2), range(1, 3)),
    "LPC": ((8, 18, 1, 7, 1, 0), range(14, 24, 2), range(0, 5)),
    "LPE": ((5, 12, 1, 7, 1, 0), range(16, 24, 2), range(0, 5)),
    "Cer": ((0, 1, 1, 3, 0, 0), range(32, 44, 2), range(1, 3)),
    "HexCer": ((6, 11, 1, 8, 0, 0), range(34, 44, 2), range(1, 3)),
    "DG": ((3, 4, 0, 5, 0, 0), range(30, 42, 2), range(0, 5)),
    "TG": ((3, 2, 0, 6, 0, 0), range(44, 58, 2), range(0, 5)),
}
_METABOLITES: dict[str, tuple[int, int, int, int, int, int]] = {
    "GABA": (4, 9, 1, 2, 0, 0),
    "Dopamine": (8, 11, 1, 2, 0, 0),
    "Serotonin": (10, 12, 2, 1, 0, 0),
    "Glutamate": (5, 9, 1, 4, 0, 0),
    "Glutamine": (5, 10, 2, 3, 0, 0),
    "Histidine": (6, 9, 3, 2, 0, 0),
    "Taurine": (2, 7, 1, 3, 0, 1),
    "Creatine": (4, 9, 3, 2, 0, 0),
    "N-Acetylaspartate": (6, 9, 1, 5, 0, 0),
    "Carnitine": (7, 15, 1, 3, 0, 0),
    "Acetylcarnitine": (9, 17, 1, 4, 0, 0),
    "Spermidine": (7, 19, 3, 0, 0, 0),
    "Spermine": (10, 26, 4, 0, 0, 0),
    "Ascorbate": (6, 8, 0, 6, 0, 0),
    "Hexose": (6, 12, 0, 6, 0, 0),
    "Adenosine": (10, 13, 5, 4, 0, 0),
    "Inosine": (10, 12, 4, 5, 0, 0),
    "AMP": (10, 14, 5, 7, 1, 0),
    "Glutathione": (10, 17, 3, 6, 0, 1),
}


@dataclass(frozen=True)
class View:
    """What apertures see of a specimen.

    Attributes
    ----------
    programs, ring
        (n, programs) mean activity in the aperture, and in the six places around it.
    hidden
        (n, hidden programs) mean activity of programs that no gene reads.
    smooth
        (n, smooth ions) a field for each of them.
    """

    programs: NDArray[np.float64]
    ring: NDArray[np.float64]
    hidden: NDArray[np.float64]
    smooth: NDArray[np.float64]


@dataclass(frozen=True)
class Signal:
    """What ions would be without noise, on the natural log scale.

    Attributes
    ----------
    log
        (n, ions) log intensity where present.
    from_genes
        (n, ions) the part of it that gene programs determine.
    presence
        (n, ions) probability of being there at all; 1 for most kinds.
    """

    log: NDArray[np.float64]
    from_genes: NDArray[np.float64]
    presence: NDArray[np.float64]


@dataclass(frozen=True)
class IonPanel:
    """The ions of an experiment, shared by its sections.

    Attributes
    ----------
    var
        Index: m/z as text; `mz`, `name`, `formula`, `adduct`.
    kinds
        (ions,) kind of each.
    weights
        (programs, ions): what each ion takes of each program; an interaction multiplies its two.
    hidden
        (hidden programs, ions). `switch`: (ions,) program that switches an ion on.
    level, spread, noise
        (ions,) mean and deviation of the log signal, and deviation of the log noise.
    centre, size, threshold
        (ions,) of the raw signal before it is standardised, and of the switch.
    """

    var: pd.DataFrame
    kinds: NDArray[np.str_]
    weights: NDArray[np.float64]
    hidden: NDArray[np.float64]
    switch: NDArray[np.int64]
    level: NDArray[np.float64]
    spread: NDArray[np.float64]
    noise: NDArray[np.float64]
    centre: NDArray[np.float64]
    size: NDArray[np.float64]
    threshold: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator, kinds: list[Kind], noise: float, view: View) -> IonPanel:
        """Draw a panel and scale it on what the spots of one section see.

        Parameters
        ----------
        noise
            1 draws ceilings evenly between 0.6 and 0.97; the deviation of the noise grows with it.
        """
        n, programs = len(kinds), view.programs.shape[1]
        order = np.array(kinds)[rng.permutation(n)]
        weights = np.zeros((programs, n))
        for ion, kind in enumerate(order):
            count = 2 if kind == "interaction" else int(rng.integers(2, 5))
            chosen = rng.choice(programs, size=min(count, programs), replace=False)
            sign = 1.0 if kind == "interaction" else rng.choice([1.0, 1.0, -1.0], len(chosen))
            weights[chosen, ion] = sign * rng.uniform(0.5, 1.0, len(chosen))
        weights[:, np.isin(order, ("smooth", "noise"))] = 0
        hidden = np.where(order == "nonlinear", np.eye(N_HIDDEN)[rng.integers(0, N_HIDDEN, n)].T, 0.0)
        switch = np.abs(weights).argmax(axis=0)
        spread = np.where(order == "noise", 0.0, rng.uniform(0.6, 1.0, n))
        ceiling = rng.uniform(0.6, 0.97, n)
        deviation = noise * np.where(spread > 0, spread * np.sqrt((1 - ceiling) / ceiling), rng.uniform(0.4, 0.8, n))
        share = rng.uniform(0.35, 0.65, n)
        threshold = np.array([np.quantile(view.programs[:, p], q) for p, q in zip(switch, 1 - share, strict=True)])
        level = np.clip(rng.normal(6.0, 1.0, n), 4.5, 8.5)
        panel = cls(
            _names(rng, n), order, weights, hidden, switch, level, spread, deviation,
            np.zeros(n), np.ones(n), threshold,
        )  # fmt: skip
        raw, _ = panel._raw(view)
        size = raw.std(axis=0)
        size[size < 1e-9] = 1.0
        return cls(
            panel.var, order, weights, hidden, switch, level, spread, deviation, raw.mean(axis=0), size, threshold
        )

    def signal(self, view: View) -> Signal:
        """Return what ions would be without noise for what apertures see."""
        raw, driven = self._raw(view)
        presence = np.ones(raw.shape)
        on = np.flatnonzero(self.kinds == "presence")
        presence[:, on] = 1 / (1 + np.exp(-(view.programs[:, self.switch[on]] - self.threshold[on]) / _SWITCH))
        log, from_genes = (self.level + self.spread * (part - self.centre) / self.size for part in (raw, driven))
        return Signal(log, from_genes, presence)

    def measure(
        self,
        rng: np.random.Generator,
        signal: Signal,
        gain: NDArray[np.float64],
        share: NDArray[np.float64] | None = None,
    ) -> NDArray[np.float32]:
        """Return (n, ions) measured intensities: log-normal noise, absence, and background off the tissue.

        Parameters
        ----------
        gain
            (ions,) batch effect of the section.
        share
            (n,) share of the aperture that lies on tissue; all of it when None.
        """
        n = len(signal.log)
        shape = signal.log.shape
        values = np.exp(signal.log + self.noise * rng.standard_normal(shape)) * gain
        values[rng.random(shape) >= signal.presence] = 0
        if share is not None:
            glass = np.exp(self.level - 4 + 0.5 * rng.standard_normal(shape)) * (rng.random(shape) < 0.4)
            values = share.reshape(n, 1) * values + (1 - share.reshape(n, 1)) * glass
        return values.astype(np.float32)

    def _raw(self, view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the raw signal of each ion, and the part of it that genes determine."""
        raw = np.zeros((len(view.programs), len(self.kinds)))
        own = np.isin(self.kinds, ("linear", "nonlinear", "presence"))
        raw[:, own] = view.programs @ self.weights[:, own]
        around = self.kinds == "neighbourhood"
        raw[:, around] = view.ring @ self.weights[:, around]
        for ion in np.flatnonzero(self.kinds == "interaction"):
            first, second = np.argsort(-self.weights[:, ion], kind="stable")[:2]
            raw[:, ion] = view.programs[:, first] * view.programs[:, second]
        driven = raw
        curved = self.kinds == "nonlinear"
        if curved.any():
            # A saturating curve of the programs; a quarter of the variance comes from what no gene reads.
            length = np.linalg.norm(self.weights[:, curved], axis=0)
            raw[:, curved] = 4 / (1 + np.exp(-1.6 * (raw[:, curved] / length - 0.3)))
            driven = raw.copy()
            raw[:, curved] += np.sqrt(_HIDDEN_SHARE / (1 - _HIDDEN_SHARE)) * (view.hidden @ self.hidden[:, curved])
        smooth = self.kinds == "smooth"
        raw[:, smooth] = view.smooth
        if smooth.any():
            driven = driven.copy()
            driven[:, smooth] = self.centre[smooth]
        return raw, driven


def ceilings(
    panel: IonPanel,
    signal: Signal,
    gain: NDArray[np.float64],
    measured: NDArray[np.float32],
    unknown: NDArray[np.float64],
) -> pd.DataFrame:
    """Return the best R² there is for each ion on the log1p scale, over the given spots.

    Parameters
    ----------
    unknown
        (programs, programs) what counts leave unknown of activities: see `GenePanel.uncertainty`.

    Returns
    -------
    DataFrame with `reproducible` (share of the variance that is signal: what a second measurement of
    the spots would explain), `ceiling` (the share that the gene programs determine: what a perfect
    predictor that knew the programs would reach, by formula), `ceiling_spots` (the R² that their true
    values reach on these very measurements) and `ceiling_given_counts` (what is left of the ceiling
    when the programs are known from the counts only; for linear and neighbourhood ions, else NaN).
    """
    noise = panel.noise**2
    height = np.log1p(np.exp(signal.log) * gain)
    from_genes = np.log1p(np.exp(signal.from_genes) * gain)
    p = signal.presence
    # Variance of a value that is 0 with probability 1-p, else `height` plus noise.
    unpredictable = (p * (1 - p) * height**2 + p * noise).mean(axis=0)
    total = (p * height).var(axis=0) + unpredictable
    best = p * from_genes
    missed = ((p * height - best) ** 2).mean(axis=0)
    truth = np.log1p(measured.astype(float))
    residual = ((truth - best) ** 2).mean(axis=0)
    spread = truth.var(axis=0)
    # A linear ion misses what is unknown of the spot; the mean over six neighbours misses a sixth.
    fewer = np.select([panel.kinds == "linear", panel.kinds == "neighbourhood"], [1.0, 1 / 6], np.nan)
    lost = fewer * np.einsum("pi,pq,qi->i", panel.weights, unknown, panel.weights) * (panel.spread / panel.size) ** 2
    ceiling = np.maximum(0.0, 1 - (unpredictable + missed) / total)
    return pd.DataFrame(
        {
            "reproducible": 1 - unpredictable / total,
            "ceiling": ceiling,
            "ceiling_spots": np.maximum(0.0, 1 - residual / np.where(spread > 0, spread, np.inf)),
            "ceiling_given_counts": np.maximum(0.0, ceiling - lost / total),
        },
        index=panel.var.index,
    )


def _names(rng: np.random.Generator, count: int) -> pd.DataFrame:
    """Draw ions with plausible names: lipids and metabolites as adducts, in order of m/z."""
    species = dict(_METABOLITES)
    for lipid, (head, carbons, bonds) in _LIPIDS.items():
        for c in carbons:
            for d in bonds:
                species[f"{lipid}({c}:{d})"] = (head[0] + c, head[1] + 2 * c - 2 * d, *head[2:])
    rows: dict[str, tuple[float, str, str, str]] = {}
    for name, atoms in species.items():
        neutral = sum(n * mass for n, mass in zip(atoms, _MASS.values(), strict=True))
        formula = "".join(f"{symbol}{n if n > 1 else ''}" for symbol, n in zip(_MASS, atoms, strict=True) if n)
        for adduct, mass in _ADDUCTS.items():
            rows.setdefault(f"{neutral + mass:.4f}", (round(neutral + mass, 4), name, formula, adduct))
    chosen = sorted(rng.choice(list(rows), count, replace=False), key=float)
    return pd.DataFrame([rows[key] for key in chosen], index=chosen, columns=["mz", "name", "formula", "adduct"])
