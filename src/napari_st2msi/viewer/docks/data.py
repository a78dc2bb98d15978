"""The Data dock: open a section, see what was found, register, pair, save."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from napari.utils.history import update_open_history
from qtpy.QtGui import QDragEnterEvent, QDropEvent

from napari_st2msi import pipeline
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Pairing
from napari_st2msi.section import Section
from napari_st2msi.viewer import overlays
from napari_st2msi.viewer.docks.data_found import FoundView, RolesView, work_in_words
from napari_st2msi.viewer.docks.data_open import OpenView, Request, opening_for_roles
from napari_st2msi.viewer.docks.data_opened import Opened, open_request, open_sample
from napari_st2msi.viewer.docks.data_public import PublicDownloads
from napari_st2msi.viewer.docks.data_steps import (
    PairView,
    RegisterView,
    paired_in_words,
    registered_in_words,
)
from napari_st2msi.viewer.docks.next_step import Step, next_step
from napari_st2msi.viewer.docks.register_context import can_be_registered
from napari_st2msi.viewer.docks.saving import Saving
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.dock import Dock, form
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.state import Work


class DataDock(Dock):
    """Opens sections and prepares them for training; the button is always the next step.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Open")
        self._requests: WeakKeyDictionary[Section, Request] = WeakKeyDictionary()
        self._opened: Request | None = None
        self._step = Step("open", "Open")
        self.setAcceptDrops(True)

        self.chooser = ChoiceField([])
        self._chooser_row, rows = form()
        rows.addRow("Looking at", self.chooser)
        self.body.addWidget(self._chooser_row)
        self.open_view = OpenView()
        self.found_view, self.roles_view = FoundView(), RolesView()
        self.register_view, self.pair_view = RegisterView(), PairView(self.state.recipe.pairing)
        self.open_group = self.add_group("Open", self.open_view, summary=self._opened_in_words)
        self.choices_group = self.add_group(
            "Reading", self.open_view.choices, open=False, summary=self.open_view.summary
        )
        self.found_group = self.add_group("Found", self.found_view, summary=lambda: repr(self.state.section or ""))
        self.roles_group = self.add_group("Roles", self.roles_view, open=False, summary=self.roles_view.summary)
        self.register_group = self.add_group("Register", self.register_view, summary=self.register_view.summary)
        self.pair_group = self.add_group("Pair", self.pair_view, open=False, summary=self.pair_view.summary)

        self.open_view.changed.connect(self._refresh)
        self.open_view.sample_chosen.connect(self.open_sample)
        self.public = PublicDownloads(self, self._on_downloaded)
        self.open_view.public_chosen.connect(self.public.look_up)
        self.found_view.save_pressed.connect(self.save)
        self.found_view.save_as_pressed.connect(self.ask_where_to_save)
        self.found_view.close_pressed.connect(self.close_section)
        self.roles_view.chosen.connect(self._reopen)
        self.register_view.pressed.connect(self.register)
        self.pair_view.changed.connect(self._on_pairing)
        self.pair_view.pressed.connect(self.pair)
        self.chooser.changed.connect(self._on_chosen)
        self.saving = Saving(self)
        self.jobs.started.connect(self._refresh)
        self.jobs.ended.connect(self._refresh)
        for signal in (self.state.sections_changed, self.state.section_changed):
            self.follow(signal, self._on_section)
        self.follow(self.state.paired_changed, self._on_pairing_done)
        self.follow(self.state.registration_changed, self._on_registration)
        self.follow(self.state.recipe_changed, self._on_recipe)
        self.follow(self.state.prediction_changed, self._on_prediction)
        self.follow(self.state.saved_changed, self._on_saved)
        self._on_section()

    # -- opening --------------------------------------------------------------------------------

    def on_primary(self) -> None:
        """Do the next step."""
        steps: dict[str, Callable[[], Any]] = {
            "open": self.open,
            "register": self.register,
            "pair": self.pair,
            "train": lambda: open_dock(self.viewer, "Train"),
            "explore": lambda: open_dock(self.viewer, "Explore"),
        }
        steps[self._step.kind]()

    def open(self) -> None:
        """Open what the paths say; a section of these very files that is open already is read again."""
        request = self.open_view.request
        if self.open_view.choices.reason:
            self.choices_group.expand()
            self.messages.show_error(self.open_view.choices.reason)
        elif request is None:
            self.messages.show_warning("Choose a file or folder to open first.")
        else:
            files = (request.path, request.msi)
            again = next((each for each, known in self._requests.items() if (known.path, known.msi) == files), None)
            self._open_request(request, again)

    def _open_request(self, request: Request, instead: Section | None, all_the_same: bool = False) -> None:
        """Open what was asked for, in the place of a section if it is the same one."""
        changed = instead is not None and instead in self.state.sections and self.state.work(instead).unsaved
        if instead is not None and changed and not all_the_same:
            self.messages.show_warning(
                f"Opening '{instead.name}' again drops what was registered, paired or predicted and not saved.",
                action=("Open again", partial(self._open_request, request, instead, True)),
            )
            return
        self._start(
            f"Opening {request.path.name}",
            partial(open_request, request),
            partial(self._on_opened, request, instead=instead),
        )

    def open_paths(self, paths: Iterable[Path]) -> None:
        """Open files that were dropped, on the dock or on the canvas."""
        if self.busy():
            return
        paths = list(paths)
        self.open_group.expand()
        self.open_view.take(paths)
        if self.open_view.path.value() in paths:
            self.open()
        else:
            self._refresh()

    def open_sample(self, name: str, **changes: Any) -> None:
        """Simulate a sample, with single choices of it changed, and open its sections."""
        self._start(f"Opening {name}", partial(open_sample, name, **changes), partial(self._on_opened, None))

    def _on_downloaded(self, sections: Sequence[Path]) -> None:
        """Put the first section that was downloaded where it can be opened."""
        self.open_group.expand()
        self.open_view.take(sections[:1])
        self._refresh()

    def _reopen(self, roles: dict[str, str | None]) -> None:
        """Open the section again with other roles."""
        section = self.state.section
        if section is None:
            return
        request = self._requests.get(section)
        if request is None and section.path is not None:
            request = Request(section.path)
        if request is None:
            self.messages.show_warning("This section did not come from a file. Save it first, then change its roles.")
            return
        self._open_request(opening_for_roles(request, roles), section)

    def _on_opened(self, request: Request | None, opened: Sequence[Opened], instead: Section | None = None) -> None:
        for item in opened:
            self._put(item.section, instead)
            if request is not None:
                self._requests[item.section] = request
            if item.paired is not None:
                self.state.set_paired(item.paired, item.section)
            if item.stale:
                self.state.mark_stale("paired", item.stale, item.section)
        self.state.section = opened[0].section
        if request is not None:
            update_open_history(str(request.path))
            self._opened = request
        self.open_group.collapse()
        self.choices_group.collapse()
        overlays.show_only(self.viewer, opened[0].section, self.state.sections)
        self.viewer.reset_view()
        problems = [item.problem for item in opened if item.problem]
        if request is not None and opened[0].section.has_msi and opened[0].section.summary()["pixel_size_um"] == 1:
            # Positions that count pixels look just so, and every length on the screen would be wrong.
            self.choices_group.expand()
            problems.append(
                "An MSI pixel is taken as 1 µm, because the file does not say its size. Give it above, under MSI pixel."
            )
        if problems:
            self.messages.show_warning(" ".join(problems))
        else:
            self.messages.show_result("Opened " + ", ".join(item.section.name for item in opened) + ".")
        self._refresh()

    def _put(self, section: Section, instead: Section | None) -> None:
        """Add a section, in the place of another one if it was opened again."""
        if instead is not None and instead in self.state.sections:
            overlays.remove_layers(self.viewer, instead)
            self.state.replace_section(instead, section)
        else:
            self.state.add_section(section)
        overlays.show_section(self.viewer, section)

    # -- registering and pairing ----------------------------------------------------------------

    def register(self) -> None:
        """Open the dock that lays MSI over ST."""
        open_dock(self.viewer, "Register")

    def pair(self) -> None:
        """Give every spot its ions."""
        section, choices = self.state.section, self.pair_view.form.value
        if section is None:
            return
        if self.pair_view.form.reason:
            self.pair_group.expand()
            self.messages.show_error(self.pair_view.form.reason)
            return
        self._start("Pairing", partial(pipeline.pair, section, choices), partial(self._on_paired, section))

    def _on_paired(self, section: Section, paired: PairedDataset) -> None:
        if section not in self.state.sections:
            return
        self.state.mark_unsaved(section)
        self.state.set_paired(paired, section)
        overlays.show_coverage(self.viewer, section, paired)
        text = paired_in_words(paired, section.st.n_obs)
        warnings = section.attrs.get("pairing", {}).get("warnings", ())
        if warnings:
            self.messages.show_warning("\n".join([text, *warnings]))
        else:
            self.messages.show_result(text)

    # -- saving and closing ---------------------------------------------------------------------

    def save(self) -> None:
        """Write what changed into the zarr that the section came from."""
        if (section := self.state.section) is not None and self.found_view.save.isEnabled():
            self.saving.save(section)

    def ask_where_to_save(self) -> None:
        """Ask where to write the section, and write it there."""
        if (section := self.state.section) is not None:
            self.saving.ask(section)

    def save_as(self, path: Path, *, overwrite: bool = False) -> None:
        """Write the section as a new zarr; one that is there is replaced only when that was said."""
        if (section := self.state.section) is not None:
            self.saving.save_as(section, path, overwrite=overwrite)

    def _on_saved(self, section: Section) -> None:
        if section is self.state.section:
            self.found_view.show_section(section)

    def close_section(self, *, all_the_same: bool = False) -> None:
        """Take the section looked at out of the viewer."""
        section = self.state.section
        if section is None or self.busy():
            return
        if self.state.work(section).unsaved and not all_the_same:
            self.messages.show_warning(
                f"What was registered, paired or predicted in '{section.name}' is not saved.",
                action=("Close without saving", partial(self.close_section, all_the_same=True)),
            )
            return
        self.messages.clear()
        overlays.remove_layers(self.viewer, section)
        self.state.remove_section(section)

    # -- following the state --------------------------------------------------------------------

    def _on_section(self, *_: Any) -> None:
        section, sections = self.state.section, self.state.sections
        self._chooser_row.setVisible(len(sections) > 1)
        self.chooser.blockSignals(True)
        self.chooser.set_choices([(number, each.name) for number, each in enumerate(sections)])
        if section is not None:
            self.chooser.set_value(sections.index(section))
        self.chooser.blockSignals(False)
        if section is not None:
            self.found_view.show_section(section)
            self.roles_view.show_section(section)
            overlays.show_only(self.viewer, section, sections)
        else:
            self.open_group.expand()
        self._refresh()

    def _on_chosen(self) -> None:
        self.state.section = self.state.sections[self.chooser.value()]

    def _on_registration(self, section: Section) -> None:
        overlays.show_section(self.viewer, section)
        if section is self.state.section:
            self.found_view.show_section(section)
        self._refresh()

    def _on_pairing_done(self, section: Section) -> None:
        if section is self.state.section:
            self.found_view.show_section(section)
        self._refresh()

    def _on_prediction(self, section: Section) -> None:
        self.state.mark_unsaved(section)

    def _on_pairing(self, choices: Pairing) -> None:
        self.state.recipe = self.state.recipe.model_copy(update={"pairing": choices})

    def _on_recipe(self, *_: Any) -> None:
        if self.pair_view.form.value != self.state.recipe.pairing:
            self.pair_view.form.set_value(self.state.recipe.pairing)
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        """Show where things stand, and let the button say what comes next."""
        work = None if self.state.section is None else self.state.work()
        request = self.open_view.request
        self._step = next_step(
            work,
            wanted=request is not None and request != self._opened,
            pairing=self.pair_view.form.value,
        )
        self.say(*self._state_in_words(work))
        self.run_bar.set_verb(self._step.verb, enabled=self._step.enabled, why_not=self._step.hint)
        self.enable_groups(not self.jobs.running)
        both = work is not None and work.section.has_st and work.section.has_msi
        self.found_group.setVisible(work is not None)
        self.roles_group.setVisible(work is not None)
        alignable = work is not None and can_be_registered(work.section)
        self.register_group.setVisible(alignable)
        self.pair_group.setVisible(both)
        if work is not None and alignable:
            self._refresh_steps(work)
        for group in (self.open_group, self.choices_group, self.found_group, self.roles_group):
            group.update_title()

    def _refresh_steps(self, work: Work) -> None:
        """Show what came of registering and pairing; a step is offered here only where it is not the next one."""
        kind, registered = self._step.kind, work.section.registered
        if registered:
            self.register_view.say(registered_in_words(work.section))
        elif overlays.has_landmarks(work.section):
            self.register_view.say("Not registered yet. Landmarks came with this section.")
        else:
            self.register_view.say("Not registered yet.")
        self.register_view.button.setVisible(kind != "register")
        self.pair_view.say("" if work.paired is None else paired_in_words(work.paired, work.section.st.n_obs))
        self.pair_view.button.setVisible(registered and kind != "pair")
        self.register_group.update_title()
        self.pair_group.update_title()

    def _state_in_words(self, work: Work | None) -> tuple[str, Any]:
        if self.jobs.running:
            return self.jobs.title, "running"
        if work is None:
            return "No section is open. Choose a file or folder, drop one here, or open a sample.", "empty"
        if "paired" in work.stale:
            return f"{work.section.name} · {work.stale['paired'].rstrip('.')}. Press {self._step.verb}.", "stale"
        return work_in_words(work), "ready"

    def _opened_in_words(self) -> str:
        return "another file or sample" if self._opened is None else self._opened.path.name

    # -- dropping -------------------------------------------------------------------------------

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Take files and folders."""
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        """Open what was dropped."""
        paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
        if paths:
            event.acceptProposedAction()
            self.open_paths(paths)

    # -- running --------------------------------------------------------------------------------

    def _start(self, title: str, call: Callable[..., Any], then: Callable[[Any], None]) -> None:
        if not self.busy():
            self.run(Job(title, call), then)
