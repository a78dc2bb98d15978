"""The part of the Data dock that asks what to open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QMenu, QVBoxLayout, QWidget

from napari_st2msi.io.opening import Opening
from napari_st2msi.io.public.catalogue import CATALOGUE
from napari_st2msi.io.sample import SAMPLES
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import PathField
from napari_st2msi.viewer.parts.recipe_form import RecipeForm, split_unit

_PICTURES = (".tif", ".tiff", ".png", ".jpg", ".jpeg")
_SECTIONS = "Sections (*.imzML *.h5ad *.h5mu *.csv *.zarr);;All files (*)"
_MSI = "MSI (*.imzML *.h5ad *.csv);;All files (*)"
_HISTOLOGY = "Pictures (*.tif *.tiff *.png *.jpg *.jpeg);;All files (*)"


@dataclass(frozen=True)
class Request:
    """What the user asks to open."""

    path: Path
    msi: Path | None = None
    opening: Opening = field(default_factory=Opening)


def sort_paths(paths: Iterable[Path]) -> tuple[Path | None, Path | None, Path | None]:
    """Tell files that were dropped together apart: section or ST, MSI, histology.

    Of two files the imzML, or else the second, is the MSI; the `.ibd` goes with its imzML.
    """
    paths = [path for path in paths if path.suffix.lower() != ".ibd"]
    picture = next((path for path in paths if path.suffix.lower() in _PICTURES), None)
    # A file that is MSI by its kind goes last, whatever the order in which they were selected.
    others = sorted((path for path in paths if path != picture), key=lambda path: path.suffix.lower() == ".imzml")
    section = others[0] if others else None
    return section, others[1] if len(others) > 1 else None, picture


class OpenView(QWidget):
    """Paths, and what a reader cannot know."""

    #: What is asked for changed.
    changed = Signal()
    #: A sample was chosen; carries its name in the menu.
    sample_chosen = Signal(str)
    #: Public data were chosen; carries their name in the catalogue.
    public_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.path = PathField("zarr, Visium, imzML, h5ad, CSV", folders=True, filters=_SECTIONS)
        self.msi = PathField("where it is a file of its own", folders=True, filters=_MSI)
        self.histology = PathField("TIFF, PNG, JPEG, if not inside", filters=_HISTOLOGY)
        rows, layout = form()
        for title, hint, row in (
            ("Section", "A section, or its ST data. Files and folders can be dropped here.", self.path),
            ("MSI", "The MSI, when it lies in a file of its own.", self.msi),
            ("Histology", "A picture of the stained section.", self.histology),
        ):
            layout.addRow(title, row)
            row.setAccessibleName(title)
            row.edit.setToolTip(hint)
            row.changed.connect(self._on_path)
        self.samples = flat("Open a sample", "A simulated section with known truth, to try things on; or public data.")
        menu = QMenu(self.samples)
        for name in SAMPLES:
            menu.addAction(name, lambda name=name: self.sample_chosen.emit(name))
        public = menu.addMenu("Public data")
        for data in CATALOGUE.values():
            action = public.addAction(data.title, lambda name=data.name: self.public_chosen.emit(name))
            action.setToolTip(data.about)
        public.setToolTipsVisible(True)
        self.samples.setMenu(menu)
        below = QHBoxLayout()
        below.addWidget(self.samples)
        below.addStretch()
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 4)
        outer.setSpacing(4)
        outer.addWidget(rows)
        outer.addLayout(below)

        def imzml(_: Any) -> bool:
            return self._has(".imzml")

        self.choices = RecipeForm(
            Opening(),
            fields=(
                "name",
                "pixel_size_um",
                "spot_diameter_um",
                "um_per_unit",
                "histology_um_per_pixel",
                "group",
                "same_frame",
                "mz_table",
                "mz",
                "ppm",
                "n_peaks",
                "normalisation",
            ),
            shown_when={
                **dict.fromkeys(("mz_table", "mz", "ppm", "normalisation"), imzml),
                "n_peaks": lambda chosen: self._has(".imzml") and not chosen["mz"] and not chosen["mz_table"],
                "histology_um_per_pixel": lambda _: self.histology.value() is not None,
            },
        )
        self.choices.changed.connect(lambda _: self.changed.emit())
        self.choices.refused.connect(lambda _: self.changed.emit())

    @property
    def request(self) -> Request | None:
        """What is asked for; None while no path is given."""
        path = self.path.value()
        if path is None:
            return None
        opening = self.choices.value.model_copy(update={"histology": self.histology.value()})
        return Request(path, self.msi.value(), opening)

    def take(self, paths: Iterable[Path]) -> None:
        """Fill in paths that were dropped; what is not among them stays, unless another section is."""
        section, msi, picture = sort_paths(paths)
        if section is not None:
            self.path.set_value(section)
            self.msi.set_value(msi)
            self.histology.set_value(picture)
        elif picture is not None:
            self.histology.set_value(picture)
        self._on_path()

    def summary(self) -> str:
        """Return what is given beyond the file, in few words."""
        return changed_in_words(self.choices.value) or "as the files say"

    def _has(self, suffix: str) -> bool:
        return any(path is not None and path.suffix.lower() == suffix for path in (self.path.value(), self.msi.value()))

    def _on_path(self) -> None:
        self.choices.update_shown()
        self.changed.emit()


def changed_in_words(opening: Opening) -> str:
    """Return the choices that differ from their defaults: ``MSI pixel 10 µm · same frame``."""
    said = []
    for name, value in opening.model_dump(exclude_defaults=True).items():
        title, unit = split_unit(Opening.model_fields[name].title or name)
        if name == "histology":
            continue
        said.append(title if value is True else f"{title} {_short(value)} {unit}".rstrip())
    return " · ".join(said)


def _short(value: Any) -> str:
    if isinstance(value, tuple):
        return f"{len(value)}"
    if isinstance(value, Path):
        return value.name
    return f"{value:g}" if isinstance(value, float) else str(value)


def opening_for_roles(request: Request, roles: Mapping[str, str | None]) -> Request:
    """Return a request that opens the same files with other roles."""
    return Request(request.path, request.msi, request.opening.model_copy(update=dict(roles)))
