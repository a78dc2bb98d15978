"""What the Register dock is made of, from top to bottom."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QWidget

from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_automatic import AutomaticPanel
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_files import FilesPanel
from napari_st2msi.viewer.docks.register_preview import PreviewPanel
from napari_st2msi.viewer.docks.register_view import LandmarksView, TransformView
from napari_st2msi.viewer.docks.register_views import ViewsPanel
from napari_st2msi.viewer.docks.register_window import TwoCanvases
from napari_st2msi.viewer.landmark_pairs import SIDES, Side
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.dock import Dock
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.style import Look


class RegisterLayout(Dock):
    """The groups of the Register dock and what they share; what they do is up to the dock.

    Attributes
    ----------
    canvases
        ST and MSI beside each other.
    context, editor
        What all parts share, and the landmarks of it.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Register")
        self.canvases = TwoCanvases(self.viewer)
        self.context = RegisterContext(self.state, self.viewer, self.canvases.right)
        self.editor = self.context.editor
        self._build()

    def _build(self) -> None:
        self.empty = EmptyState()
        self.landmarks, self.transform = LandmarksView(self.editor), TransformView()
        self.st_view, self.msi_view = ViewsPanel(self.context, "fixed"), ViewsPanel(self.context, "moving")
        self.preview = PreviewPanel(self.context, self.st_view, self.msi_view)
        self.automatic = AutomaticPanel(self.context)
        self.files = FilesPanel(self.context)
        self.files.accept_drops(self)
        views = QWidget()
        rows = QGridLayout(views)
        rows.setContentsMargins(0, 0, 0, 0)
        rows.setSpacing(4)
        self.side_labels: dict[Side, QLabel] = {side: QLabel(words) for side, words in SIDES.items()}
        for place, panel in enumerate((self.st_view, self.msi_view)):
            side = panel.side
            rows.addWidget(self.side_labels[side], place, 0, Qt.AlignmentFlag.AlignTop)
            rows.addWidget(panel, place, 1)
        self.body.addWidget(self.empty)
        self.groups = (
            self.add_group("Show", views, summary=self._views_in_words),
            self.add_group("Landmarks", self.landmarks, summary=self._landmarks_in_words),
            self.add_group("Transform", self.transform, open=False, summary=self.transform.summary),
            self.add_group("Preview", self.preview, summary=self.preview.summary),
            self.add_group("Automatic", self.automatic, open=False, summary=self.automatic.summary),
            self.add_group("Import and export", self.files, open=False),
        )
        self.save_button = flat("Save", "Register, and write the section (Ctrl+S)")
        self.keys_button = flat("Keys", "List the keys (?)")
        row = QHBoxLayout()
        row.addWidget(self.save_button)
        row.addWidget(self.keys_button)
        row.addStretch()
        self.layout().insertLayout(self.layout().indexOf(self.messages), row)

    def on_look(self, look: Look) -> None:
        """Follow the theme."""
        if hasattr(self, "automatic"):
            self.canvases.right.theme = self.viewer.theme
            self.automatic.set_look(look)
            self.landmarks.table.fit_columns()
            self.transform.table.fit_columns()

    def name_sides(self) -> None:
        """Call the sides what they are in the section at hand."""
        for side, words in self.editor.sides.items():
            self.side_labels[side].setText(words)

    def show_missing(self, section: Section | None) -> None:
        """Say what is missing to register a section."""
        self.empty.say(*_missing(section))

    def _landmarks_in_words(self) -> str:
        n = len(self.editor.pairs)
        return "none" if not n else f"{n}"

    def _views_in_words(self) -> str:
        return f"{self.st_view.summary()} | {self.msi_view.summary()}"

    def update_titles(self, *_: Any) -> None:
        """Show the current values of groups that are folded."""
        for group in self.groups:
            group.update_title()


def _missing(section: Section | None) -> tuple[str, str]:
    """Return what is missing to register a section, and what the button does about it."""
    if section is None:
        return "Open a section with ST and MSI first: in the Data dock, or a sample of it.", "Open data"
    if section.has_msi:
        words = "has MSI only, so there is nothing to lay it over. Open it together with its ST or its stained section."
    else:
        words = "has no MSI, so there is nothing to lay over it. Open it together with its MSI."
    return f"'{section.name}' {words}", "Open data"
