"""A registration found from the images, laid out to be judged: how far to trust it, and what to do with it."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFrame, QPushButton, QVBoxLayout, QWidget

from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.style import restyle
from napari_st2msi.viewer.parts.words import Words

_KINDS = {"free_form": "free-form", "thin_plate": "thin-plate spline"}


class ProposalCard(QFrame):
    """Says how trustworthy a proposal is, and asks whether to use it."""

    used = Signal()
    discarded = Signal()
    #: The proposal should be seen again in place of what is at hand.
    show_pressed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "message")
        self.title, self.facts, self.reasons = Words(role="title"), Words(), Words()
        self.use_button = QPushButton("Use it")
        self.discard_button = flat("Discard", "Go back to the registration from before")
        self.show_button = flat("Show again", "Something else is seen now, because landmarks changed")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 6, 6)
        layout.setSpacing(4)
        for words in (self.title, self.facts, self.reasons):
            layout.addWidget(words)
        layout.addWidget(ButtonRow(self.use_button, self.discard_button, self.show_button))
        self.use_button.clicked.connect(self.used)
        self.discard_button.clicked.connect(self.discarded)
        self.show_button.clicked.connect(self.show_pressed)
        self.show_at_hand(True)

    @property
    def level(self) -> str:
        """``good`` or ``warning``."""
        return str(self.property("level") or "")

    def show_proposal(self, registration: Registration, landmarks: Landmarks) -> None:
        """Show a proposal; landmarks that it did not know say how far off it is."""
        trusted = registration.trust is not None and registration.trust.trusted
        self.setProperty("level", "good" if trusted else "warning")
        restyle(self)
        self.title.setText("Proposal" if trusted else "Proposal, not to be trusted as it is")
        self.facts.setText(facts_in_words(registration, landmarks))
        reasons = () if registration.trust is None else registration.trust.reasons
        self.reasons.setText("\n".join(f"• {reason}" for reason in reasons))
        self.reasons.setVisible(bool(reasons))
        # Only what is believed is offered as the main thing to do.
        self.use_button.setText("Use it" if trusted else "Use it anyway")
        self.use_button.setProperty("role", "primary" if trusted else "flat")
        restyle(self.use_button)
        self.show_at_hand(True)

    def show_at_hand(self, at_hand: bool) -> None:
        """Say whether the proposal is what is seen now."""
        self.show_button.setVisible(not at_hand)


def facts_in_words(registration: Registration, landmarks: Landmarks) -> str:
    """Return what was found, and how far off it is likely to be."""
    measures = {} if registration.trust is None else registration.trust.measures
    kind = registration.transform.kind
    parts = [_KINDS.get(kind, kind) + (", mirrored" if registration.reflects else "")]
    error = measures.get("expected_error_um", float("nan"))
    if np.isfinite(error):
        parts.append(f"expected error {error:,.0f} µm")
    overlap = measures.get("dice", float("nan"))
    if np.isfinite(overlap):
        parts.append(f"outlines overlap {overlap:.0%} (Dice)")
    words = " · ".join(parts) + "."
    words = words[0].upper() + words[1:]
    used = landmarks.enabled
    if registration.source == "automatic" and used.any():
        away = np.hypot(*(registration.transform.forward(landmarks.moving[used]) - landmarks.fixed[used]).T)
        words += (
            f" Your {int(used.sum())} landmarks, which it did not know, are {np.median(away):,.0f} µm off (median)."
        )
    return words
