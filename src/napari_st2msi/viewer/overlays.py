"""The layers of whole sections: how ST and MSI lie over each other, and which section is to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from napari.layers import Layer, Points
from numpy.typing import NDArray

from napari_st2msi.io.landmarks import FIXED, MOVING
from napari_st2msi.paired import PairedDataset
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.persistence import transform_of
from napari_st2msi.registration.transforms import Affine
from napari_st2msi.section import CONFIDENCE, MSI_SYSTEM, Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.aside import bring_back, put_aside, see
from napari_st2msi.viewer.layers import Role

#: In the metadata of a layer of landmarks while they are being edited: whoever edits them draws them.
EDITED = "edited"
# In the metadata of a layer of landmarks: whether both sides lay apart when it was last decided to show it.
_APART = "sides_apart"
# Told apart by colour and by shape; both are seen on stained tissue and on black.
_LOOKS: tuple[tuple[Role, str, str, str], ...] = (
    ("landmarks_st", "landmarks ST", "#ffd92f", "disc"),
    ("landmarks_msi", "landmarks MSI", "#35c6e8", "diamond"),
)


def show_section(viewer: Any, section: Section) -> None:
    """Show a section as it is before any ion is chosen, with its landmarks and the confidence of its registration."""
    layers.show_section(viewer, section)
    show_confidence(viewer, section)
    show_landmarks(viewer, section)


def show_only(viewer: Any, section: Section, sections: Sequence[Section]) -> None:
    """Hide the layers of other sections, since all lie around the same origin; what was hidden so comes back."""
    for other in sections:
        for layer in layers.own_layers(viewer, other):
            (bring_back if other is section else put_aside)(layer, "another section")


def remove_layers(viewer: Any, section: Section) -> None:
    """Take the layers of a section out of the viewer."""
    for layer in layers.own_layers(viewer, section):
        viewer.layers.remove(layer)


def has_landmarks(section: Section) -> bool:
    """Tell whether a section carries landmarks."""
    return MOVING in section.sdata.points and FIXED in section.sdata.points


def show_landmarks(viewer: Any, section: Section) -> None:
    """Draw the landmarks that a section carries, numbered, each side where it lies.

    While MSI lies beside ST they tell where the two belong together, and are seen. Once it lies over the ST
    they would only cover it: they are hidden until somebody shows them, and then one side has the numbers.
    """
    if not (has_landmarks(section) and section.has_msi):
        return
    drawn = layers.find(viewer, section, "landmarks_st")
    if drawn is not None and drawn.metadata.get(EDITED):
        return
    landmarks = find_landmarks(section)
    to_um = layers.pixel_site(section).to_um
    transform = transform_of(section) or Affine(to_um)
    moving = transform.forward(landmarks.moving)
    tissue = section.spots if section.has_st else section.pixels(MSI_SYSTEM)
    size = 0.025 * float(np.ptp(tissue.centres, axis=0).max())
    apart = not section.registered
    for (role, name, colour, symbol), xy in zip(_LOOKS, (landmarks.fixed, moving), strict=True):
        layer = _show(viewer, section, role, name, xy[:, ::-1], landmarks.ids, colour, symbol, size)
        if layer.metadata.get(_APART) is not apart:
            layer.metadata[_APART] = apart
            see(layer, apart)
            layer.text.visible = apart or role == "landmarks_st"


def show_coverage(viewer: Any, section: Section, paired: PairedDataset) -> None:
    """Show how much of each paired spot lies under MSI pixels, from black (none) to white (all).

    Where every spot has ions it would only cover the tissue: it is hidden until somebody shows it.
    """
    coverage = paired.obs["coverage"].reindex(section.st.obs_names)
    layer = layers.show_values(
        viewer,
        section,
        "coverage",
        layers.spot_site(section),
        coverage.to_numpy(dtype=np.float32),
        (0.0, 1.0),
        "coverage of spots",
        "gray",
    )
    if layer is not None:
        see(layer, int(paired.covered.sum()) < section.st.n_obs)


def show_confidence(viewer: Any, section: Section) -> None:
    """Show how far to trust the registration at each spot, from black (not at all) to white; hidden at first.

    Without a registration that was judged the layer is taken away.
    """
    layer = layers.find(viewer, section, "confidence")
    if not section.has_st or CONFIDENCE not in section.st.obs:
        if layer is not None:
            viewer.layers.remove(layer)
        return
    fresh = layer is None
    layer = layers.show_values(
        viewer,
        section,
        "confidence",
        layers.spot_site(section),
        section.st.obs[CONFIDENCE].to_numpy(dtype=np.float32),
        (0.0, 1.0),
        "confidence of registration",
        "gray",
    )
    if fresh and layer is not None:
        see(layer, False)


def show_novelty(viewer: Any, section: Section, novelty: NDArray[np.floating] | None) -> None:
    """Mark spots whose genes are unlike those that the model was trained on; hidden at first.

    Parameters
    ----------
    novelty
        (spots,) how far a spot lies from training; only those above 1 are drawn. None takes the layer away.
    """
    layer = layers.find(viewer, section, "novelty")
    if novelty is None or not (novelty > 1).any():
        if layer is not None:
            viewer.layers.remove(layer)
        return
    fresh = layer is None
    marked = np.where(novelty > 1, novelty, np.nan).astype(np.float32)
    layer = layers.show_values(
        viewer,
        section,
        "novelty",
        layers.spot_site(section),
        marked,
        (0.0, max(2.0, float(np.nanpercentile(marked, 99)))),
        "spots unlike training (novelty)",
        "magma",
    )
    if fresh and layer is not None:
        see(layer, False)


def _show(
    viewer: Any,
    section: Section,
    role: Role,
    name: str,
    positions: NDArray[np.float64],
    ids: tuple[str, ...],
    colour: str,
    symbol: str,
    size: float,
) -> Layer:
    layer = layers.find(viewer, section, role)
    if layer is not None:
        layer.data = positions
        layer.features = {"id": list(ids)}
        return layer
    layer = Points(
        positions,
        name=name,
        size=size,
        symbol=symbol,
        face_color=colour,
        border_color="black",
        border_width=0.1,
        features={"id": list(ids)},
        text={"string": "{id}", "color": colour, "size": 11, "anchor": "upper_left"},
        units=("um", "um"),
    )
    layers.add(viewer, section, role, layer)
    return layer
