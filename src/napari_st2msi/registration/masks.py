"""Where the tissue is, on either side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem
from napari_st2msi.features.texture import absorption
from napari_st2msi.paired import check_values, dense
from napari_st2msi.registration.histology import histology_image
from napari_st2msi.registration.raster import rasterise
from napari_st2msi.registration.transforms import Transform
from napari_st2msi.section import MSI_SYSTEM, Section
from napari_st2msi.shapes import map_points

#: Of the variance, what two classes must explain to be two things and not one that varies.
_SEPARATE = 0.6
#: Tissue and glass are told apart in at most so many ions.
_IONS = 200


@dataclass(frozen=True, eq=False)
class Mask:
    """Tissue as an image.

    Attributes
    ----------
    image
        (h, w) bool.
    to_um
        (3, 3) float64: (column, row, 1), centres of pixels at integers, to µm of its own side.
    """

    image: NDArray[np.bool_]
    to_um: NDArray[np.float64]

    def at(self, xy: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Return (n,) whether (n, 2) points in µm lie on tissue."""
        back = np.linalg.inv(self.to_um)
        column, row = np.rint(np.nan_to_num(map_points(back, xy), nan=-1e9)).T.astype(np.int64)
        height, width = self.image.shape
        inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
        found = np.zeros(len(xy), dtype=bool)
        found[inside] = self.image[row[inside], column[inside]]
        return found

    @property
    def centres(self) -> NDArray[np.float64]:
        """(m, 2) µm: the middle of each pixel on tissue."""
        row, column = np.nonzero(self.image)
        return map_points(self.to_um, np.column_stack([column, row]))


def spots_on_tissue(section: Section) -> NDArray[np.bool_]:
    """Return (spots,) which spots lie on tissue, as far as the table says so (`in_tissue`, of Visium)."""
    table = section.st.obs
    if "in_tissue" not in table:
        return np.ones(len(table), dtype=bool)
    return np.asarray(table["in_tissue"].astype(str).isin(("1", "1.0", "True", "true")))


def st_mask(section: Section) -> Mask:
    """Return where the tissue is on the ST side: from histology, else from where spots on tissue lie.

    Histology is believed when most of these spots lie on what it shows as tissue.

    Raises
    ------
    DataProblem
        There is neither ST nor histology, or no tissue can be told from the glass.
    """
    found = None
    if section.roles.image is not None:
        image, to_um = histology_image(section, 800)
        found = Mask(_stained(image), to_um)
        share = found.image.mean()
        if not 0.005 < share < 0.995:
            found = None
    if section.has_st:
        spots, used = section.spots, spots_on_tissue(section)
        if found is None or found.at(spots.centres[used]).mean() < 0.7:
            filled, to_um = rasterise(spots, used.astype(np.float32))
            found = Mask(filled > 0, to_um)
    if found is None:
        raise DataProblem(
            "No tissue can be told from the glass in the histology. Check that the picture shows the stained "
            "section, or register with landmarks."
        )
    return found


def msi_tissue(section: Section) -> NDArray[np.bool_]:
    """Return (pixels,) which MSI pixels lie on tissue.

    Tissue and glass are the two classes (Otsu 1979, doi:10.1109/TSMC.1979.4310076) of what separates
    pixels best: the total ion current, or how high most ions are. Glass must be found mainly along the
    rim of what was measured; otherwise all pixels count as tissue.

    Raises
    ------
    DataProblem
        Intensities are NaN or negative, or all pixels are alike.
    """
    from scipy.ndimage import binary_erosion

    ions = section.msi
    check_values(ions.X, "ions")
    pixels = section.pixels(MSI_SYSTEM)
    chosen = np.argsort(-np.asarray(ions.X.mean(axis=0)).ravel(), kind="stable")[:_IONS]
    values = dense(ions.X[:, np.sort(chosen)]).astype(np.float32)
    level = values.mean(axis=0)
    logs = np.log1p(values * (10 / np.where(level > 0, level, 1)))
    spread = logs.std(axis=0)
    if not (spread > 1e-6).any():
        raise DataProblem(
            "The intensities are the same in every pixel, so no tissue can be recognised. Check the MSI table."
        )
    height = ((logs - logs.mean(axis=0)) / np.where(spread > 1e-6, spread, np.inf)).mean(axis=1)
    candidates = [np.log1p(section.total_ions * (10 / max(float(np.median(section.total_ions)), 1e-30))), height]
    image, _ = rasterise(pixels, np.column_stack([*candidates, np.arange(len(pixels))]))
    measured = np.isfinite(image[..., 0])
    best, tissue = 0.0, measured
    rim = measured & ~binary_erosion(measured, iterations=2)
    for number in range(len(candidates)):
        smooth = _smooth(image[..., number], measured)
        threshold, separation = otsu(smooth[measured])
        high = measured & (smooth > threshold)
        glass = measured & ~high
        at_rim, overall = glass[rim].mean(), glass[measured].mean()
        if separation > max(best, _SEPARATE) and at_rim > 1.3 * overall and overall < 0.97:
            best, tissue = separation, _without_specks(high)
    pixel = np.nan_to_num(image[..., -1], nan=-1).astype(np.int64)
    if best:
        tissue = _discriminated(logs[:, spread > 1e-6], pixel, measured, tissue)
    found = np.zeros(len(pixels), dtype=bool)
    found[pixel[tissue & measured]] = True
    return found


