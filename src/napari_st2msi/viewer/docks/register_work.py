"""The long work of the Register dock: fitting after every edit, and applying; in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from qtpy.QtCore import QObject, Signal

from napari_st2msi import pipeline
from napari_st2msi.errors import St2msiError
from napari_st2msi.progress import Progress, check
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmark_files import find_landmarks
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.persistence import registration_of
from napari_st2msi.registration.registration import Registration
from napari_st2msi.registration.surroundings import Surroundings, surroundings
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.data_opened import derive
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.landmark_history import History
from napari_st2msi.viewer.overlays import has_landmarks
from napari_st2msi.viewer.state import ViewerState


@dataclass(frozen=True)
class Choices:
    """How landmarks are fitted.

    Attributes
    ----------
    transform
        ``auto``, or the kind of one transform.
    reflection
        Whether the MSI is mirrored; None to find out.
    """

    transform: str = "auto"
    reflection: bool | None = None


@dataclass(eq=False)
class Held:
    """What the dock knows of a section besides its landmarks.

    Attributes
    ----------
    history
        Its landmarks with their history, while another section is worked on.
    applied
        The registration that the section holds.
    known
        Whether it was looked up yet what the section carries.
    """

    history: History | None = None
    applied: Registration | None = None
    choices: Choices = field(default_factory=Choices)
    known: bool = False


@dataclass(frozen=True, eq=False)
class _Wanted:
    section: Section
    landmarks: Landmarks
    choices: Choices


class Fitting(QObject):
    """Fits landmarks in the background, one fit at a time.

    While one runs, only the newest wish is remembered, so a drag is followed as quickly as fits come.
    """

    #: The newest landmarks were fitted; carries the `Registration`.
    fitted = Signal(object)
    #: They cannot be; carries why, in words, and the traceback (empty for what the user can mend).
    failed = Signal(str, str)

    def __init__(self, state: ViewerState, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.jobs = Jobs(state, self)
        self._wanted: _Wanted | None = None
        self._fit = _Fit()
        self.jobs.done.connect(self._on_done)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.ended.connect(self._next)

    @property
    def running(self) -> bool:
        """Whether the newest landmarks are not fitted yet."""
        return self.jobs.running or self._wanted is not None

    @property
    def pixel_um(self) -> float | None:
        """Side of an MSI pixel of the section fitted last; None while unknown."""
        return self._fit.surroundings.pixel_size_um

    def want(self, section: Section, landmarks: Landmarks, choices: Choices) -> None:
        """Fit these landmarks as soon as possible."""
        self._wanted = _Wanted(section, landmarks, choices)
        if not self.jobs.running:
            self._next()

    def drop(self) -> None:
        """Forget what was wanted."""
        self._wanted = None
        self.jobs.shut()

    def _next(self) -> None:
        if self._wanted is not None:
            wanted, self._wanted = self._wanted, None
            self.jobs.start(Job("Fitting", partial(self._fit, wanted)))

    def _on_done(self, registration: Registration) -> None:
        self.fitted.emit(registration)

    def _on_failed(self, words: str, details: str) -> None:
        if self._wanted is None:
            self.failed.emit(words, details)


class _Fit:
    """Fits on the thread of the job; it remembers what it looked up of the section."""

    def __init__(self) -> None:
        self.surroundings = Surroundings()
        self._section: Section | None = None

    def __call__(self, wanted: _Wanted, *, progress: Progress, cancelled: Callable[[], bool]) -> Registration:
        if wanted.section is not self._section:
            self.surroundings, self._section = surroundings(wanted.section), wanted.section
        check(cancelled)
        choices = wanted.choices
        return fit(wanted.landmarks, choices.transform, reflection=choices.reflection, **vars(self.surroundings))


def apply(
    section: Section, registration: Registration, *, progress: Progress, cancelled: Callable[[], bool]
) -> Registration:
    """Keep a registration in the section, and derive what the window asks for next."""
    pipeline.apply_registration(section, registration, progress=progress.part(0.0, 0.8), cancelled=cancelled)
    progress(0.8, "looking at what lies where")
    derive(section)
    return registration


@dataclass(frozen=True, eq=False)
class Kept:
    """What a section carries of earlier work.

    Attributes
    ----------
    problem
        Why something that is there cannot be used, in words.
    """

    landmarks: Landmarks | None = None
    registration: Registration | None = None
    problem: str = ""


def look_up(section: Section, *, progress: Progress, cancelled: Callable[[], bool]) -> Kept:
    """Return the landmarks and the registration that a section carries."""
    problems, registration, landmarks = [], None, None
    try:
        registration = registration_of(section)
    except St2msiError as problem:
        problems.append(str(problem))
    if has_landmarks(section):
        try:
            landmarks = find_landmarks(section)
        except St2msiError as problem:
            problems.append(str(problem))
    return Kept(landmarks, registration, " ".join(problems))
