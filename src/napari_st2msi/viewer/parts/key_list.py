"""The list of keys that ``?`` shows."""

from __future__ import annotations

from collections.abc import Iterable

from qtpy.QtWidgets import QMessageBox, QWidget


def show_keys(parent: QWidget, words: Iterable[tuple[str, str]]) -> None:
    """List keys and what they do, beside the work."""
    rows = "".join(f"<tr><td><b>{key}</b>&nbsp;&nbsp;</td><td>{what}</td></tr>" for key, what in words)
    box = QMessageBox(parent)
    box.setWindowTitle("Keys")
    box.setText(f"<table cellpadding=3>{rows}</table>")
    box.setModal(False)
    box.show()