def msi_mask(section: Section, tissue: NDArray[np.bool_] | None = None) -> Mask:
    """Return where the tissue is on the MSI side, in µm of its own frame: see `msi_tissue`."""
    tissue = msi_tissue(section) if tissue is None else tissue
    image, to_um = rasterise(section.pixels(MSI_SYSTEM), tissue.astype(np.float32))
    return Mask(np.nan_to_num(image) > 0.5, to_um)


def dice(section: Section, transform: Transform, st: Mask | None = None, msi: Mask | None = None) -> float:
    """Return how well the masks of both sides lie over each other, 0 to 1 (Dice's coefficient).

    What MSI did not measure says nothing: it is left out on both sides.
    """
    st = st_mask(section) if st is None else st
    msi = msi_mask(section) if msi is None else msi
    image, to_um = rasterise(section.pixels(MSI_SYSTEM), np.ones(section.msi.n_obs))
    row, column = np.nonzero(np.isfinite(image))
    xy = map_points(to_um, np.column_stack([column, row]))
    here, there = msi.at(xy), st.at(transform.forward(xy))
    return float(2 * (here & there).sum() / max(int(here.sum() + there.sum()), 1))


def otsu(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the threshold between two classes, and which share of the variance they explain."""
    low, high = np.quantile(values, [0.001, 0.999])
    if high <= low:
        return float(low), 0.0
    counts, edges = np.histogram(values, bins=256, range=(low, high))
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1] / counts.sum()
    sums = np.cumsum(counts * middle)[:-1] / counts.sum()
    mean = float((counts * middle).sum() / counts.sum())
    between = (mean * below - sums) ** 2 / np.maximum(below * (1 - below), 1e-12)
    best = int(between.argmax())
    variance = float((counts * (middle - mean) ** 2).sum() / counts.sum())
    return float(edges[best + 1]), float(between[best] / max(variance, 1e-30))


def _stained(image: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Return what is not glass in a stained section, on bright or (fluorescence) on dark ground."""
    from scipy.ndimage import gaussian_filter
    from skimage.filters import threshold_multiotsu

    density = absorption(image).mean(axis=2)
    rim = np.concatenate([density[0], density[-1], density[:, 0], density[:, -1]])
    if np.median(rim) > 1.5:
        density = -density
    smooth = gaussian_filter(density, max(1.0, max(image.shape) / 400))
    if otsu(smooth)[1] < _SEPARATE / 2:
        return np.zeros(smooth.shape, dtype=bool)
    # Three classes, for pale and dark tissue may differ more than glass and pale tissue.
    low, high = np.quantile(smooth, [0.001, 0.999])
    return _without_specks(smooth > threshold_multiotsu(np.clip(smooth, low, high), classes=3)[0])


def _discriminated(
    logs: NDArray[np.float32], pixel: NDArray[np.int64], measured: NDArray[np.bool_], tissue: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Redraw a mask along the direction in ion space that tells its two classes apart best (Fisher's)."""
    some = pixel[measured][:: max(1, int(measured.sum()) // 20_000)]
    covariance = np.atleast_2d(np.cov(logs[some].T))
    covariance += 0.1 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))
    for _ in range(3):
        inside, outside = pixel[tissue & measured], pixel[measured & ~tissue]
        if min(len(inside), len(outside)) < 10:
            break
        contrast = logs[inside].mean(axis=0) - logs[outside].mean(axis=0)
        scores = logs @ np.linalg.solve(covariance, contrast)
        smooth = _smooth(scores[pixel], measured)
        tissue = _without_specks(measured & (smooth > otsu(smooth[measured])[0]))
    return tissue


def _smooth(image: NDArray[np.float32], measured: NDArray[np.bool_]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    weight = gaussian_filter(measured.astype(float), 1.0)
    return np.asarray(gaussian_filter(np.where(measured, image, 0.0).astype(float), 1.0) / np.maximum(weight, 1e-6))


def _without_specks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop pieces below a fiftieth of the largest, and fill holes below a thousandth of all."""
    from scipy.ndimage import label

    pieces, count = label(mask)
    if count:
        size = np.bincount(pieces.ravel())
        size[0] = 0
        mask = (size >= size.max() / 50)[pieces]
    holes, count = label(~mask)
    if count:
        size = np.bincount(holes.ravel())
        mask = mask | (size < mask.sum() / 1000)[holes]
    return mask
