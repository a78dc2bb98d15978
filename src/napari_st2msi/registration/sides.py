"""What automatic registration sees of either side: features at places, and images of features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.progress import check, never
from napari_st2msi.registration.components import gene_components, ion_components
from napari_st2msi.registration.histology import histology_image, stain_features
from napari_st2msi.registration.masks import Mask, msi_tissue, spots_on_tissue, st_mask
from napari_st2msi.registration.mutual_information import Channels
from napari_st2msi.registration.raster import bin_means, binned, neighbour_distance, rasterise
from napari_st2msi.section import MSI_SYSTEM, Section
from napari_st2msi.shapes import map_points

#: Components that are looked at on either side.
N_COMPONENTS = 20
#: More places than this tell nothing new: spots, cells or parts of the picture are put together.
_PLACES = 8000
_FEWEST = 50
#: One value further out than this (deviations) is as good as any other.
_CLIP = 4.0
#: MSI and ST whose tissues differ by more than this in length were not given in the same unit.
_MOST_RATIO = 4.0


@dataclass(frozen=True, eq=False)
class FixedSide:
    """The ST side: features at places.

    Attributes
    ----------
    xy
        (n, 2) float64 µm (``st2msi``).
    features
        (n, p) float64, deviations around 0, what says most first.
    pitch_um
        Distance between places.
    aperture_um
        Diameter of what is measured at a place.
    on_glass
        Whether there are places on glass too: then all MSI pixels count, else those on tissue.
    mask
        Where the tissue is.
    stain
        (spots on tissue, k) what the histology says at spots, which is part of their features.
    """

    xy: NDArray[np.float64]
    features: NDArray[np.float64]
    pitch_um: float
    aperture_um: float
    on_glass: bool
    mask: Mask
    stain: NDArray[np.float64] | None = None

    @property
    def size_um(self) -> float:
        """The longer side of the box around all places."""
        return float(np.ptp(self.xy, axis=0).max())


@dataclass(frozen=True, eq=False)
class MovingSide:
    """The MSI side: images of features.

    Attributes
    ----------
    image
        (h, w, q) float64, deviations around 0, what says most first; 0 where nothing was measured.
    measured, tissue
        (h, w) bool.
    to_um
        (3, 3): (column, row, 1), centres of pixels at integers, to µm (``st2msi_msi``).
    on_tissue
        (pixels,) bool in the order of the table.
    """

    image: NDArray[np.float64]
    measured: NDArray[np.bool_]
    tissue: NDArray[np.bool_]
    to_um: NDArray[np.float64]
    on_tissue: NDArray[np.bool_]

    @property
    def pitch_um(self) -> float:
        """Distance between pixels, the geometric mean of both directions."""
        return float(np.sqrt(abs(np.linalg.det(self.to_um[:2, :2]))))

    def centres(self, which: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return (m, 2) µm: the middle of the chosen pixels of the image."""
        return Mask(which, self.to_um).centres

    def channels(self, count: int, blur_um: float, *, on_glass: bool) -> Channels:
        """Return the first `count` features, blurred by a Gaussian of deviation `blur_um`.

        What lies outside the tissue (or was not measured) neither counts nor bleeds in.
        """
        from scipy.ndimage import gaussian_filter

        used = self.measured if on_glass else self.tissue
        steps = np.hypot(self.to_um[0, :2], self.to_um[1, :2])[::-1]  # rows, columns
        deviation = blur_um / steps
        weight = used.astype(np.float64)
        image = np.where(used[..., None], self.image[..., :count], 0.0)
        if deviation.max() > 0.1:
            around = np.maximum(gaussian_filter(weight, deviation), 1e-6)
            image = np.dstack([gaussian_filter(image[..., k], deviation) / around for k in range(image.shape[2])])
        return Channels(image, weight, self.to_um)


