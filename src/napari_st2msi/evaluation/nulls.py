"""Whether two images resemble each other more than two smooth images do by chance."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem, RecipeProblem
from napari_st2msi.evaluation.autocorrelation import checked, shuffles
from napari_st2msi.evaluation.discovery import q_values
from napari_st2msi.evaluation.waves import Waves, waves
from napari_st2msi.grid import Grid
from napari_st2msi.paired import dense
from napari_st2msi.progress import Progress, check, never

if TYPE_CHECKING:
    from anndata import AnnData

#: How an image is redrawn: with the same waves in other places, moved along the grid, or spot by spot.
Null = Literal["spectral", "shift", "permutation"]
_AT_ONCE = 500
# What float32 may round a correlation by.
_ROUNDING = 1e-6


def association(
    truth: NDArray[np.floating],
    prediction: NDArray[np.floating],
    xy: NDArray[np.float64],
    sections: NDArray[Any] | None = None,
    *,
    null: Null = "spectral",
    n_surrogates: int = 9999,
    names: Sequence[str] | None = None,
    known: Waves | None = None,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return how each prediction correlates with its truth, and how often a redrawn truth would do as well.

    Neighbours resemble each other, so two images that have nothing to do with each other correlate far more often
    than as many independent numbers. The truth is therefore redrawn with its smoothness, and the correlation, within
    sections and around their means, is compared with those of the redrawn.

    - ``spectral``: Moran spectral randomisation (Wagner & Dray 2015, doi:10.1111/2041-210X.12407). The image is
      taken apart into waves; pairs of neighbouring wavelengths are turned by random angles, which moves patterns and
      keeps how much there is of each length.
    - ``shift``: the image moves along its grid and comes in again on the other side; for sections whose spots fill a
      rectangle. Exact for images that are periodic. Others break at the seam, and p-values come out too small
      unless the section is many patterns wide.
    - ``permutation``: spot by spot, which destroys smoothness. For comparison only: p-values are far too small.

    The prediction is taken as it is. Whether it knew the spot's neighbours is not asked here: hold blocks or
    sections out, and look at the gain over position.

    Parameters
    ----------
    truth, prediction
        (n, ions) finite, on the scale on which correlation is to be judged.
    xy
        (n, 2) positions in µm. More than 4,000 spots are compared in the means of squares: see `waves`.
    sections
        (n,) the section of each spot; None for one.
    n_surrogates
        How often the truth is redrawn; p is at least 1/(n_surrogates + 1).
    names
        Of the ions: the index of the table.
    known
        `waves` of these spots, if they were made before.

    Returns
    -------
    DataFrame
        One row an ion: `r`, `p` (one-sided), `q` (false discovery rate). NaN where either image is constant.

    Raises
    ------
    DataProblem
        Values are missing or arrays do not fit together.
    GeometryProblem
        ``shift`` is asked for, and a section's spots do not fill a rectangle.
    RecipeProblem
        There is no such null, or nothing is to be redrawn.
    """
    if null not in ("spectral", "shift", "permutation"):
        raise RecipeProblem(f"There is no null '{null}'. Choose spectral, shift or permutation.")
    if n_surrogates < 1:
        raise RecipeProblem("At least one image must be drawn to compare with. Ask for 99 or more.")
    truth, _, _ = checked(truth, xy, sections)
    prediction, xy, sections = checked(prediction, xy, sections)
    if truth.shape != prediction.shape:
        raise DataProblem(f"Truth has {truth.shape[1]:,} ions, the prediction {prediction.shape[1]:,}. Give the same.")
    rng = np.random.default_rng(seed)
    if null == "spectral":
        known = waves(xy, sections, cancelled=cancelled) if known is None else known
        x, y = known.gathered(truth), known.gathered(prediction)
        drawn: Iterator[NDArray[np.floating]] = _turned(x, y, known, n_surrogates, rng)
    else:
        every = Waves(np.arange(len(xy)), xy, sections, [])
        x, y = every.gathered(truth), every.gathered(prediction)
        ways = {"shift": _shifted, "permutation": _shuffled}
        drawn = ways[null](x, y, every, n_surrogates, rng)
    r = (x * y).sum(axis=0)
    reached, done = np.zeros(len(r)), 0
    for surrogates in drawn:
        check(cancelled)
        reached += (surrogates >= r - _ROUNDING).sum(axis=0)
        done += len(surrogates)
        progress(done / n_surrogates, f"{done:,} of {n_surrogates:,} redrawn images")
    p = np.where(np.isnan(r), np.nan, (reached + 1) / (n_surrogates + 1))
    index = pd.RangeIndex(len(r)) if names is None else pd.Index(names, name="ion")
    return pd.DataFrame({"r": r, "p": p, "q": q_values(p)}, index=index)


