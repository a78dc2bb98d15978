"""Buttons for what is not the main thing a dock does."""

from __future__ import annotations

from qtpy.QtWidgets import QPushButton


def flat(text: str, tip: str = "") -> QPushButton:
    """Return a flat button; the tip says what it does where its words do not."""
    button = QPushButton(text)
    button.setProperty("role", "flat")
    button.setToolTip(tip)
    return button