def fixed_side(
    section: Section,
    genes: NDArray[np.bool_] | None = None,
    *,
    known: FixedSide | None = None,
    cancelled: Callable[[], bool] = never,
) -> FixedSide:
    """Look at the ST side: gene expression, with the stain where there is one; or the stain alone.

    Parameters
    ----------
    section
        A section with ST or histology.
    genes
        (genes,) which to use; all when None.
    known
        The same side by other genes: tissue and stain are taken from it.

    Raises
    ------
    DataProblem
        There is neither ST nor histology, there are too few spots, or there is no contrast.
    """
    if not section.has_st:
        if section.roles.image is None:
            raise DataProblem(
                f"Section '{section.name}' has neither spots nor histology to lay the MSI over. Open its ST data, or "
                "the picture of the stained section."
            )
        return _from_histology(section)
    mask = st_mask(section) if known is None else known.mask
    check(cancelled)
    table = section.st
    used = spots_on_tissue(section) & (np.asarray(table.X.sum(axis=1)).ravel() > 0)
    if used.sum() < _FEWEST:
        raise DataProblem(
            f"Only {int(used.sum())} spots lie on tissue and have counts; automatic registration needs {_FEWEST}. "
            "Register with landmarks."
        )
    spots = section.spots
    values = gene_components(section, N_COMPONENTS, genes=genes, spots=used).astype(np.float64)
    check(cancelled)
    xy = spots.centres[used]
    values = values[used]
    stain = _stain_at(section, xy, cancelled) if known is None or known.stain is None else known.stain
    values = np.hstack([values[:, :8], stain, values[:, 8:]])
    pitch = neighbour_distance(xy)
    if len(xy) > _PLACES:
        pitch = float(np.sqrt(np.prod(np.ptp(xy, axis=0)) / _PLACES))
        square = binned(xy, pitch)
        xy, values = bin_means(xy, square), bin_means(values, square)
    aperture = max(spots.diameter or pitch, 0.5 * pitch)
    return FixedSide(xy, _standardised(values), pitch, aperture, False, mask, stain)


def moving_side(
    section: Section,
    *,
    on_glass: bool = False,
    ions: NDArray[np.bool_] | None = None,
    tissue: NDArray[np.bool_] | None = None,
    cancelled: Callable[[], bool] = never,
) -> MovingSide:
    """Look at the MSI side.

    Parameters
    ----------
    section
        A section with MSI.
    on_glass
        Whether components are learned from all pixels and not from those on tissue only.
    ions
        (ions,) which to use; all when None.
    tissue
        (pixels,) which pixels lie on tissue, if known already.

    Raises
    ------
    DataProblem
        There is no MSI, there are too few pixels, intensities are NaN, or there is no contrast.
    """
    tissue = msi_tissue(section) if tissue is None else tissue
    check(cancelled)
    if tissue.sum() < _FEWEST:
        raise DataProblem(
            f"Only {int(tissue.sum())} MSI pixels lie on tissue; automatic registration needs {_FEWEST}. "
            "Register with landmarks."
        )
    values = ion_components(section, N_COMPONENTS, tissue=None if on_glass else tissue, ions=ions)
    learned = slice(None) if on_glass else tissue
    standard = _standardised(values.astype(np.float64), learned)
    image, to_um = rasterise(section.pixels(MSI_SYSTEM), np.column_stack([standard, tissue]))
    measured = np.isfinite(image[..., 0])
    plain = np.where(measured[..., None], image, 0.0).astype(np.float64)
    return MovingSide(plain[..., :-1], measured, plain[..., -1] > 0.5, to_um, tissue)


def check_halves(section: Section) -> None:
    """Refuse genes or ions that have no halves: without these nothing tells how far the whole is off.

    Raises
    ------
    DataProblem
        There is one gene, or one ion.
    """
    for what, count in (("gene", section.st.n_vars if section.has_st else 2), ("ion", section.msi.n_vars)):
        if count < 2:
            raise DataProblem(
                f"There is only one {what}, and automatic registration compares two halves of them. Register with "
                "landmarks."
            )


