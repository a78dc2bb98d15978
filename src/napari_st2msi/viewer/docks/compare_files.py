"""Files of the Compare dock: configs that are compared or kept, and where results lie."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from qtpy.QtWidgets import QLineEdit, QVBoxLayout, QWidget

from napari_st2msi.benchmarking.config import Config, Data
from napari_st2msi.errors import FileProblem
from napari_st2msi.report.table import write_whole
from napari_st2msi.section import Section
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.words import Words

_MORE = "A config can compare more: other files, seeds, settings of models."


class FilesView(QWidget):
    """Which config is compared, where results are kept, and buttons for both."""

    def __init__(self) -> None:
        super().__init__()
        self.config_words = Words(role="note")
        self.load = flat("Load a config…", "Compare what a YAML file says, instead of what is ticked")
        self.keep = flat("Save config…", "Write what is ticked as a YAML file, for 'napari-st2msi benchmark'")
        self.drop = flat("Use the ticks", "Compare what is ticked here again")
        self.open = flat("Open results…", "Open the folder of a benchmark that was run before")
        self.report = flat("Report", "Open the report of this benchmark in the browser")
        self.folder = QLineEdit()
        self.folder.setReadOnly(True)
        where, rows = form()
        rows.addRow("Kept in", self.folder)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        for part in (
            self.config_words, ButtonRow(self.load, self.keep, self.drop), where, ButtonRow(self.open, self.report)
        ):  # fmt: skip
            layout.addWidget(part)

    def show_config(self, words: str) -> None:
        """Say what is compared by a config; nothing where it is what is ticked."""
        self.config_words.setText(words or _MORE)
        self.drop.setVisible(bool(words))
        self.keep.setVisible(not words)

    def show_folder(self, folder: Path) -> None:
        """Say where results lie."""
        if self.folder.text() != str(folder):
            self.folder.setText(str(folder))
            self.folder.setCursorPosition(0)
            self.folder.setToolTip(str(folder))


def data_of(name: str, sections: Sequence[Section], unsaved: Sequence[Section]) -> Data:
    """Return how a config names open sections: by the files that they were saved as.

    Parameters
    ----------
    unsaved
        Sections of which something was made that their file does not hold.

    Raises
    ------
    FileProblem
        A section is not saved as it is.
    """
    paths = []
    for section in sections:
        if section.path is None or section.path.suffix != ".zarr" or section in unsaved:
            raise FileProblem(
                f"'{section.name}' is not saved as it was paired, so a config has no file to name. Save it as zarr in "
                "the Data dock first."
            )
        paths.append(section.path.resolve())
    return Data(name=name, paths=tuple(paths))


def write_config(config: Config, path: Path) -> Path:
    """Write a config that ``napari-st2msi benchmark`` runs, and return where.

    Raises
    ------
    FileProblem
        It cannot be written.
    """
    path = path if path.suffix in (".yaml", ".yml") else path.with_name(f"{path.name}.yaml")
    write_whole(path, lambda file: file.write_text(config.to_yaml(), encoding="utf-8"))
    return path
