"""What either side can show as a picture while landmarks are picked: `View`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, RecipeProblem
from napari_st2msi.features.threads import threads_for
from napari_st2msi.registration.components import gene_components, ion_components
from napari_st2msi.registration.histology import histology_image
from napari_st2msi.registration.raster import neighbour_distance, rasterise
from napari_st2msi.section import MSI_SYSTEM, Section
from napari_st2msi.shapes import Outlines

#: What the ST side can show, in the order of a menu.
ST_VIEWS = ("histology", "counts", "gene", "components", "clusters")
#: What the MSI side can show.
MSI_VIEWS = ("tic", "ion", "components", "segmentation")
#: Colours of clusters that people with any colour vision tell apart (Okabe and Ito 2008).
PALETTE = ("#0072b2", "#56b4e9", "#009e73", "#f0e442", "#e69f00", "#d55e00", "#cc79a7", "#999999")

_HOTSPOTS = 99.5  # percentile of the last colour
_HISTOLOGY = 2000  # pixels along the longer side
_LONGEST = 1200  # of a picture of spots
_CLUSTERS, _SEGMENTS = 8, 6
_LEARN = 10_000  # places from which clusters are learned

_T = TypeVar("_T")
_kept: WeakKeyDictionary[Section, dict[tuple[Any, ...], Any]] = WeakKeyDictionary()


@dataclass(frozen=True, eq=False)
class View:
    """A picture of one side, and where it lies.

    Attributes
    ----------
    image
        (rows, columns) float32 values, NaN where nothing was measured; or (rows, columns, 3) uint8 RGB,
        or (rows, columns, 4) where that is transparent.
    to_um
        (3, 3) float64: (column, row, 1), pixel centres at integers, to (x, y, 1) in µm of the side's own
        frame (``st2msi`` or ``st2msi_msi``).
    name
        What it shows, in words.
    limits
        Values of the first and of the last colour; None where the picture holds colours.
    """

    image: NDArray[Any]
    to_um: NDArray[np.float64]
    name: str
    limits: tuple[float, float] | None = None

    @property
    def rgb(self) -> bool:
        """Whether the picture holds colours and not values."""
        return self.image.ndim == 3


def st_views(section: Section) -> tuple[str, ...]:
    """Return those of `ST_VIEWS` that a section has the data for."""
    return tuple(
        what for what in ST_VIEWS if (section.roles.image is not None if what == "histology" else section.has_st)
    )


def msi_views(section: Section) -> tuple[str, ...]:
    """Return those of `MSI_VIEWS` that a section has the data for."""
    return MSI_VIEWS if section.has_msi else ()


def st_view(section: Section, what: str, name: str | None = None) -> View:
    """Return a picture of the ST side, in µm of ``st2msi``.

    Parameters
    ----------
    section
        The section.
    what
        ``histology``: the stained section, at most 2,000 pixels along its longer side; ``counts``: the sum
        over genes; ``gene``: one gene; ``components``: the first three principal components of the genes
        as red, green and blue; ``clusters``: k-means of ten components.
    name
        Which gene.

    Returns
    -------
    Values from 0 to their 99.5th percentile, or colours. The last two take seconds for large sections;
    they are kept as long as the section is.

    Raises
    ------
    DataProblem
        The section has no such data, or no such gene.
    RecipeProblem
        There is no such view.
    """
    if what == "histology":
        if section.roles.image is None:
            raise DataProblem(f"Section '{section.name}' has no histology. Show total counts instead.")
        key = ("histology", id(section.sdata[section.roles.image]))
        image, to_um = _once(section, key, lambda: histology_image(section, _HISTOLOGY))
        return View(image, to_um, "histology")
    if what == "counts":
        counts = _once(section, ("counts", section.roles.st), lambda: _sums(section.st.X))
        return _values(counts, *_spots(section), "total counts")
    if what == "gene":
        return _values(_column(section.st, name, "gene", section), *_spots(section), str(name))
    if what == "components":
        return _colours(_rgb(_genes(section)), *_spots(section), "components 1–3 of the genes (RGB)")
    if what == "clusters":
        labels = _once(section, ("clusters", section.roles.st), lambda: _clusters(_genes(section), _CLUSTERS))
        return _colours(_palette()[labels], *_spots(section), "clusters of the spots by their genes")
    raise RecipeProblem(f"The ST side cannot show '{what}'. Choose one of: {', '.join(ST_VIEWS)}.")


def msi_view(section: Section, what: str, name: str | None = None) -> View:
    """Return a picture of the MSI side, in µm of ``st2msi_msi``.

    Parameters
    ----------
    section
        The section.
    what
        ``tic``: the sum over ions; ``ion``: one ion; ``components``: the first three principal components of
        the ions as red, green and blue; ``segmentation``: k-means of ten components.
    name
        Which ion: its name in `section.ions`.

    Returns
    -------
    As `st_view`; one pixel a pixel of the MSI where these lie on a grid.

    Raises
    ------
    DataProblem
        The section has no MSI, or no such ion.
    RecipeProblem
        There is no such view.
    """
    if what == "tic":
        return _values(section.total_ions, *_pixels(section), "total ion current")
    if what == "ion":
        values = _column(section.msi, name, "ion", section)
        return _values(values, *_pixels(section), str(section.ions.loc[str(name), "label"]))
    if what == "components":
        return _colours(_rgb(_ions(section)), *_pixels(section), "components 1–3 of the ions (RGB)")
    if what == "segmentation":
        labels = _once(section, ("segments", section.roles.msi), lambda: _clusters(_ions(section), _SEGMENTS))
        return _colours(_palette()[labels], *_pixels(section), "segments of the MSI by its ions")
    raise RecipeProblem(f"The MSI side cannot show '{what}'. Choose one of: {', '.join(MSI_VIEWS)}.")


# -- what was measured ------------------------------------------------------------------------------


def _genes(section: Section) -> NDArray[np.float32]:
    return _once(section, ("genes", section.roles.st), lambda: gene_components(section))


def _ions(section: Section) -> NDArray[np.float32]:
    return _once(section, ("ions", section.roles.msi), lambda: ion_components(section))


def _sums(values: Any) -> NDArray[np.float32]:
    return np.asarray(values.sum(axis=1), dtype=np.float32).ravel()


def _column(table: Any, name: str | None, kind: str, section: Section) -> NDArray[np.float32]:
    if name is None or name not in table.var_names:
        raise DataProblem(f"Section '{section.name}' has no {kind} '{name}'. Choose one of its {table.n_vars:,}.")
    values = table.X[:, table.var_names.get_loc(name)]
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values, dtype=np.float32).ravel()


def _clusters(components: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Return (n,) labels by k-means, numbered along the first component, the same each time."""
    from sklearn.cluster import KMeans

    some = components[:: max(1, -(-len(components) // _LEARN))]
    count = min(count, len(np.unique(some, axis=0)))
    with threads_for(0):
        found = KMeans(count, n_init=2, random_state=0).fit(some)
        labels = found.predict(components)
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(found.cluster_centers_[:, 0])] = np.arange(count)
    return np.asarray(rank[labels])


# -- where it lies ----------------------------------------------------------------------------------


def _spots(section: Section) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return which spot each place of a picture shows, -1 for none, and where the picture lies."""
    element = section.sdata[section.roles.st_element]
    return _once(section, ("spots", id(element)), lambda: _nearest(section.spots))


def _pixels(section: Section) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    grid = section.msi_grid
    if grid is not None:
        return grid.index, grid.to_um
    element = section.sdata[section.roles.msi_element]
    return _once(section, ("pixels", id(element)), lambda: _nearest(section.pixels(MSI_SYSTEM)))


def _nearest(outlines: Outlines) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    apart = neighbour_distance(outlines.centres) or outlines.diameter or 1.0
    longest = float(np.ptp(outlines.centres, axis=0).max())
    # Four places from one spot to the next, so that neighbours part along a fine line.
    numbers, to_um = rasterise(outlines, np.arange(len(outlines), dtype=np.float64), max(apart / 4, longest / _LONGEST))
    return np.where(np.isfinite(numbers), numbers, -1).astype(np.int64), to_um


# -- pictures ---------------------------------------------------------------------------------------


def _values(values: NDArray[np.float32], index: NDArray[np.int64], to_um: NDArray[np.float64], name: str) -> View:
    image = np.where(index >= 0, values[index], np.float32(np.nan))
    return View(image, to_um, name, limits_of(values))


def limits_of(values: NDArray[np.floating]) -> tuple[float, float]:
    """Return the values of the first and of the last colour: 0, or what is below, to the 99.5th percentile."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return 0.0, 1.0
    low = min(0.0, float(finite.min()))
    place = round((len(finite) - 1) * _HOTSPOTS / 100)
    high = float(np.partition(finite, place)[place])
    if high <= low:  # seen in fewer than one of 200 places
        high = float(finite.max())
    return low, high if high > low else low + 1.0


def _colours(colours: NDArray[np.uint8], index: NDArray[np.int64], to_um: NDArray[np.float64], name: str) -> View:
    """Draw (n, 3) uint8 colours; transparent where nothing was measured."""
    image = np.zeros((*index.shape, 4), dtype=np.uint8)
    there = index >= 0
    image[there, :3] = colours[index[there]]
    image[there, 3] = 255
    return View(image, to_um, name)


def _rgb(components: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Return (n, 3) uint8: three components, each from its 1st to its 99th percentile."""
    shown = components[:, :3] if components.shape[1] >= 3 else np.repeat(components[:, :1], 3, axis=1)
    low, high = np.percentile(shown, [1, 99], axis=0)
    return np.asarray(np.clip((shown - low) / np.maximum(high - low, 1e-12), 0, 1) * 255).round().astype(np.uint8)


def _palette() -> NDArray[np.uint8]:
    return np.array([[int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in PALETTE], dtype=np.uint8)


def _once(section: Section, key: tuple[Any, ...], compute: Callable[[], _T]) -> _T:
    """Return what was computed for a section before, or compute it; it goes when the section goes."""
    kept = _kept.setdefault(section, {})
    if key not in kept:
        kept[key] = compute()
    return kept[key]
