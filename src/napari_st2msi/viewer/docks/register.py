"""The Register dock: landmarks on two canvases, the transform they give, its errors; applied and saved."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from qtpy.QtCore import QEvent
from qtpy.QtGui import QKeySequence
from qtpy.QtWidgets import QShortcut

from napari_st2msi.registration.registration import Registration
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_autosave import Autosave
from napari_st2msi.viewer.docks.register_commands import Commands
from napari_st2msi.viewer.docks.register_context import can_be_registered
from napari_st2msi.viewer.docks.register_keys import WORDS
from napari_st2msi.viewer.docks.register_layout import RegisterLayout
from napari_st2msi.viewer.docks.register_resume import Resuming
from napari_st2msi.viewer.docks.register_stage import Stage
from napari_st2msi.viewer.docks.register_table import rows_of
from napari_st2msi.viewer.docks.register_view import (
    applied_in_words,
    errors_in_words,
    fit_in_words,
    standing_in_words,
)
from napari_st2msi.viewer.docks.register_work import Choices, Fitting, Held, Kept, apply, look_up
from napari_st2msi.viewer.docks.saving import Saving
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.key_list import show_keys
from napari_st2msi.viewer.parts.open_dock import open_dock

#: Pairs from which on the counterpart of a point is predicted.
_PREDICTS = 3


class RegisterDock(RegisterLayout):
    """Lays MSI over ST: landmarks by hand, automatic refinement, and how far either is off.

    While the dock is in front, the window shows ST on the left and MSI on the right.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.commands = Commands(self.editor, self.landmarks.add, self.messages)
        self.fitting = Fitting(self.state, self)
        self.autosave = Autosave(self.context, parent=self)
        self.resuming = Resuming(self.editor, self.autosave, self.messages)
        self.saving = Saving(self, self._written)
        self._looking = Jobs(self.state, self)
        self._held: WeakKeyDictionary[Section, Held] = WeakKeyDictionary()
        self._why_not = ""
        # From when the landmarks of another section are there until the section is.
        self._changing = False
        commands = {
            "add": self.landmarks.add.toggle,
            "accept": self.commands.accept,
            "disable": self.commands.disable,
            "delete": self.commands.delete,
            "stop": self.commands.stop,
            "undo": self.commands.undo,
            "redo": self.commands.redo,
        }
        self.stage = Stage(self, commands, self.save)
        self._connect()
        self._on_section()

    # -- connections ----------------------------------------------------------------------------

    def _connect(self) -> None:
        editor, view = self.editor, self.landmarks
        editor.changed.connect(self._on_edit)
        editor.predictions_changed.connect(self._show_rows)
        editor.selection_changed.connect(self._on_selected)
        view.add.toggled.connect(self._on_adding)
        view.undo.clicked.connect(self.commands.undo)
        view.redo.clicked.connect(self.commands.redo)
        view.disable.clicked.connect(self.commands.disable)
        view.delete.clicked.connect(self.commands.delete)
        view.table.chosen.connect(self._on_row)
        view.table.landmarks.refused.connect(self.messages.show_error)
        self.transform.changed.connect(self._on_choices)
        self.fitting.fitted.connect(self._on_fitted)
        self.fitting.failed.connect(self._on_unfit)
        self.context.registration_changed.connect(self._on_registration)
        self._looking.done.connect(self._on_known)
        self._looking.failed.connect(self.messages.show_error)
        self.save_button.clicked.connect(self.save)
        self.keys_button.clicked.connect(self.show_keys)
        self.empty.pressed.connect(self._open_data)
        self.automatic.accepted.connect(self._apply)
        self.automatic.proposed.connect(self.preview.show_if_off)
        for talker in (self.automatic, self.files):
            talker.message.connect(self._on_message)
        for panel in (self.st_view, self.msi_view, self.preview, self.automatic, self.files, self.autosave):
            panel.failed.connect(self.messages.show_error)
        for panel in (self.st_view, self.msi_view):
            panel.view_changed.connect(self.update_titles)
        self.preview.changed.connect(self.update_titles)
        for jobs in (self.jobs, self.automatic.jobs):
            jobs.started.connect(self._refresh)
            jobs.ended.connect(self._refresh)
        self.follow(self.state.section_changed, self._on_section)
        self.follow(self.state.sections_changed, self._on_section)
        self.follow(self.state.saved_changed, self._on_saved)
        self._help_key = QShortcut(QKeySequence("?"), self)
        self._help_key.activated.connect(self.show_keys)

    # -- coming and going -----------------------------------------------------------------------

    def on_front(self, front: bool) -> None:
        """Show both canvases and take the keys while the dock is seen."""
        self._help_key.setEnabled(front)
        if front:
            self._enter()
        else:
            self._leave()

    def event(self, event: QEvent | None) -> bool:
        """Take the second canvas away once napari has closed the dock."""
        handled = super().event(event)
        if event is not None and event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._leave()
            self.autosave.flush()
            self.fitting.drop()
            self._looking.shut()
            self.canvases.close()
        return handled

    def _enter(self) -> None:
        """Show both canvases, if there is a section for them; look up what it carries when it is seen first."""
        section = self.context.section
        if section is None or self.stage.shown or not self.front:
            return
        self.stage.show(section)
        if not self._held[section].known:
            self._looking.start(Job("Looking for landmarks", partial(look_up, section)))
        self._refresh()

    def _leave(self) -> None:
        if self.stage.shown:
            self.landmarks.add.setChecked(False)
            self.stage.hide()

    # -- the section ----------------------------------------------------------------------------

    def _on_section(self, *_: Any) -> None:
        """Work on the section looked at, if it has both sides; what was edited in the one before is kept."""
        section = self.state.section
        if not can_be_registered(section):
            section = None
        before = self.context.section
        if section is not before:
            self._leave()
            self.fitting.drop()
            self._looking.shut()
            held = Held() if section is None else self._held.setdefault(section, Held())
            self._changing = True
            history = self.editor.exchange(held.history)
            if before is not None:
                self._held[before].history = history
            self._why_not = ""
            self.messages.clear()
            self.transform.set_value(held.choices)
            self.context.set_section(section)
            self.name_sides()
            self._changing = False
            if held.known:
                self._fit()
            self._enter()
        self._show_rows()
        self._refresh()

    def _on_known(self, kept: Kept) -> None:
        """Take over what the section carries, and offer what was left unsaved."""
        section = self.context.section
        assert section is not None
        held = self._held[section]
        held.known, held.applied = True, kept.registration
        if kept.problem:
            self.messages.show_warning(kept.problem)
        self.editor.begin(kept.landmarks)
        self.context.registration = kept.registration
        self._fit()
        self.resuming.offer(section)

    # -- editing --------------------------------------------------------------------------------

    def _on_edit(self) -> None:
        if not self._changing:
            self._show_rows()
            self._fit()
            self._refresh()

    def _on_adding(self, adding: bool) -> None:
        self.stage.add_landmarks(adding)
        self._refresh()

    def _on_selected(self, id: str | None) -> None:
        self.landmarks.table.show_landmark(id)
        self.landmarks.show_state()

    def _on_row(self, id: str) -> None:
        """Select a landmark that was chosen in the table, and bring it into view on both sides."""
        self.editor.select(id)
        self.stage.centre_on(id)

    # -- fitting --------------------------------------------------------------------------------

    def _on_choices(self, choices: Choices) -> None:
        section = self.context.section
        if section is not None:
            self._held[section].choices = choices
            self._fit()

    def _fit(self) -> None:
        section, landmarks = self.context.section, self.editor.landmarks
        if section is None:
            return
        held = self._held[section]
        if not landmarks.enabled.any() and held.applied is not None and not len(held.applied.landmarks):
            # Found from images alone; nothing speaks against it yet.
            self.context.registration = held.applied
            return
        self.fitting.want(section, landmarks, held.choices)

    def _on_fitted(self, registration: Registration) -> None:
        self._why_not = ""
        self.context.registration = registration

    def _on_unfit(self, words: str, details: str) -> None:
        self._why_not = words
        if details:
            self.messages.show_error(words, details)
        self.context.registration = None
        self._on_registration(None)

    def _on_registration(self, registration: Registration | None) -> None:
        """Show the registration at hand, and predict by it."""
        if self._changing:
            return
        if registration is None:
            self.editor.predictor = None
        else:
            used = int(registration.landmarks.enabled.sum())
            by_images = registration.source != "landmarks"
            self.editor.predictor = registration.transform if by_images or used >= _PREDICTS else None
        self.transform.show_candidates(() if registration is None else registration.candidates)
        self._show_rows()
        self._refresh()

    def _show_rows(self) -> None:
        if not self._changing:
            self.landmarks.show_rows(
                rows_of(self.editor.pairs, self.context.registration, self.fitting.pixel_um, self.editor.sides)
            )

    # -- applying and saving --------------------------------------------------------------------

    @property
    def pending(self) -> bool:
        """Whether the registration at hand, or a landmark of it, is not what the section holds."""
        section, registration = self.context.section, self.context.registration
        if section is None or registration is None:
            return False
        applied = self._held[section].applied
        return self.editor.dirty or applied is None or applied.fingerprint != registration.fingerprint

    def on_primary(self) -> None:
        """Lay MSI over ST as it is at hand."""
        if self.context.registration is not None:
            self._apply(self.context.registration)

    def _apply(self, registration: Registration, *, then: Callable[[Section], None] | None = None) -> None:
        section = self.context.section
        if section is None or self.busy():
            return
        self.run(Job("Registering", partial(apply, section, registration)), partial(self._on_applied, section, then))

    def _on_applied(self, section: Section, then: Callable[[Section], None] | None, registration: Registration) -> None:
        if section not in self.state.sections:
            return
        self._held[section].applied = registration
        if section is self.context.section:
            self.editor.mark_saved()
            self.context.registration = registration
        self.state.set_registered(section)
        action = ("Pair in the Data dock", self._open_data) if section.has_st else None
        self.messages.show_result(applied_in_words(section, registration), action=action)
        self._refresh()
        if then is not None:
            then(section)

    def save(self) -> None:
        """Register what is not yet, and write the section."""
        section, registration = self.context.section, self.context.registration
        if section is None:
            return
        if self.fitting.running:
            self.messages.show_warning("The landmarks are still being fitted. Save again in a moment.")
        elif self.pending and registration is not None:
            self._apply(registration, then=self.saving.save)
        else:
            self.saving.save(section)

    def _written(self, section: Section) -> str:
        applied = self._held[section].applied if section in self._held else None
        return "" if applied is None else f" It holds the registration: {errors_in_words(applied)}"

    def _on_saved(self, section: Section) -> None:
        """Forget what is kept beside the section once that holds all of it; half-placed points it cannot hold."""
        here = section is self.context.section
        lacking = here and (self.editor.dirty or not all(pair.complete for pair in self.editor.pairs))
        if not self.state.work(section).unsaved and not lacking:
            self.autosave.forget(section)
        self._refresh()

    # -- words ----------------------------------------------------------------------------------

    def _on_message(self, level: str, words: str) -> None:
        (self.messages.show_result if level == "good" else self.messages.show_warning)(words)

    def _refresh(self, *_: Any) -> None:
        """Show where things stand."""
        section, registration = self.context.section, self.context.registration
        for group in self.groups:
            group.setVisible(section is not None)
        self.empty.setVisible(section is None)
        self.save_button.setEnabled(section is not None and not self.jobs.running)
        self.enable_groups(not self.jobs.running)
        if section is None:
            self.show_missing(self.state.section)
        self.landmarks.show_state()
        self.landmarks.say(self._why_not if registration is None else fit_in_words(registration))
        verb = "Register again" if section is not None and self._held[section].applied is not None else "Register"
        self.run_bar.set_verb(
            verb,
            enabled=registration is not None and self.pending and not self.automatic.running,
            why_not=self._why_not_in_words(),
        )
        self.say(*self._state_in_words(section))
        self.update_titles()

    def _why_not_in_words(self) -> str:
        if self.automatic.running:
            return "A registration is being searched. Wait until it is found, or cancel the search."
        return self._why_not or "The section holds just this registration already."

    def _state_in_words(self, section: Section | None) -> tuple[str, Any]:
        if section is None:
            return "No section that can be registered is open.", "empty"
        if self.jobs.running:
            return self.jobs.title, "running"
        held = self._held[section]
        if self.automatic.running:
            return f"{section.name} · searching on the images, step by step under Automatic", "running"
        if not held.known:
            return f"{section.name} · looking for landmarks", "running"
        return standing_in_words(
            section.name,
            len(self.editor.pairs),
            changes=self.editor.changes,
            pending=self.pending,
            registered=section.registered,
            unsaved=self.state.work(section).unsaved,
            verb=self.run_bar.button.text(),
        )

    def show_keys(self) -> None:
        """List the keys."""
        show_keys(self, WORDS)

    def _open_data(self) -> None:
        open_dock(self.viewer, "Data")
