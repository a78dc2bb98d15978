"""Landmarks and registrations in and out of the Register dock as files."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QWidget

from napari_st2msi.viewer.docks.register_context import RegisterContext


class FilesPanel(QWidget):
    """Imports and exports landmarks, and exports the displacement field; files may be dropped on the dock.

    Parameters
    ----------
    context
        What the parts of the Register dock share; imported landmarks go into its editor.
    """

    #: What was done, in words.
    said = Signal(str)
    #: What needs attention, in words.
    warned = Signal(str)
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext) -> None:
        super().__init__()
        self.context = context

    def accept_drops(self, dock: QWidget) -> None:
        """Take landmark files that are dropped anywhere on a widget."""

    def read(self, path: Path) -> None:
        """Load a file of landmarks into the editor; that can be undone."""

    def write(self, path: Path, format: str) -> None:
        """Write the landmarks in a format of `landmark_files.FORMATS`."""

    def write_field(self, path: Path) -> None:
        """Write the registration at hand as displacement field for ITK."""
