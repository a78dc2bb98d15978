"""Buttons for what is not the main thing a dock does."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton, QToolButton


def flat(text: str, tip: str = "") -> QPushButton:
    """Return a flat button; the tip says what it does where its words do not."""
    button = QPushButton(text)
    button.setProperty("role", "flat")
    button.setToolTip(tip)
    return button


def tool(text: str, tip: str = "", *, checkable: bool = False) -> QToolButton:
    """Return a flat button that leaves the keys where they are when it is clicked."""
    button = QToolButton()
    button.setText(text)
    button.setToolTip(tip)
    button.setCheckable(checkable)
    button.setProperty("role", "flat")
    return button