def skill_significance(
    prediction: AnnData,
    *,
    null: Null = "spectral",
    n_surrogates: int = 9999,
    known: Waves | None = None,
    seed: int = 0,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> pd.DataFrame:
    """Return for each ion whether its out-of-fold prediction is more like the measured image than smoothness gives.

    Parameters
    ----------
    prediction
        Spots × ions out of fold: `Evaluation.prediction`, or the table `msi_predicted` of a section. Compared on the
        scale that the model learned on.

    Returns
    -------
    DataFrame
        One row an ion: `r`, `skill_p`, `skill_q`. See `association` for the rest. NaN for ions that could not be
        learned (`var["learnable"]`): nothing was predicted of them, so nothing is tested, and they do not count in
        the false discovery rate of others.

    Raises
    ------
    DataProblem
        It does not hold what was measured, or spots have only some of the ions.
    """
    if "measured" not in prediction.layers:
        raise DataProblem(
            "This prediction does not hold what was measured, so it cannot be compared. Give one that is out of fold."
        )
    provenance = prediction.uns["provenance"]
    scale = np.log1p if provenance["scale"] == "log1p" else np.asarray
    tried = prediction.var_names
    if "learnable" in prediction.var:
        tried = tried[prediction.var["learnable"].astype(bool)]
    # Spots without measured ions have none of them.
    held = prediction[~np.isnan(dense(prediction.layers["measured"])).all(axis=1), tried]
    table = association(
        scale(dense(held.layers["measured"])),
        scale(dense(held.X)),
        held.obsm["spatial"],
        held.obs["section"].to_numpy(),
        null=null,
        n_surrogates=n_surrogates,
        names=tried.tolist(),
        known=known,
        seed=seed,
        progress=progress,
        cancelled=cancelled,
    )
    return table.rename(columns={"p": "skill_p", "q": "skill_q"}).reindex(prediction.var_names)


def _turned(
    x: NDArray[np.float64], y: NDArray[np.float64], known: Waves, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float32]]:
    """Yield (some, ions) correlations of y with x whose pairs of waves are turned by random angles.

    With a pair's coefficients (a, b) of x and (c, d) of y, turned by φ: cos φ (ac + bd) + sin φ (ad - bc). So all
    ions and all redrawn images are two products of matrices. A wave left alone keeps or changes its sign.
    """
    along, across, single = [], [], []
    for label, modes in known.modes:
        own = known.sections == label
        a, c = (modes.T @ image[own].astype(np.float32) for image in (x, y))
        paired = len(a) // 2 * 2
        along += [a[0:paired:2] * c[0:paired:2] + a[1:paired:2] * c[1:paired:2], a[paired:] * c[paired:]]
        across += [a[0:paired:2] * c[1:paired:2] - a[1:paired:2] * c[0:paired:2], 0 * a[paired:]]
        single += [np.zeros(paired // 2, dtype=bool), np.ones(len(a) - paired, dtype=bool)]
    cosine, sine, alone = np.concatenate(along), np.concatenate(across), np.concatenate(single)
    for begin in range(0, count, _AT_ONCE):
        angle = rng.uniform(0, 2 * np.pi, (min(_AT_ONCE, count - begin), len(cosine))).astype(np.float32)
        angle[:, alone] = np.where(angle[:, alone] < np.pi, 0, np.float32(np.pi))
        yield np.cos(angle) @ cosine + np.sin(angle) @ sine


def _shifted(
    x: NDArray[np.float64], y: NDArray[np.float64], known: Waves, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield (some, ions) correlations of y with x, each section of which is moved around its torus."""
    maps = []
    for label in np.unique(known.sections):
        own = np.flatnonzero(known.sections == label)
        grid = Grid.from_points(known.xy[own])
        if grid is None or (grid.index < 0).any() or min(grid.index.shape) < 2:
            raise GeometryProblem(
                f"The spots of section '{label}' do not fill a rectangle of rows and columns, so its images cannot be "
                "shifted around. Choose the null 'spectral'."
            )
        spots = own[grid.index]
        waves_of_x, waves_of_y = (np.fft.rfft2(image[spots], axes=(0, 1)) for image in (x, y))
        moved = np.fft.irfft2(waves_of_x * waves_of_y.conj(), s=spots.shape, axes=(0, 1))
        maps.append(moved.reshape(spots.size, -1))
    for begin in range(0, count, _AT_ONCE):
        some = min(_AT_ONCE, count - begin)
        yield np.sum([moved[rng.integers(0, len(moved), some)] for moved in maps], axis=0)


def _shuffled(
    x: NDArray[np.float64], y: NDArray[np.float64], known: Waves, count: int, rng: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yield (1, ions) correlations of y with x, whose spots are dealt out anew within sections."""
    for order in shuffles(known.sections, count, rng):
        yield np.einsum("ij,ij->j", x[order], y)[None]
