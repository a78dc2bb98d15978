"""The Compare dock: models × features × ways of holding out, as a leaderboard and a heatmap."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakSet

from napari.utils.history import get_open_history, get_save_history, update_open_history, update_save_history
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog

from napari_st2msi.benchmarking.config import Config
from napari_st2msi.errors import St2msiError
from napari_st2msi.paired import PairedDataset
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import compare_work
from napari_st2msi.viewer.docks.compare_choices import (
    config_in_words,
    config_of,
    features_ticks,
    models_ticks,
    n_combinations,
    names_in_words,
)
from napari_st2msi.viewer.docks.compare_files import FilesView, data_of, write_config
from napari_st2msi.viewer.docks.compare_kept import kept
from napari_st2msi.viewer.docks.compare_results import FailuresView, ResultsView
from napari_st2msi.viewer.docks.compare_work import Compared, Ended, Looked
from napari_st2msi.viewer.docks.learnability_choices import ProtocolsView
from napari_st2msi.viewer.docks.train_view import SectionsView
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.dock import Dock, Level
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.style import Look
from napari_st2msi.viewer.parts.words import Words


class CompareDock(Dock):
    """Runs a benchmark in the background, shows who wins and by how much, and brings a prediction into Explore.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Compare")
        self._kept = kept(self.state)
        again = replace(self._kept)  # as it was when a dock was closed; the one here changes with what is chosen
        self.compared, self._config = again.compared, again.config
        self._failed: list[Ended] = []
        self._looking = Jobs(self.state, self)
        self.empty = EmptyState()
        self.body.addWidget(self.empty)
        self.sections = SectionsView()
        self.models, self.features = models_ticks(again.models), features_ticks(again.features)
        self.protocols = ProtocolsView(again.protocols)
        self.sections_group = self.add_group("Sections", self.sections, summary=self.sections.summary)
        self.models_group = self.add_group("Models", self.models, summary=self.models.summary)
        self.features_group = self.add_group("Features", self.features, open=False, summary=self.features.summary)
        self.protocols_group = self.add_group("Held out", self.protocols, summary=self.protocols.summary)
        self.ticked = (self.models_group, self.features_group, self.protocols_group)
        self.live = Words(role="note")
        self.body.addWidget(self.live)
        self.results, self.failures, self.files = ResultsView(), FailuresView(), FilesView()
        self.results_group = self.add_group("Leaderboard", self.results)
        self.failures_group = self.add_group("What failed", self.failures)
        self.config_group = self.add_group("Config and results", self.files, open=False,
                                           summary=self._files_in_words)  # fmt: skip
        self._connect()
        self._on_data()
        self.sections.leave_out(again.left_out)
        self.protocols.tick(again.protocols)
        self._on_choice()
        self._show_found()

    def _connect(self) -> None:
        self.empty.pressed.connect(partial(open_dock, self.viewer, "Data"))
        self.files.load.clicked.connect(self.ask_for_config)
        self.files.keep.clicked.connect(self.ask_where)
        self.files.drop.clicked.connect(self.forget_config)
        self.files.open.clicked.connect(self.ask_for_results)
        self.files.report.clicked.connect(self.open_report)
        for choice in (self.sections, self.models, self.features, self.protocols):
            choice.changed.connect(self._on_choice)
        self.results.chosen.connect(self.look_at)
        self._looking.done.connect(self._on_looked)
        self._looking.failed.connect(self._on_unread)
        self.jobs.told.connect(self._on_told)
        self.jobs.started.connect(self._refresh)
        self.jobs.ended.connect(self._refresh)
        state = self.state
        for signal in (state.section_changed, state.sections_changed, state.paired_changed):
            self.follow(signal, self._on_data)
        self.follow(state.recipe_changed, self._on_recipe)

    # -- what it works on -----------------------------------------------------------------------

    def _paired_sections(self) -> list[Section]:
        return [section for section in self.state.sections if self.state.work(section).paired is not None]

    def chosen_sections(self) -> list[Section]:
        """Return the sections that are ticked; they are evaluated together."""
        paired = self._paired_sections()
        return self.sections.chosen() if len(paired) > 1 else paired

    def _parts(self) -> list[PairedDataset]:
        works = [self.state.work(section).paired for section in self.chosen_sections()]
        return [paired for paired in works if paired is not None]

    def _asked(self) -> Config:
        """Return the config that was loaded, else that of what is ticked."""
        if self._config is not None:
            return self._config[1]
        names = [section.name for section in self.chosen_sections()]
        title = f"Comparison on {', '.join(names)}"
        return config_of(
            title, self.state.recipe, self.models.chosen(), self.features.chosen(), self.protocols.chosen()
        )

    # -- comparing ------------------------------------------------------------------------------

    def _checked(self) -> Config | None:
        """Return the config that is asked for; or say what is missing."""
        for choice, group, what in ((self.models, self.models_group, "model"),
                                    (self.features, self.features_group, "set of features"),
                                    (self.protocols, self.protocols_group, "way of holding out spots")):  # fmt: skip
            if self._config is None and not choice.chosen():
                group.expand()
                self.messages.show_warning(f"Tick a {what}.")
                return None
        try:
            return self._asked()
        except St2msiError as error:
            self.messages.show_error(str(error))
            return None

    def on_primary(self) -> None:
        """Run every combination that is not done yet."""
        config = self._checked()
        if config is None:
            return
        data, names = None, [each.name for each in config.data]
        if not names:
            data = compare_work.Open(tuple(self.chosen_sections()), tuple(self._parts()))
            names = [data.name]
            if not data.parts:
                self.messages.show_warning("Tick a paired section to compare models on.")
                return
        self._failed = []
        where = [] if self._config is None else [str(self._config[0])]
        out = compare_work.results_folder([*where, *names])
        call = partial(compare_work.compare, config, out, data)
        self.run(Job("Comparing", call, tells="told"), self._on_compared)

    def _on_told(self, ended: Ended) -> None:
        if ended.message:
            self._failed.append(ended)
        words = f"{ended.words} failed: {ended.message}" if ended.message else f"{ended.words} is done."
        others = f" {len(self._failed):,} failed so far." if self._failed else ""
        self.live.setText(words + others)

    def _on_compared(self, compared: Compared) -> None:
        if self.compared is not None and self.compared.benchmark.folder != compared.benchmark.folder:
            self.results.mark(None)  # what is looked at is of the others
        self.compared = compared
        self._show_found()
        found = compared.benchmark
        done, failed = len(found.leaderboard), len(found.failures)
        text = f"{done:,} of {len(found.plan.planned):,} combinations are done" + (
            f", {failed:,} failed" * (failed > 0)
        )
        text += ". Click a row or a cell to look at its prediction."
        if compared.stopped:
            text = f"Stopped. {text} Press Compare to go on where it was."
        show = self.messages.show_warning if compared.stopped or failed else self.messages.show_result
        show(text, action=("Open the report", self.open_report) if found.report.is_file() else None)

    def _show_found(self) -> None:
        """Show what was compared, if anything was."""
        if self.compared is None:
            return
        self.results.show_board(self.compared.benchmark.leaderboard)
        self.failures.show_failures(self.compared.benchmark.failures)
        for group in self.ticked:
            group.collapse()
        self._refresh()

    # -- looking at one -------------------------------------------------------------------------

    def look_at(self, names: dict[str, Any]) -> None:
        """Bring the out-of-fold prediction of a combination into Explore."""
        if self.compared is not None:
            call = partial(compare_work.look, self.compared, names, self.state.sections)
            self._looking.start(Job("Load a prediction", call))

    def _on_looked(self, looked: Looked) -> None:
        sections = [section for section in looked.here if section in self.state.sections]
        words = names_in_words(looked.names)
        if not sections:
            names = ", ".join(f"'{name}'" for name in sorted(looked.sections))
            data = ("Open the Data dock", partial(open_dock, self.viewer, "Data"))
            self._refuse(f"{words} predicted {names}, which is not open. Open it to look.", action=data)
            return
        if looked.misfit:
            self._refuse(looked.misfit)
            return
        again = [section.name for section in sections if self._paired_again(section, looked)]
        if again:
            self._refuse(
                f"{', '.join(repr(name) for name in again)} was paired again since {words} was compared, so its spots "
                "may be others. Press Compare to do it for those that are paired now."
            )
            return
        self.results.mark(looked.names)
        if self.state.section not in sections:
            self.state.section = sections[0]  # else Explore would go on showing one that was not predicted
        for section in sections:
            model = self.state.work(section).model
            if model is not None and not compare_work.same_model(model.recipe, looked.recipe):
                # Genes of another model would be shown behind these predictions.
                self.state.set_model(None, section)
            self.state.set_evaluation(looked.evaluation, section)
            self.state.set_prediction(looked.evaluation.prediction, section)
        explore = ("Explore ions", partial(open_dock, self.viewer, "Explore"))
        self.messages.show_result(f"Explore shows what {words} predicted, out of fold.", action=explore)

    def _refuse(self, words: str, **further: Any) -> None:
        """Say why a combination is not shown, and mark the one that is."""
        self.messages.show_warning(words, **further)
        self.results.mark(self.results.looked)

    def _on_unread(self, words: str, details: str) -> None:
        self.messages.show_error(words, details)
        self.results.mark(self.results.looked)

    def _paired_again(self, section: Section, looked: Looked) -> bool:
        """Tell whether the spots of a section are other ones than were compared on, as far as that is known."""
        if looked.data is None:
            return False
        paired = self.state.work(section).paired
        return not any(paired is part for part in looked.data.parts)

    # -- files ----------------------------------------------------------------------------------

    def ask_for_config(self) -> None:
        """Ask for a config, and take it."""
        path, _ = QFileDialog.getOpenFileName(self, "Choose a config", get_open_history()[0], "Config (*.yaml *.yml)")
        if path:
            self.take_config(Path(path))

    def take_config(self, path: Path) -> None:
        """Compare what a config says, instead of what is ticked."""
        try:
            self._config = path, Config.read(path)
        except St2msiError as error:
            self.messages.show_error(str(error))
            return
        update_open_history(str(path))
        self.messages.clear()
        self.config_group.expand()
        self._refresh()

    def forget_config(self) -> None:
        """Compare what is ticked again."""
        self._config = None
        self._refresh()

    def ask_where(self) -> None:
        """Ask for a file, and write what is ticked into it."""
        start = str(Path(get_save_history()[0]) / "benchmark.yaml")
        path, _ = QFileDialog.getSaveFileName(self, "Save what is ticked as a config", start, "Config (*.yaml *.yml)")
        if path:
            self.save_config(Path(path))

    def save_config(self, path: Path) -> None:
        """Write what is ticked as a config, with the files of the sections."""
        config, sections = self._checked(), tuple(self.chosen_sections())
        if config is None:
            return
        try:
            data = data_of(
                compare_work.name_of(sections), sections, [each for each in sections if self.state.work(each).unsaved]
            )
            path = write_config(config.model_copy(update={"data": (data,)}), path)
        except St2msiError as error:
            self.messages.show_error(str(error))
            return
        update_save_history(str(path))
        self.messages.show_result(f"Saved as '{path}'. 'napari-st2msi benchmark' runs it.")

    def ask_for_results(self) -> None:
        """Ask for the folder of a benchmark, and show it; begin where results of this dock are kept."""
        kept = compare_work.user_folder()
        start = str(kept) if kept.is_dir() else get_open_history()[0]
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder of a benchmark", start)
        if folder and not self.busy():
            self.open_results(Path(folder))

    def open_results(self, folder: Path) -> None:
        """Show a benchmark that was run before."""
        self.run(Job("Reading results", partial(compare_work.read, folder)), self._on_compared)

    def open_report(self) -> None:
        """Open the report in the browser."""
        if self.compared is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.compared.benchmark.report)))

    # -- following the state --------------------------------------------------------------------

    def on_look(self, look: Look) -> None:
        """Follow the font size."""
        if hasattr(self, "results"):  # the first look comes before the parts
            self.results.fit()

    def _on_data(self, *_: Any) -> None:
        self.sections.show_sections(self._paired_sections())
        self._on_choice()

    def _on_choice(self) -> None:
        self.protocols.offer_groups(self._parts(), self.state.recipe)
        self._refresh()

    def _keep(self) -> None:
        """Keep what is chosen and found, for when the dock is closed and opened."""
        own, chosen = self._kept, self.chosen_sections()
        own.models, own.features, own.protocols = (
            each.chosen() for each in (self.models, self.features, self.protocols)
        )
        own.left_out = WeakSet(section for section in self._paired_sections() if section not in chosen)
        own.config, own.compared = self._config, self.compared

    def _on_recipe(self, _recipe: Any) -> None:
        self._refresh()

    def _refresh(self, *_: Any) -> None:
        self._keep()
        running, by_file = self.jobs.running, self._config is not None
        paired = self._paired_sections()
        has_data = bool(paired) or (self._config is not None and bool(self._config[1].data))
        self._show_empty(has_data)
        self.sections_group.setVisible(len(paired) > 1)
        for group in self.ticked:
            group.setVisible(bool(paired) and not by_file)
            group.content().setEnabled(not running)
        self.sections.setEnabled(not running)
        self.config_group.content().setEnabled(not running)
        self.files.keep.setEnabled(bool(paired))
        self.files.report.setVisible(self.compared is not None and self.compared.benchmark.report.is_file())
        self.files.show_config("" if self._config is None else config_in_words(*self._config))
        self.files.show_folder(compare_work.user_folder() if self.compared is None else self.compared.benchmark.folder)
        self.live.setVisible(running)
        if not running:
            self.live.setText("")
        self.results_group.setVisible(self.compared is not None and not self.compared.benchmark.leaderboard.empty)
        self.failures_group.setVisible(self.compared is not None and not self.compared.benchmark.failures.empty)
        for group in (self.sections_group, *self.ticked, self.config_group):
            group.update_title()
        self.run_bar.setVisible(has_data or running)
        self.say(*self._state_in_words(has_data))

    def _show_empty(self, has_data: bool) -> None:
        section = self.state.section
        text = "Open a section first, or a config or results below."
        if section is not None:
            text = f"'{section.name}' is not paired: there are no spots with ions to compare models on."
        self.empty.setVisible(not has_data and self.compared is None)
        self.empty.say(text, "Open the Data dock")

    def _files_in_words(self) -> str:
        return "" if self._config is None else self._config[0].name

    def _state_in_words(self, has_data: bool) -> tuple[str, Level]:
        if self.jobs.running:
            return f"{self.jobs.title} in the background", "running"
        if not has_data and self.compared is None:
            return "Nothing to compare on yet.", "empty"
        if self._config is not None:
            return f"By the config '{self._config[0].name}'", "ready"
        if not has_data:
            return f"Results of {self.compared.benchmark.folder.name}" if self.compared else "", "ready"
        parts = self._parts()
        names = ", ".join(section.name for section in self.chosen_sections()) or "no section"
        spots = sum(int(part.covered.sum()) for part in parts)
        n = n_combinations(self.models.chosen(), self.features.chosen(), self.protocols.chosen())
        return f"{names} · {spots:,} paired spots · {n:,} combinations", "ready"
