"""The part of the Data dock that says what was found in a section, and lets the user say otherwise."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.words import Words
from napari_st2msi.viewer.state import Work

_ROLES = (
    ("st", "ST table"),
    ("st_element", "ST element"),
    ("msi", "MSI table"),
    ("msi_element", "MSI element"),
    ("image", "Histology"),
)


def found_in_words(facts: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the summary of a section as rows (what, words)."""
    rows = [("Section", facts["name"])]
    if "spots" in facts:
        words = f"{facts['spots']:,} spots × {facts['genes']:,} genes"
        if facts["spot_diameter_um"] is not None:
            words += f", {facts['spot_diameter_um']:.3g} µm wide"
        rows.append(("ST", words))
    else:
        rows.append(("ST", "none"))
    if "pixels" in facts:
        size = "" if facts["pixel_size_um"] is None else f" of {facts['pixel_size_um']:.3g} µm"
        low, high = facts["mz_range"]
        grid = "" if facts["regular_grid"] else ", not on a grid"
        rows.append(("MSI", f"{facts['pixels']:,} pixels{size}{grid}"))
        rows.append(("Ions", f"{facts['ions']:,}, m/z {low:.1f} to {high:.1f}"))
    elif "ions" in facts:
        rows.append(("Ions", f"{facts['ions']:,}, paired with the spots"))
    else:
        rows.append(("MSI", "none"))
    rows.append(("Histology", facts["roles"]["image"] or "none"))
    if "spots" in facts and "pixels" in facts:
        rows.append(("Registered", "yes" if facts["registered"] else "not yet"))
    if "spots" in facts:
        rows.append(("Paired", "yes" if facts["paired"] else "not yet"))
    return rows


def work_in_words(work: Work) -> str:
    """Return a section and how far it has come, in one line."""
    section = work.section
    parts = [section.name]
    if section.has_st:
        parts.append(f"{section.st.n_obs:,} spots")
    if section.has_msi or work.paired is not None:
        parts.append(f"{len(section.ions):,} ions")
    if work.paired is not None:
        parts.append("paired")
    elif section.has_st and section.has_msi:
        parts.append("registered" if section.registered else "not registered yet")
    return " · ".join(parts)


class FoundView(QWidget):
    """What was found, and what can be done with the section as a whole."""

    #: The user wants the section written where it came from, or elsewhere.
    save_pressed = Signal()
    save_as_pressed = Signal()
    #: The user wants the section closed.
    close_pressed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows, self._form = form()
        self._form.setVerticalSpacing(3)
        self.notes = Words(role="note")
        self.save = flat("Save", "Write what changed into the zarr that this section came from (Ctrl+S)")
        self.save_as = flat("Save as…", "Write everything as a new SpatialData zarr")
        self.close_section = flat("Close", "Take the section and its layers out of this window")
        buttons = QHBoxLayout()
        for button in (self.save, self.save_as, self.close_section):
            buttons.addWidget(button)
        buttons.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(self._rows)
        layout.addWidget(self.notes)
        layout.addLayout(buttons)
        self.save.clicked.connect(self.save_pressed)
        self.save_as.clicked.connect(self.save_as_pressed)
        self.close_section.clicked.connect(self.close_pressed)

    def show_section(self, section: Section) -> None:
        """Show what was found in a section."""
        while self._form.rowCount():
            self._form.removeRow(0)
        for title, words in found_in_words(section.summary()):
            label = Words(words)
            label.setAccessibleName(title)
            self._form.addRow(title, label)
        self.notes.setText("\n".join(section.notes))
        self.notes.setVisible(bool(section.notes))
        zarr = section.path is not None and section.path.suffix == ".zarr"
        self.save.setEnabled(zarr)
        self.save.setToolTip(
            "Write what changed into the zarr that this section came from (Ctrl+S)"
            if zarr
            else "This section did not come from a zarr. Use 'Save as…'."
        )


class RolesView(QWidget):
    """Which table and element play which part, to be changed where the guess was wrong."""

    #: The user wants these roles; carries a dict of role → name.
    chosen = Signal(dict)

    def __init__(self) -> None:
        super().__init__()
        rows, layout = form()
        self.fields: dict[str, ChoiceField] = {}
        for role, title in _ROLES:
            self.fields[role] = ChoiceField([])
            self.fields[role].setAccessibleName(title)
            self.fields[role].changed.connect(self._on_change)
            layout.addRow(title, self.fields[role])
        self.apply = flat("Open with these roles", "Reads the section again; what was paired is made anew")
        self.apply.clicked.connect(lambda: self.chosen.emit(self.roles()))
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 4)
        outer.setSpacing(4)
        outer.addWidget(rows)
        outer.addWidget(self.apply, 0, Qt.AlignmentFlag.AlignLeft)
        self._found: dict[str, str | None] = {}

    def show_section(self, section: Section) -> None:
        """Offer what a section holds."""
        sdata = section.sdata
        tables = sorted(sdata.tables)
        elements = sorted([*sdata.shapes, *sdata.points, *sdata.labels])
        offered = {"st": tables, "msi": tables, "image": sorted(sdata.images)}
        self._found = dict(vars(section.roles))
        for role, field in self.fields.items():
            names = offered.get(role, elements)
            field.blockSignals(True)
            field.set_choices([(None, "none"), *((name, name) for name in names)])
            field.set_value(self._found[role])
            field.blockSignals(False)
        self._on_change()

    def roles(self) -> dict[str, str | None]:
        """Return the roles as they are shown."""
        return {role: field.value() for role, field in self.fields.items()}

    def summary(self) -> str:
        """Return the roles in few words."""
        return " · ".join(str(self._found[role]) for role in ("st", "msi", "image") if self._found.get(role))

    def _on_change(self) -> None:
        self.apply.setEnabled(self.roles() != self._found)