def check_sizes(fixed: FixedSide, moving: MovingSide) -> None:
    """Refuse two sides that cannot be the same tissue in the same unit.

    Raises
    ------
    GeometryProblem
        The one tissue is more than four times as long as the other.
    """
    st = float(np.ptp(fixed.mask.centres, axis=0).max())
    msi = float(np.ptp(moving.centres(moving.tissue), axis=0).max())
    if max(st / msi, msi / st) > _MOST_RATIO:
        raise GeometryProblem(
            f"The tissue is {msi:,.0f} µm long in the MSI and {st:,.0f} µm in the ST. Check the size of an MSI pixel "
            "and of a pixel of the histology in µm; if the larger one shows several sections, cut out the one wanted."
        )


def half(
    section: Section, whole: FixedSide, moving: MovingSide, odd: int, cancelled: Callable[[], bool] = never
) -> tuple[FixedSide, MovingSide]:
    """Return both sides from half of the genes and half of the ions: the even ones, or the odd ones.

    What two halves say independently tells how far the whole can be off. Of histology, which has no
    halves, every other place is taken.
    """
    ions = np.arange(section.msi.n_vars) % 2 == odd
    if whole.on_glass:
        fixed = replace(whole, xy=whole.xy[odd::2], features=whole.features[odd::2])
    else:
        fixed = fixed_side(section, np.arange(section.st.n_vars) % 2 == odd, known=whole, cancelled=cancelled)
    check(cancelled)
    return fixed, moving_side(section, on_glass=whole.on_glass, ions=ions, tissue=moving.on_tissue)


def _from_histology(section: Section) -> FixedSide:
    image, to_um = histology_image(section)
    if image.reshape(-1, 3).std(axis=0).max() < 2:
        raise DataProblem(
            "The histology has the same colour everywhere, so nothing can be recognised in it. Choose another image, "
            "or register with landmarks."
        )
    step = max(1, round(float(np.sqrt(image.shape[0] * image.shape[1] / _PLACES))))
    features = stain_features(image, step / 2)[step // 2 :: step, step // 2 :: step]
    row, column = np.meshgrid(*(np.arange(n) * step + step // 2 for n in features.shape[:2]), indexing="ij")
    xy = map_points(to_um, np.column_stack([column.ravel(), row.ravel()]))
    values = features.reshape(len(xy), -1).astype(np.float64)
    pitch = step * float(np.sqrt(abs(np.linalg.det(to_um[:2, :2]))))
    return FixedSide(xy, _principal(_standardised(values)), pitch, pitch, True, st_mask(section))


def _stain_at(section: Section, xy: NDArray[np.float64], cancelled: Callable[[], bool]) -> NDArray[np.float64]:
    """Return what the stain says at spots; nothing where the picture does not lie under them."""
    nothing = np.zeros((len(xy), 0))
    if section.roles.image is None:
        return nothing
    image, to_um = histology_image(section)
    check(cancelled)
    back = np.linalg.inv(to_um)
    column, row = np.rint(map_points(back, xy)).T.astype(np.int64)
    inside = (column >= 0) & (column < image.shape[1]) & (row >= 0) & (row < image.shape[0])
    if inside.mean() < 0.98:
        return nothing
    reach = 0.25 * neighbour_distance(xy) / float(np.sqrt(abs(np.linalg.det(to_um[:2, :2]))))
    features = stain_features(image, max(reach, 0.5))
    values = features[np.clip(row, 0, image.shape[0] - 1), np.clip(column, 0, image.shape[1] - 1)].astype(np.float64)
    return _principal(_standardised(values))[:, :4]


def _standardised(values: NDArray[np.float64], learned: slice | NDArray[np.bool_] = slice(None)) -> NDArray[np.float64]:
    part = values[learned]
    spread = part.std(axis=0)
    kept = spread > 1e-9
    return np.clip((values[:, kept] - part.mean(axis=0)[kept]) / spread[kept], -_CLIP, _CLIP)


def _principal(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return standardised principal components, without those that are sums of others."""
    if not values.shape[1]:
        return values
    size, directions = np.linalg.eigh(values.T @ values / len(values))
    kept = size[::-1] > 0.01 * size.max()
    return _standardised(values @ directions[:, ::-1][:, kept])
