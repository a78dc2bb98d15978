"""The Train dock: measure a model on held-out spots, fit it, keep it, predict sections that have ST only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari.utils.history import get_open_history, get_save_history, update_open_history, update_save_history
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_runs, train_work
from napari_st2msi.viewer.docks.train_cut import CutView
from napari_st2msi.viewer.docks.train_forms import GROUPS, make_forms, model_in_words
from napari_st2msi.viewer.docks.train_queue import Waiting
from napari_st2msi.viewer.docks.train_search import SearchPart, found_in_words
from napari_st2msi.viewer.docks.train_trainings import Trainings
from napari_st2msi.viewer.docks.train_view import ScoresView, SectionsView, group_choices, scores_in_words
from napari_st2msi.viewer.docks.train_work import Trained
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.buttons import flat
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.dock import Dock, Level
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.recipe_form import RecipeForm
from napari_st2msi.viewer.parts.style import Look, look_of
from napari_st2msi.viewer.parts.words import Words

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.search import Search
    from napari_st2msi.training.folder import TrainedModel


class TrainDock(Dock):
    """Trains on the paired spots of one or several sections, and says what genes add to position.

    Parameters
    ----------
    napari_viewer
        The viewer.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "Train")
        #: What was trained last, per section: recipe and result, for the report and to tell what changed.
        self._trained: WeakKeyDictionary[Section, tuple[Recipe, Trained]] = WeakKeyDictionary()
        self._model: TrainedModel | None = None
        recipe = self.state.recipe
        self.empty = EmptyState()
        self.body.addWidget(self.empty)
        self.cut = CutView()
        self.body.addWidget(self.cut)
        self.sections = SectionsView()
        self.sections_group = self.add_group("Sections", self.sections, summary=self.sections.summary)
        self.forms = make_forms(recipe, group_choices([], recipe))
        self.search = SearchPart(self.forms["search"])
        self.groups = {}
        for part, title, words in GROUPS:
            form = self.forms[part]
            content = self.search if part == "search" else form
            self.groups[part] = self.add_group(
                title, content, open=part == "evaluation", summary=partial(_summary, form, words)
            )
            form.changed.connect(partial(self._on_choice, part))
            form.refused.connect(self._refresh)
        self.trainings = Trainings(self, self._on_trained)
        self.trainings.set_look(look_of(self.viewer))
        self.body.addWidget(self.trainings)
        self.scores = ScoresView()
        self.scores_group = self.add_group("Scores on held-out spots", self.scores)
        self._add_model_group()

        self.empty.pressed.connect(self._leave)
        self.sections.changed.connect(self._offer_groups)
        self.sections.changed.connect(self._refresh)
        self.scores.report_pressed.connect(self.ask_where_to_report)
        self.scores.explore_pressed.connect(partial(open_dock, self.viewer, "Explore"))
        self.trainings.add_pressed.connect(self.train)
        self.search.pressed.connect(self.search_settings)
        self.cut.continue_pressed.connect(self._continue)
        self.jobs.started.connect(self._refresh)
        self.jobs.ended.connect(self._refresh)
        state = self.state
        for signal in (state.section_changed, state.sections_changed, state.paired_changed):
            self.follow(signal, self._on_data)
        for signal in (state.evaluation_changed, state.model_changed, state.prediction_changed):
            self.follow(signal, self._refresh)
        self.follow(state.recipe_changed, self._on_recipe)
        self._on_data()

    def _add_model_group(self) -> None:
        content = QWidget()
        layout = QVBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        self.model_label = Words()
        self.load_button = flat("Load…", "Load a model folder that was saved before")
        self.save_button = flat("Save…", "Write the model, its recipe and its scores as a folder")
        self.predict_button = flat("Predict", "Predict the ions of the section looked at with this model")
        buttons = QHBoxLayout()
        for button in (self.load_button, self.save_button, self.predict_button):
            buttons.addWidget(button)
        buttons.addStretch()
        layout.addWidget(self.model_label)
        layout.addLayout(buttons)
        self.model_group = self.add_group("Trained model", content)
        self.load_button.clicked.connect(self.ask_for_model)
        self.save_button.clicked.connect(self.ask_where_to_save)
        self.predict_button.clicked.connect(self.predict)

    # -- what it works on -----------------------------------------------------------------------

    @property
    def model(self) -> TrainedModel | None:
        """The model of the section looked at, else the one trained or loaded last."""
        return self.state.model or self._model

    @property
    def mode(self) -> str:
        """``train`` with paired spots, ``predict`` with ST only, otherwise why there is nothing to do."""
        section = self.state.section
        if section is None:
            return "nothing open"
        if self.state.paired is not None:
            return "train"
        if not section.has_st:
            return "no genes"
        return "not paired" if section.has_msi else "predict"

    def chosen_sections(self) -> list[Section]:
        """Return the sections to train on."""
        paired = [section for section in self.state.sections if self.state.work(section).paired is not None]
        return self.sections.chosen() if len(paired) > 1 else paired

    # -- training -------------------------------------------------------------------------------

    def on_primary(self) -> None:
        """Train, or predict a section that has ST only."""
        if self.mode == "train":
            self.train()
        elif self.model is None:
            self.ask_for_model()
        else:
            self.predict()

    def train(self) -> None:
        """Measure the model of the recipe on held-out spots, then fit it on all; now, or after what runs."""
        if not (sections := self._ready()):
            return
        recipe = self.state.recipe
        if not self.jobs.running:
            self.trainings.queue.say_before("")
        self.trainings.begin(Waiting(recipe, tuple(sections), f"{model_in_words(recipe.model)} · {_names(sections)}"))

    def search_settings(self) -> None:
        """Search for the settings of the model on inner folds, and put them into the forms."""
        if self.busy() or not (sections := self._ready()):
            return
        recipe = self.state.recipe
        call = partial(train_work.search, sections, self._chosen_parts(), recipe)
        self.run(Job("Searching", call), partial(self._on_searched, recipe))

    def _on_searched(self, before: Recipe, found: Search) -> None:
        if not found.changed:
            self.messages.show_result(found_in_words(before, found))
            return
        # How to search is left as it was chosen: it is no part of what was searched for.
        self.state.recipe = found.recipe.model_copy(update={"search": before.search})
        undo = ("Undo", partial(self._take_back, before))
        self.messages.show_result(found_in_words(before, found), action=undo)

    def _take_back(self, before: Recipe) -> None:
        self.state.recipe = before
        self.messages.clear()

    def _ready(self) -> list[Section]:
        """Return the sections to work on; none, after saying why, where something must be chosen first."""
        for part, form in self.forms.items():
            _ = form.value  # takes what is still being typed
            if form.reason:
                self.groups[part].expand()
                self.messages.show_error(form.reason)
                return []
        sections = self.chosen_sections()
        if not sections:
            self.messages.show_warning("Tick a paired section to train on.")
        return sections

    def _continue(self) -> None:
        """Go on with what was cut off, with the choices of then."""
        run = self.cut.shown
        if run is None or self.busy():
            return
        self.state.recipe = run.recipe
        sections = tuple(section for section in self.state.sections if section.name in run.sections)
        self.trainings.begin(Waiting(run.recipe, sections, model_in_words(run.recipe.model)))

    def _on_trained(self, recipe: Recipe, trained: Trained) -> None:
        self._model = trained.model
        for section in trained.sections:
            if section not in self.state.sections:
                continue
            self._trained[section] = (recipe, trained)
            self.state.set_model(trained.model, section)
            self.state.set_evaluation(trained.evaluation, section)
            self.state.set_prediction(trained.evaluation.prediction, section)
        explore = ("Explore ions", partial(open_dock, self.viewer, "Explore"))
        cut = "The last fit was stopped, and the best epoch so far is kept. " if trained.cut else ""
        self.messages.show_result(cut + scores_in_words(trained.evaluation), action=explore)
        self._refresh()

    # -- models ---------------------------------------------------------------------------------

    def ask_for_model(self) -> None:
        """Ask for a model folder, and load it."""
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder", get_open_history()[0])
        if folder:
            self.load_model(Path(folder))

    def load_model(self, folder: Path) -> None:
        """Load a model folder for the section looked at."""
        if not self.busy():
            self.run(Job("Loading", partial(train_work.load_model, folder)), partial(self._on_loaded, folder))

    def _on_loaded(self, folder: Path, model: TrainedModel) -> None:
        update_open_history(str(folder))
        self._model = model
        if self.state.section is not None:
            self.state.set_model(model)
        self.messages.show_result(f"Loaded '{folder.name}': {model_facts(model)}.")
        self._refresh()

    def ask_where_to_save(self) -> None:
        """Ask for a folder, and write the model into it."""
        name = "model" if self.state.section is None else f"{self.state.section.name}-model"
        start = str(Path(get_save_history()[0]) / name)
        folder, _ = QFileDialog.getSaveFileName(
            self, "Save the model as a folder", start, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if folder:
            self.save_model(Path(folder))

    def save_model(self, folder: Path, *, overwrite: bool = False) -> None:
        """Write the model as a folder; an older model is replaced only when that was said."""
        if self.model is None or self.busy():
            return
        if folder.exists() and not overwrite:
            again = partial(self.save_model, folder, overwrite=True)
            self.messages.show_warning(f"'{folder.name}' is already there.", action=("Replace it", again))
            return
        self.run(Job("Saving", partial(train_work.save_model, self.model, folder)), self._on_saved)

    def _on_saved(self, path: Path) -> None:
        update_save_history(str(path))
        self.messages.show_result(f"Saved as '{path}'.")

    def predict(self) -> None:
        """Predict the ions of the section looked at."""
        section, model = self.state.section, self.model
        if section is None or model is None or self.busy():
            return
        if not section.has_st:
            self.messages.show_warning("Predicting needs gene expression, and this section has none.")
            return
        self.run(Job("Predicting", partial(train_work.predict, model, section)), partial(self._on_predicted, section))

    def _on_predicted(self, section: Section, prediction: AnnData) -> None:
        if section not in self.state.sections:
            return
        # Scores of another run would stand beside a prediction that they do not describe.
        self.state.set_evaluation(None, section)
        self.state.set_prediction(prediction, section)
        explore = ("Explore ions", partial(open_dock, self.viewer, "Explore"))
        self.messages.show_result(prediction_in_words(prediction), action=explore)

    # -- report ---------------------------------------------------------------------------------

    def ask_where_to_report(self) -> None:
        """Ask for a file, and write the report."""
        if self.state.section is None:
            return
        start = str(Path(get_save_history()[0]) / f"{self.state.section.name}-report.html")
        path, _ = QFileDialog.getSaveFileName(self, "Save the report", start, "Web page (*.html)")
        if path:
            self.write_report(Path(path))

    def write_report(self, path: Path) -> None:
        """Write the report of what was trained on the section looked at."""
        known = None if self.state.section is None else self._trained.get(self.state.section)
        if known is None or self.busy():
            return
        recipe, trained = known
        path = path if path.suffix else path.with_suffix(".html")
        self.run(Job("Writing the report", partial(train_work.write_report, path, trained, recipe)), self._on_saved)

    # -- following the state --------------------------------------------------------------------

    def on_look(self, look: Look) -> None:
        """Draw the live score and curves in the colours of the theme."""
        if hasattr(self, "trainings"):  # the first look comes before the parts
            self.trainings.set_look(look)

    def on_front(self, front: bool) -> None:
        """Watch the window that the dock has come to lie in."""
        self.trainings.guard.watch(self)

    def _on_choice(self, part: str, value: Any) -> None:
        # Validated anew, not merely copied: a preset of genes also says how many ions are learned.
        self.state.recipe = Recipe.model_validate(self.state.recipe.model_dump() | {part: value.model_dump()})

    def _on_recipe(self, recipe: Recipe) -> None:
        for part, form in self.forms.items():
            if form.value != getattr(recipe, part):
                form.set_value(getattr(recipe, part))
        self._refresh()

    def _on_data(self, *_: Any) -> None:
        paired = [section for section in self.state.sections if self.state.work(section).paired is not None]
        self.sections.show_sections(paired)
        self._offer_groups()
        self._refresh()

    def _offer_groups(self) -> None:
        choices = group_choices(self._chosen_parts(), self.state.recipe)
        self.forms["evaluation"].set_choices("group", choices)

    def _chosen_parts(self) -> list[PairedDataset]:
        works = [self.state.work(section) for section in self.chosen_sections()]
        return [work.paired for work in works if work.paired is not None]

    def _refresh(self, *_: Any) -> None:
        """Show what can be done with the section looked at."""
        mode, running = self.mode, self.jobs.running
        training = mode == "train"
        self._show_empty(mode)
        self.sections_group.setVisible(training and self._several())
        for group in self.groups.values():
            group.setVisible(training)
            group.update_title()
        self.groups["networks"].setVisible(training and trains_networks(self.state.recipe.model))
        names = [one.name for one in self.state.sections if self.state.work(one).paired is not None]
        self.cut.offer(None if running or not training else train_runs.cut_off(names))
        self.sections_group.update_title()
        evaluation = self.state.evaluation
        self.scores_group.setVisible(training and evaluation is not None and not running)
        if evaluation is not None:
            self.scores.show_evaluation(evaluation)
            self.scores.report.setVisible(self.state.section in self._trained)
        self.model_group.setVisible(training or mode == "predict")
        self.model_label.setText("None yet." if self.model is None else f"{model_facts(self.model)}.")
        self.save_button.setEnabled(self.model is not None)
        self.predict_button.setVisible(training and self.model is not None)
        # While one trains, choices can be made for the next.
        self.enable_groups(not running or self.trainings.under_way is not None)
        verb = {"train": "Train", "predict": "Load a model" if self.model is None else "Predict"}.get(mode, "")
        self.run_bar.set_verb(verb)
        self.run_bar.setVisible(bool(verb) or running)
        self.say(*self._state_in_words(mode))

    def _several(self) -> bool:
        return sum(self.state.work(section).paired is not None for section in self.state.sections) > 1

    def _show_empty(self, mode: str) -> None:
        name = "" if self.state.section is None else self.state.section.name
        words = {
            "nothing open": ("Open a section first.", "Open the Data dock"),
            "no genes": (
                f"'{name}' has MSI only. Training and predicting need gene expression of the same tissue.",
                "Explore ions",
            ),
            "not paired": (f"'{name}' is not paired yet: its spots have no ions to learn.", "Open the Data dock"),
        }
        self.empty.setVisible(mode in words)
        self.empty.say(*words.get(mode, ("", "")))

    def _leave(self) -> None:
        open_dock(self.viewer, "Explore" if self.mode == "no genes" else "Data")

    def _state_in_words(self, mode: str) -> tuple[str, Level]:
        if self.jobs.running:
            return f"{self.state.running[-1]} in the background", "running"
        section = self.state.section
        if section is None or mode in ("no genes", "not paired"):
            return "Nothing to train on yet.", "empty"
        if mode == "predict":
            model = "load a model to predict its ions" if self.model is None else "ready to predict its ions"
            return f"{section.name} · {section.st.n_obs:,} spots without MSI · {model}", "ready"
        stale = self.state.work().stale
        if "paired" in stale:
            return f"{section.name} · {stale['paired'].rstrip('.')}. Pair again in the Data dock first.", "stale"
        if "evaluation" in stale:
            return f"{section.name} · {stale['evaluation'].rstrip('.')}. Press Train.", "stale"
        known = self._trained.get(section)
        if known is not None and any(
            getattr(known[0], part) != getattr(self.state.recipe, part) for part in self.forms
        ):
            return f"{section.name} · choices changed since training. Press Train.", "stale"
        parts = self._chosen_parts()
        spots = sum(int(part.covered.sum()) for part in parts)
        paired = self.state.paired
        assert paired is not None
        names = section.name if len(parts) < 2 else f"{len(parts)} sections"
        return f"{names} · {spots:,} paired spots · {paired.ions.n_vars:,} ions", "ready"


def _names(sections: Sequence[Section]) -> str:
    return sections[0].name if len(sections) == 1 else f"{len(sections)} sections"


def _summary(form: RecipeForm[Any], words: Callable[[Any], str]) -> str:
    return words(form.value)


def model_facts(model: TrainedModel) -> str:
    """Return what a model is, in few words."""
    name = words_for(model.recipe.model.name).partition(" (")[0]
    return f"{name}, trained on {model.n_spots:,} spots, predicts {len(model.ions):,} ions"


def prediction_in_words(prediction: AnnData) -> str:
    """Return what was predicted, by how many of the genes, and what to make of it."""
    facts = prediction.uns["provenance"]
    text = f"Predicted {prediction.n_vars:,} ions of {prediction.n_obs:,} spots."
    if (share := facts.get("share_genes_matched")) is not None:
        text += f" {float(share):.0%} of the genes that the model uses were found."
    if facts.get("kind") == "in_sample":
        text += " The model was trained on these spots, so the picture flatters it."
    return text
