"""Simulated sections with known truth, to teach with and to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.io.build import build_section
from napari_st2msi.io.landmarks import landmark_elements
from napari_st2msi.io.simulation.choices import KINDS, Kind, SampleChoices
from napari_st2msi.io.simulation.expression import GenePanel
from napari_st2msi.io.simulation.fields import stream
from napari_st2msi.io.simulation.histology import stain
from napari_st2msi.io.simulation.ions import IonPanel, Signal, ceilings
from napari_st2msi.io.simulation.pose import Pose
from napari_st2msi.io.simulation.specimen import Specimen
from napari_st2msi.io.simulation.spots import cell_outlines
from napari_st2msi.paired import PairedDataset
from napari_st2msi.progress import Progress, check, never
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

__all__ = ["KINDS", "SAMPLES", "Kind", "Pose", "SampleChoices", "SectionTruth", "Simulation", "Truth", "simulate"]

#: Samples to open without choosing anything, by the name in the menu.
SAMPLES: dict[str, SampleChoices] = {
    "Simulated brain section (Visium)": SampleChoices(name="brain", n_spots=1200, n_genes=1000),
    "Simulated tonsil (single cells)": SampleChoices(
        name="tonsil",
        tissue="tonsil",
        technology="cells",
        n_spots=6000,
        n_genes=300,
        detection=0.2,
        pixel_size_um=20,
        warp_um=30,
        click_um=10,
    ),
    "Simulated brain, two sections with batch effect": SampleChoices(
        name="brain", n_spots=800, n_genes=600, n_sections=2, ions_per_kind=8
    ),
}

_ROWS = 20_000  # places whose ions are computed in one go


@dataclass(frozen=True)
class SectionTruth:
    """What is known of one simulated section because we made it.

    Attributes
    ----------
    regions
        (spots,) name of each spot's region.
    activities
        Spots × programs: the mean activity over each spot.
    pose
        The exact map from MSI to ST: `pose.to_st`, `pose.to_msi`, both on (..., 2) µm.
    true_msi_to_st
        (3, 3) the affine nearest to it over the tissue, by least squares.
    landmarks
        One row a landmark, indexed by its id: `moving_x`, `moving_y`, `fixed_x`, `fixed_y` as clicked, and
        `true_fixed_x`, `true_fixed_y`, `true_moving_x`, `true_moving_y` as they should be (µm).
    gain
        (ions,) factor of this section's batch.
    """

    regions: NDArray[np.str_]
    activities: pd.DataFrame
    pose: Pose
    true_msi_to_st: NDArray[np.float64]
    landmarks: pd.DataFrame
    gain: NDArray[np.float64]


@dataclass(frozen=True)
class Truth:
    """What is known of a simulated sample.

    Attributes
    ----------
    ions
        One row an ion, indexed as `msi.var`: `mz`, `name`, `formula`, `adduct`; `kind`; `programs`
        (what drives it); `noise` (deviation of its log noise); and the best R² there is, on the log1p
        scale within sections, for spot values as `Simulation.paired` gives them: `reproducible`,
        `ceiling`, `ceiling_spots`, `ceiling_given_counts`, defined by
        `napari_st2msi.io.simulation.ions.ceilings`.
    loadings
        Programs × genes: change of a gene's log rate with a program's activity.
    sections
        By name of the section.
    """

    ions: pd.DataFrame
    loadings: pd.DataFrame
    sections: dict[str, SectionTruth]


@dataclass(frozen=True)
class Simulation:
    """Simulated sections and the truth about them; made by `simulate`.

    The sections are as an experiment would give them: MSI on its own grid in its own frame, not
    registered, with landmarks that people clicked.
    """

    choices: SampleChoices
    sections: list[Section]
    truth: Truth = field(repr=False)
    _specimens: list[Specimen] = field(repr=False)
    _panel: IonPanel = field(repr=False)

    def paired(self) -> PairedDataset:
        """Return all spots with genes and ions, each ion measured on the spot's very area.

        The tissue's ions are looked at through the spots with the true geometry and the noise of one
        pixel, so that models can be tested apart from registration and pairing.
        """
        parts = []
        for number, (section, specimen) in enumerate(zip(self.sections, self._specimens, strict=True)):
            genes = section.st.copy()
            genes.obs = genes.obs.drop(columns=["region", "instance"])
            genes.uns.pop("spatialdata_attrs")
            truth = self.truth.sections[section.name]
            values = [
                _spot_ions(self.choices, number, specimen, self._panel, truth.gain, spots)[1]
                for spots in np.split(np.arange(genes.n_obs), range(_ROWS, genes.n_obs, _ROWS))
            ]
            ions = _table(np.concatenate(values), genes.obs.copy(), self._panel.var.copy())
            ions.obsm["spatial"] = genes.obsm["spatial"]
            parts.append(PairedDataset(genes, ions))
        return PairedDataset.concat(parts)


def simulate(
    choices: SampleChoices | None = None,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
    **changes: Any,
) -> Simulation:
    """Simulate sections of tissue measured by ST and by MSI.

    Parameters
    ----------
    choices
        One of `SAMPLES` or your own; the defaults when None.
    changes
        Single choices by name: see `SampleChoices`.

    Raises
    ------
    RecipeProblem
        A choice is unknown or out of range.
    FileProblem
        The Visium folder to take positions from cannot be read.
    Cancelled
        The user stopped it.

    Examples
    --------
    >>> simulation = simulate(n_spots=200, n_genes=50, image_px=256)
    >>> simulation.sections[0].st.shape
    (200, 50)
    """
    choices = SampleChoices.of(**{**(dict(choices) if choices is not None else {}), **changes})
    specimens: list[Specimen] = []
    for number in range(choices.n_sections):
        check(cancelled)
        progress(0.3 * number / choices.n_sections, "drawing tissue")
        specimens.append(Specimen.draw(choices, number))
    regions = specimens[0].layout.tissue.regions
    genes = GenePanel.draw(stream(choices.seed, "genes"), regions, choices.n_genes, choices.n_programs)
    some = np.arange(0, len(specimens[0].layout.xy), max(1, len(specimens[0].layout.xy) // 4000))
    view = specimens[0].look(specimens[0].spot_points(some))
    panel = IonPanel.draw(stream(choices.seed, "ions"), choices.kinds, choices.noise, view)

    sections, truths, scores = [], {}, []
    for number, specimen in enumerate(specimens):
        part = progress.part(0.3 + 0.7 * number / len(specimens), 0.3 + 0.7 * (number + 1) / len(specimens))
        section, known, score = _measure(choices, number, specimen, genes, panel, part, cancelled)
        sections.append(section)
        truths[section.name] = known
        scores.append(score)
    ions = panel.var.assign(kind=panel.kinds, programs=_drivers(panel, genes), noise=panel.noise)
    truth = Truth(ions.join(sum(scores[1:], scores[0]) / len(scores)), genes.loadings, truths)
    progress(1.0, "done")
    return Simulation(choices, sections, truth, specimens, panel)


def _measure(
    choices: SampleChoices,
    number: int,
    specimen: Specimen,
    genes: GenePanel,
    panel: IonPanel,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> tuple[Section, SectionTruth, pd.DataFrame]:
    """Measure one specimen with both instruments."""
    layout, seed = specimen.layout, choices.seed
    n = len(layout.xy)
    rng = stream(seed, "library", number)
    activity = np.concatenate(
        [
            specimen.activity.seen(specimen.spot_points(slice(start, start + _ROWS)))[:, : choices.n_programs]
            for start in range(0, n, _ROWS)
        ]
    )
    batch = choices.batch if choices.n_sections > 1 else 0.0
    gene_gain = np.exp(batch * stream(seed, "gene gain", number).standard_normal(choices.n_genes))
    ion_gain = np.exp(batch * stream(seed, "ion gain", number).standard_normal(len(panel.kinds)))
    labels = layout.tissue.region_at(layout.xy)
    # Denser tissue yields more molecules, but far less than in proportion.
    richness = np.array([region.nuclei for region in layout.tissue.regions])[labels] ** 0.2
    library = richness / richness.mean() * rng.lognormal(0, 0.35 if choices.technology == "visium" else 0.45, n)
    library *= genes.depth_for(choices.detection, activity, library)
    progress(0.1, "counting genes")
    counts = genes.counts(rng, activity, library, gene_gain, progress=progress.part(0.1, 0.4), cancelled=cancelled)
    st = _table(counts, layout.obs.copy(), pd.DataFrame(index=genes.loadings.columns))

    pixels = specimen.raster(choices.pixel_size_um, choices.crop)
    msi = _measure_pixels(choices, number, specimen, panel, ion_gain, pixels, progress.part(0.4, 0.8), cancelled)
    check(cancelled)
    progress(0.8, "staining")
    cells = choices.technology == "cells"
    image, image_to_um = stain(
        stream(seed, "histology", number),
        layout.tissue,
        choices.image_px,
        3 * specimen.scale.pitch,
        layout.xy if cells else None,
    )
    check(cancelled)
    name = choices.name if choices.n_sections == 1 else f"{choices.name} {number + 1}"
    section = build_section(
        name=name,
        st=st,
        st_xy=layout.xy,
        spot_diameter_um=specimen.scale.diameter,
        cells=list(cell_outlines(stream(seed, "cells", number), layout.xy, specimen.scale.diameter)) if cells else None,
        msi=msi,
        msi_xy=pixels,
        pixel_size_um=choices.pixel_size_um,
        image=image,
        image_to_um=image_to_um,
        notes=("Simulated: every value is drawn at random from known rules.",),
    )
    landmarks = _landmarks(choices, number, specimen, pixels)
    clicked = [landmarks[[f"{side}_x", f"{side}_y"]].to_numpy() for side in ("moving", "fixed")]
    for element, points in landmark_elements(landmarks.index.to_numpy(), *clicked).items():
        section.sdata[element] = points
    truth = SectionTruth(
        regions=np.array([region.name for region in layout.tissue.regions])[labels],
        activities=pd.DataFrame(activity, index=layout.obs.index, columns=genes.loadings.index),
        pose=specimen.pose,
        true_msi_to_st=specimen.pose.best_affine(pixels),
        landmarks=landmarks,
        gain=ion_gain,
    )
    # Twenty thousand spots, evenly chosen, tell a ceiling to the third digit.
    some = np.arange(0, n, -(-n // _ROWS))
    signal, measured = _spot_ions(choices, number, specimen, panel, ion_gain, some)
    return section, truth, ceilings(panel, signal, ion_gain, measured, genes.uncertainty(activity, library))


def _measure_pixels(
    choices: SampleChoices,
    number: int,
    specimen: Specimen,
    panel: IonPanel,
    gain: NDArray[np.float64],
    pixels: NDArray[np.float64],
    progress: Progress,
    cancelled: Callable[[], bool],
) -> AnnData:
    """Return the MSI table of one specimen, some thousand pixels at a time."""
    rng = stream(choices.seed, "pixels", number)
    values = np.empty((len(pixels), len(panel.kinds)), dtype=np.float32)
    for start in range(0, len(pixels), _ROWS):
        check(cancelled)
        chunk = slice(start, start + _ROWS)
        points = specimen.pixel_points(pixels[chunk], choices.pixel_size_um)
        share = (specimen.layout.tissue.depth_at(points) > 0).mean(axis=1)
        values[chunk] = panel.measure(rng, panel.signal(specimen.look(points)), gain, share)
        progress(min(1.0, (start + _ROWS) / len(pixels)), "measuring ions")
    obs = pd.DataFrame(index=[f"pixel_{i + 1:07d}" for i in range(len(pixels))])
    return _table(values, obs, panel.var.copy())


def _spot_ions(
    choices: SampleChoices,
    number: int,
    specimen: Specimen,
    panel: IonPanel,
    gain: NDArray[np.float64],
    spots: NDArray[np.int64],
) -> tuple[Signal, NDArray[np.float32]]:
    """Return the signal at spots and its measurement, which depends on the first spot and nothing else."""
    rng = stream(choices.seed, f"spot ions from {spots[0]}", number)
    signal = panel.signal(specimen.look(specimen.spot_points(spots)))
    return signal, panel.measure(rng, signal, gain)


def _landmarks(choices: SampleChoices, number: int, specimen: Specimen, pixels: NDArray[np.float64]) -> pd.DataFrame:
    """Click landmarks spread over the measured tissue, each as far as possible from those before."""
    rng = stream(choices.seed, "landmarks", number)
    fixed = specimen.pose.to_st(pixels)
    depth = specimen.layout.tissue.depth_at(fixed)
    fixed = fixed[depth > min(1.5 * specimen.scale.pitch, 0.5 * float(depth.max()))]
    chosen = [int(rng.integers(len(fixed)))]
    nearest = np.full(len(fixed), np.inf)
    for _ in range(min(choices.n_landmarks, len(fixed)) - 1):
        nearest = np.minimum(nearest, np.hypot(*(fixed - fixed[chosen[-1]]).T))
        # Only nearly the farthest: people do not click on a lattice.
        far = np.flatnonzero(nearest > 0.85 * nearest.max())
        chosen.append(int(rng.choice(far)))
    true_fixed = fixed[chosen]
    true_moving = specimen.pose.to_msi(true_fixed)
    clicked = [xy + rng.normal(0, choices.click_um, xy.shape) for xy in (true_moving, true_fixed)]
    columns = [f"{side}_{axis}" for side in ("moving", "fixed", "true_moving", "true_fixed") for axis in "xy"]
    index = pd.RangeIndex(1, len(chosen) + 1, name="id")
    return pd.DataFrame(np.hstack([*clicked, true_moving, true_fixed]), index=index, columns=columns)


def _drivers(panel: IonPanel, genes: GenePanel) -> list[str]:
    """Say in words which programs drive each ion."""
    names = genes.loadings.index.to_numpy()
    words = []
    for kind, weights in zip(panel.kinds, panel.weights.T, strict=True):
        order = [program for program in np.argsort(-np.abs(weights)) if weights[program] != 0]
        text = (" × " if kind == "interaction" else " ").join(
            names[p] if kind == "interaction" else f"{weights[p]:+.2f} {names[p]}" for p in order
        )
        words.append(text)
    return words


def _table(values: Any, obs: pd.DataFrame, var: pd.DataFrame) -> AnnData:
    from anndata import AnnData

    return AnnData(X=values, obs=obs, var=var)
