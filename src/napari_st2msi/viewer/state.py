"""What the docks of one viewer share: sections, what was made of them, the ion looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from psygnal import Signal

from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Recipe
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.learnability import Learnability
    from napari_st2msi.evaluation.result import Evaluation
    from napari_st2msi.training.folder import TrainedModel


@dataclass(eq=False)
class Work:
    """What has been made of one section so far.

    Attributes
    ----------
    stale
        Why ``paired``, ``evaluation``, ``prediction`` or ``learnability`` no longer follows from what came before
        it, in words; a key is there only while that is so.
    unsaved
        Whether it was registered, paired or predicted since it was opened or written.
    """

    section: Section
    paired: PairedDataset | None = None
    evaluation: Evaluation | None = None
    model: TrainedModel | None = None
    prediction: AnnData | None = None
    learnability: Learnability | None = None
    stale: dict[str, str] = field(default_factory=dict)
    unsaved: bool = False


class ViewerState:
    """The facts that the docks of one viewer share. It holds and announces, and computes nothing.

    All of it is read and changed on the GUI thread only. Signals about one section carry that
    section, because work on a section may end while another one is looked at.
    """

    #: The open sections changed.
    sections_changed = Signal()
    #: Another section is looked at, or its content was replaced; carries it, or None.
    section_changed = Signal(object)
    #: The registration of a section changed.
    registration_changed = Signal(object)
    #: A section was paired, or its pairing became stale.
    paired_changed = Signal(object)
    #: A section was evaluated, or its evaluation became stale.
    evaluation_changed = Signal(object)
    #: A model was trained or loaded for a section.
    model_changed = Signal(object)
    #: Ions of a section were predicted.
    prediction_changed = Signal(object)
    #: It was assessed which ions of a section can be learned, or that became stale.
    learnability_changed = Signal(object)
    #: A section was written, or something was made that is not; carries that section.
    saved_changed = Signal(object)
    #: The choices of the next run changed.
    recipe_changed = Signal(object)
    #: Another ion is looked at; carries its name in the tables, or None.
    ion_changed = Signal(object)
    #: Other ions are brushed.
    brushed_changed = Signal()
    #: The favourite ions changed.
    favourites_changed = Signal()
    #: Work began or ended; carries the titles of what is running.
    running_changed = Signal(tuple)

    def __init__(self) -> None:
        self._works: list[Work] = []
        self._current: Work | None = None
        self._recipe = Recipe()
        self._ion: str | None = None
        self._brushed: frozenset[str] = frozenset()
        self._running: dict[int, str] = {}

    # -- sections -------------------------------------------------------------------------------

    @property
    def sections(self) -> tuple[Section, ...]:
        """The open sections, in the order in which they were opened."""
        return tuple(work.section for work in self._works)

    @property
    def section(self) -> Section | None:
        """The section looked at."""
        return None if self._current is None else self._current.section

    @section.setter
    def section(self, section: Section | None) -> None:
        current = None if section is None else self.work(section)
        if current is not self._current:
            self._current = current
            self.brushed = frozenset()  # of another section they may be nothing, or something else
            self.section_changed.emit(section)

    def add_section(self, section: Section) -> None:
        """Open a section and look at it."""
        if section not in self.sections:
            self._works.append(Work(section, prediction=section.predicted))
            self.sections_changed.emit()
        self.section = section

    def remove_section(self, section: Section) -> None:
        """Close a section; the one opened last is looked at next."""
        work = self.work(section)
        self._works.remove(work)
        if work is self._current:
            self.section = self.sections[-1] if self._works else None
        self.sections_changed.emit()

    def replace_section(self, old: Section, new: Section) -> None:
        """Put another view of the same data in place, for example with other roles."""
        place = self._works.index(self.work(old))
        looked_at = self._current is self._works[place]
        self._works[place] = Work(new, prediction=new.predicted)
        if looked_at:
            self._current = self._works[place]
        self.sections_changed.emit()
        if looked_at:
            self.section_changed.emit(new)

    def work(self, section: Section | None = None) -> Work:
        """Return what was made of a section; of the one looked at when None.

        Raises
        ------
        LookupError
            The section is not open here: the caller held on to a section that was closed.
        """
        if section is None and self._current is not None:
            return self._current
        for work in self._works:
            if work.section is section:
                return work
        raise LookupError("this section is not open in this viewer")

    # -- what was made of them ------------------------------------------------------------------

    @property
    def paired(self) -> PairedDataset | None:
        """The paired spots of the section looked at."""
        return None if self._current is None else self._current.paired

    @property
    def evaluation(self) -> Evaluation | None:
        """The evaluation of the section looked at."""
        return None if self._current is None else self._current.evaluation

    @property
    def model(self) -> TrainedModel | None:
        """The model trained on, or loaded for, the section looked at."""
        return None if self._current is None else self._current.model

    @property
    def prediction(self) -> AnnData | None:
        """The predicted ions of the section looked at, spots × ions."""
        return None if self._current is None else self._current.prediction

    @property
    def learnability(self) -> Learnability | None:
        """Which ions of the section looked at can be learned."""
        return None if self._current is None else self._current.learnability

    def set_paired(self, paired: PairedDataset | None, section: Section | None = None) -> None:
        """Keep a pairing; what was made before it becomes stale."""
        work = self.work(section)
        work.paired = paired
        work.stale.pop("paired", None)
        self.paired_changed.emit(work.section)
        for what in ("evaluation", "prediction", "learnability"):
            if getattr(work, what) is not None:
                self.mark_stale(what, "paired again since", work.section)

    def set_evaluation(self, evaluation: Evaluation | None, section: Section | None = None) -> None:
        """Keep an evaluation."""
        self._put("evaluation", evaluation, section)

    def set_model(self, model: TrainedModel | None, section: Section | None = None) -> None:
        """Keep a model."""
        self._put("model", model, section)

    def set_prediction(self, prediction: AnnData | None, section: Section | None = None) -> None:
        """Keep predicted ions."""
        self._put("prediction", prediction, section)

    def set_learnability(self, learnability: Learnability | None, section: Section | None = None) -> None:
        """Keep which ions can be learned."""
        self._put("learnability", learnability, section)

    def set_registered(self, section: Section | None = None) -> None:
        """Announce that a section was registered anew; what was paired before becomes stale."""
        work = self.work(section)
        self.mark_unsaved(section)
        self.registration_changed.emit(work.section)
        if work.paired is not None or work.section.paired:
            self.mark_stale("paired", "registration changed since pairing", work.section)

    def mark_stale(self, what: str, reason: str, section: Section | None = None) -> None:
        """Say why ``paired``, ``evaluation``, ``prediction`` or ``learnability`` no longer holds; it stays visible."""
        work = self.work(section)
        work.stale[what] = reason
        getattr(self, f"{what}_changed").emit(work.section)

    def mark_unsaved(self, section: Section | None = None) -> None:
        """Note that something was made of a section that its file does not hold."""
        self._note_saved(section, True)

    def mark_saved(self, section: Section | None = None) -> None:
        """Note that a section was written with all that was made of it."""
        self._note_saved(section, False)

    def _note_saved(self, section: Section | None, unsaved: bool) -> None:
        work = self.work(section)
        work.unsaved = unsaved
        self.saved_changed.emit(work.section)

    def _put(self, what: str, value: Any, section: Section | None) -> None:
        work = self.work(section)
        setattr(work, what, value)
        work.stale.pop(what, None)
        getattr(self, f"{what}_changed").emit(work.section)

    # -- choices --------------------------------------------------------------------------------

    @property
    def recipe(self) -> Recipe:
        """The choices of the next run."""
        return self._recipe

    @recipe.setter
    def recipe(self, recipe: Recipe) -> None:
        if recipe != self._recipe:
            self._recipe = recipe
            self.recipe_changed.emit(recipe)

    # -- the ion looked at ----------------------------------------------------------------------

    @property
    def ion(self) -> str | None:
        """Name, in the tables, of the ion looked at: one fact that table, layers and plots follow."""
        return self._ion

    @ion.setter
    def ion(self, ion: str | None) -> None:
        if ion != self._ion:
            self._ion = ion
            self.ion_changed.emit(ion)

    @property
    def brushed(self) -> frozenset[str]:
        """Ions picked out together in a plot, which tables and plots then show alone; empty for all of them."""
        return self._brushed

    @brushed.setter
    def brushed(self, ions: frozenset[str]) -> None:
        if ions != self._brushed:
            self._brushed = ions
            self.brushed_changed.emit()

    @property
    def favourites(self) -> frozenset[str]:
        """Favourite ions of the section looked at; they are saved with it."""
        section = self.section
        return frozenset() if section is None else frozenset(section.attrs.get("favourites", ()))

    def toggle_favourite(self, ion: str) -> None:
        """Make an ion a favourite, or no longer one."""
        if self.section is not None:
            self.section.remember(favourites=sorted(self.favourites ^ {ion}))
            self.favourites_changed.emit()

    # -- work under way -------------------------------------------------------------------------

    @property
    def running(self) -> tuple[str, ...]:
        """Titles of the work under way, oldest first."""
        return tuple(self._running.values())

    def begin(self, job: int, title: str) -> None:
        """Note that work began."""
        self._running[job] = title
        self.running_changed.emit(self.running)

    def end(self, job: int) -> None:
        """Note that work ended, however it did."""
        if self._running.pop(job, None) is not None:
            self.running_changed.emit(self.running)


_STATES: WeakKeyDictionary[Any, ViewerState] = WeakKeyDictionary()


def bare(viewer: Any) -> Any:
    """Return the viewer itself where napari handed a plugin a proxy of it."""
    return getattr(viewer, "__wrapped__", viewer)


def state_of(viewer: Any) -> ViewerState:
    """Return the state that all docks of this viewer share."""
    return _STATES.setdefault(bare(viewer), ViewerState())
