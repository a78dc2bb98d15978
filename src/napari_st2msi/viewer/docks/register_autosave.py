"""Landmarks kept outside the section while they are edited, so that a crash costs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from qtpy.QtCore import QObject, Signal

from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext


class Autosave(QObject):
    """Writes the landmarks of the editor a second after the last change, to a folder of the user.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    folder
        Where to; the user's data folder when None.
    """

    #: Landmarks were written; carries the path.
    written = Signal(object)
    #: Why they could not be written, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, folder: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.context, self.folder = context, folder

    def resume(self, section: Section) -> dict[str, Any] | None:
        """Return what was kept for a section, for `LandmarkEditor.restore`; None where there is nothing.

        Raises
        ------
        FileProblem
            It is damaged.
        """
        return None

    def forget(self, section: Section) -> None:
        """Remove what was kept, because it was saved into the section or is not wanted."""
