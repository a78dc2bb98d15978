"""The Train dock: measure a model on held-out spots, fit it, keep it, predict sections that have ST only."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.recipe.networks import trains_networks
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks import train_runs, train_work
from napari_st2msi.viewer.docks.train_cut import CutView
from napari_st2msi.viewer.docks.train_forms import GROUPS, make_forms, model_in_words
from napari_st2msi.viewer.docks.train_model import ModelPart
from napari_st2msi.viewer.docks.train_queue import Waiting
from napari_st2msi.viewer.docks.train_report import Reporting
from napari_st2msi.viewer.docks.train_search import SearchPart, found_in_words
from napari_st2msi.viewer.docks.train_trainings import Trainings
from napari_st2msi.viewer.docks.train_view import ScoresView, SectionsView, group_choices
from napari_st2msi.viewer.docks.train_work import Trained
from napari_st2msi.viewer.jobs import Job
from napari_st2msi.viewer.parts.dock import Dock, Level
from napari_st2msi.viewer.parts.empty import EmptyState
from napari_st2msi.viewer.parts.open_dock import open_dock
from napari_st2msi.viewer.parts.recipe_form import RecipeForm
from napari_st2msi.viewer.parts.style import Look, look_of

if TYPE_CHECKING:
    from napari_st2msi.evaluation.search import Search


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
        self._taking = False  # while results are put into the state, of which each change is announced
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
        self.model_part = ModelPart(self)
        self.model_group = self.add_group("Trained model", self.model_part)
        self.reporting = Reporting(self, self._trained)

        self.empty.pressed.connect(self._leave)
        self.sections.changed.connect(self._offer_groups)
        self.sections.changed.connect(self._refresh)
        self.scores.report_pressed.connect(self.reporting.ask)
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

    # -- what it works on -----------------------------------------------------------------------

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
        elif self.model_part.model is None:
            self.model_part.ask_which()
        else:
            self.model_part.predict()

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
        self.model_part.last = trained.model
        self._taking = True
        for section in trained.sections:
            if section not in self.state.sections:
                continue
            self._trained[section] = (recipe, trained)
            self.state.set_model(trained.model, section)
            self.state.set_evaluation(trained.evaluation, section)
            self.state.set_prediction(trained.evaluation.prediction, section)
        self._taking = False
        explore = ("Explore ions", partial(open_dock, self.viewer, "Explore"))
        cut = "The last fit was stopped, and the best epoch so far is kept. " if trained.cut else ""
        self.messages.show_result(cut + trained.words, action=explore)

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
        if self._taking:
            return  # once will do, when the job has ended
        mode, running, model = self.mode, self.jobs.running, self.model_part.model
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
        self.model_part.refresh()
        # Without training, the primary button predicts.
        self.model_part.predict_button.setVisible(training and model is not None)
        # While one trains, choices can be made for the next.
        self.enable_groups(not running or self.trainings.under_way is not None)
        verb = {"train": "Train", "predict": "Load a model" if model is None else "Predict"}.get(mode, "")
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
            return f"{self.jobs.title} in the background", "running"
        section = self.state.section
        if section is None or mode in ("no genes", "not paired"):
            return "Nothing to train on yet.", "empty"
        if mode == "predict":
            model = "load a model to predict its ions" if self.model_part.model is None else "ready to predict its ions"
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
