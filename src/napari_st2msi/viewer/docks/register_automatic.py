"""Automatic registration in the Register dock: run it, watch it, and take or leave what it proposes."""

from __future__ import annotations

from functools import partial
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_st2msi import pipeline
from napari_st2msi.registration.registration import Registration
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_proposal import ProposalCard
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.dock import form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.live_curve import LiveCurve
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.style import Look, look_of
from napari_st2msi.viewer.parts.words import Words

_REFINE = (("free_form", "affine, then free-form"), ("affine", "affine only"))
#: Landmarks that a transform can be fitted to.
_NEEDED = 3


class AutomaticPanel(QWidget):
    """Finds or refines a registration in the background and shows it as a proposal.

    While a proposal is open, it is the registration at hand of the context, so the preview shows it.
    Nothing is applied here.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    """

    #: A proposal is there to be judged; carries the `Registration`.
    proposed = Signal(object)
    #: The user takes the proposal; carries the `Registration`. Applying it is up to the dock.
    accepted = Signal(object)
    #: The user leaves the proposal; the registration at hand is the one from before.
    discarded = Signal()
    #: What needs attention: ``warning``, and the words.
    message = Signal(str, str)
    #: Something went wrong: what, in words, and the traceback.
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext) -> None:
        super().__init__()
        self.context = context
        self.jobs = Jobs(context.state, self)
        self._proposal: Registration | None = None
        self._before: Registration | None = None

        self.refine = ChoiceField(_REFINE)
        self.refine.setAccessibleName("How far to refine")
        self.refine.setToolTip("A free-form is kept only where it holds better than an affine on tissue left out")
        self.find_button = flat("Find automatically", "Try every rotation and reflection; landmarks are not used")
        self.refine_button = flat("Refine", "Improve the registration at hand on the images, starting from it")
        self.note = Words(role="note")
        self.run_bar = RunBar("")
        self.curve = LiveCurve("step", "agreement")
        self.curve.setToolTip(
            "How much both sides tell about each other (mutual information, in nats at each place of the tissue); "
            "higher is better. Each stage has a scale of its own"
        )
        self.card = ProposalCard()
        rows, fields = form()
        fields.addRow("Transform", self.refine)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addWidget(rows)
        layout.addWidget(ButtonRow(self.find_button, self.refine_button))
        for part in (self.note, self.run_bar, self.curve, self.card):
            layout.addWidget(part)
        self.set_look(look_of(context.left))

        self.find_button.clicked.connect(self.find)
        self.refine_button.clicked.connect(self.improve)
        self.run_bar.cancel_pressed.connect(self.jobs.cancel)
        self.jobs.progressed.connect(self.run_bar.progress)
        self.jobs.told.connect(self._on_told)
        self.jobs.done.connect(self._on_done)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.cancelled.connect(self._on_cancelled)
        self.jobs.ended.connect(self._refresh)
        self.card.used.connect(self.use)
        self.card.discarded.connect(self.discard)
        self.card.show_pressed.connect(self._show_again)
        context.section_changed.connect(self._on_section)
        context.registration_changed.connect(self._on_registration)
        context.editor.changed.connect(self._refresh)
        context.state.registration_changed.connect(self._on_applied)
        self._refresh()

    # -- how it stands --------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        """Whether a search is under way."""
        return self.jobs.running

    @property
    def proposal(self) -> Registration | None:
        """The proposal that is open, None when there is none."""
        return self._proposal

    def summary(self) -> str:
        """Return how it stands, in few words."""
        if self.running:
            return "searching"
        return "" if self._proposal is None else "a proposal is waiting"

    def set_look(self, look: Look) -> None:
        """Draw in the colours of the theme."""
        self.curve.set_look(look)

    # -- searching ------------------------------------------------------------------------------

    def find(self) -> None:
        """Search without landmarks."""
        self._run("Finding the registration")

    def improve(self) -> None:
        """Refine from the landmarks, or else from the registration at hand."""
        landmarks = self.context.editor.landmarks
        if landmarks.enabled.sum() >= _NEEDED:
            self._run("Refining the registration", landmarks=landmarks)
        elif (start := self._at_hand()) is not None:
            self._run("Refining the registration", start=start)

    def _run(self, title: str, **given: Any) -> None:
        section = self.context.section
        if section is None or self.running:
            return
        self._close()
        self.curve.show_values(())
        call = partial(pipeline.propose_registration, section, refine=self.refine.value(), **given)
        self.run_bar.begin(title)
        self.jobs.start(Job(title, call, tells="step"))
        self._refresh()

    def _at_hand(self) -> Registration | None:
        return self.context.registration if self._proposal is None else self._before

    def _on_told(self, value: float) -> None:
        self.curve.add(value)
        self._show_curve()

    def _show_curve(self) -> None:
        """Show the curve once there is something in it."""
        self.curve.setVisible(bool(self.curve.values) and (self.running or self._proposal is not None))

    def _on_done(self, registration: Registration) -> None:
        self._before, self._proposal = self.context.registration, registration
        if registration.trust is not None and registration.trust.curve:
            self.curve.show_values(registration.trust.curve)
        self.card.show_proposal(registration, self.context.editor.landmarks)
        self.context.registration = registration
        self.proposed.emit(registration)

    def _on_failed(self, words: str, details: str) -> None:
        self.failed.emit(words, details)

    def _on_cancelled(self) -> None:
        self.message.emit("warning", "Stopped before anything was found. Nothing was changed.")

    # -- judging --------------------------------------------------------------------------------

    def use(self) -> None:
        """Take the proposal."""
        registration = self._proposal
        if registration is not None:
            self._proposal = self._before = None
            self.context.registration = registration
            self._refresh()
            self.accepted.emit(registration)

    def discard(self) -> None:
        """Leave the proposal, and go back to the registration from before."""
        if self._proposal is not None:
            self._close()
            self._refresh()
            self.discarded.emit()

    def _close(self) -> None:
        proposal, before = self._proposal, self._before
        self._proposal = self._before = None
        if proposal is not None and self.context.registration is proposal:
            self.context.registration = before

    def _show_again(self) -> None:
        if self._proposal is not None:
            self._before = self.context.registration
            self.context.registration = self._proposal

    # -- following the context ------------------------------------------------------------------

    def _on_section(self, _section: Section | None) -> None:
        self.jobs.shut()
        self._proposal = self._before = None
        self._refresh()

    def _on_registration(self, _registration: Registration | None) -> None:
        self._refresh()

    def _on_applied(self, section: Section) -> None:
        """Close a proposal that was applied while it was at hand."""
        if section is self.context.section and self.context.registration is self._proposal:
            self._proposal = self._before = None
            self._refresh()

    def _refresh(self, *_: Any) -> None:
        section, running = self.context.section, self.running
        proposal = self._proposal
        enough = self.context.editor.landmarks.enabled.sum() >= _NEEDED
        idle = section is not None and not running
        self.refine.setEnabled(idle)
        self.find_button.setEnabled(idle)
        self.refine_button.setEnabled(idle and (bool(enough) or self._at_hand() is not None))
        self.note.setText(
            "Refine starts from your landmarks, and leaves some out in turn to see whether it helped."
            if enough
            else "Find needs no landmarks. From three on, Refine starts from them."
        )
        self.note.setVisible(section is not None and not running and proposal is None)
        if not running:
            self.run_bar.end()
        self.run_bar.setVisible(running)
        self._show_curve()
        self.card.setVisible(proposal is not None)
        self.card.show_at_hand(self.context.registration is proposal)
