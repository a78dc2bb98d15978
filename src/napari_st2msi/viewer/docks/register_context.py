"""What the parts of the Register dock share: the section, its landmarks, both canvases, the registration at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_st2msi.section import Section
from napari_st2msi.viewer.landmark_editor import LandmarkEditor
from napari_st2msi.viewer.landmark_pairs import SIDES, Side
from napari_st2msi.viewer.state import ViewerState

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari_st2msi.registration.registration import Registration


class RegisterContext:
    """The facts that the panels of one Register dock share. It holds and announces, and computes nothing.

    World coordinates of both canvases are µm as (y, x): of ``st2msi`` on the left, of ``st2msi_msi`` on
    the right. A canvas is turned by the order of its dimensions and by the orientation of its camera,
    so positions stay what they are. The right canvas holds layers of the Register dock only; in the
    left one, what others put there is hidden while the dock is shown and comes back after it.

    Attributes
    ----------
    state
        What all docks of the viewer share.
    left, right
        The ST canvas (the viewer itself) and the MSI canvas; both have `layers`, `camera`, `dims`.
    editor
        The landmarks of `section`.
    """

    #: Another section is registered here, or none; carries it. The editor holds its landmarks already.
    section_changed = Signal(object)
    #: There is another registration at hand, applied or not; carries it, or None while there is none.
    registration_changed = Signal(object)
    #: The two canvases are seen, or no longer; carries which. Panels take their layers away when not.
    shown_changed = Signal(bool)

    def __init__(self, state: ViewerState, left: Any, right: ViewerModel) -> None:
        self.state = state
        self.left = left
        self.right = right
        self.editor = LandmarkEditor()
        self._section: Section | None = None
        self._registration: Registration | None = None
        self._shown = False

    @property
    def section(self) -> Section | None:
        """The section that is registered here: one that `can_be_registered`, or None."""
        return self._section

    def set_section(self, section: Section | None) -> None:
        """Work on another section; its registration at hand is not known yet."""
        self._section = section
        self._registration = None
        self.editor.sides = sides_of(section)
        self.section_changed.emit(section)
        self.registration_changed.emit(None)

    @property
    def registration(self) -> Registration | None:
        """The registration at hand: what fits the landmarks as they are, or what was proposed."""
        return self._registration

    @registration.setter
    def registration(self, registration: Registration | None) -> None:
        if registration is not self._registration:
            self._registration = registration
            self.registration_changed.emit(registration)

    @property
    def shown(self) -> bool:
        """Whether the two canvases are seen."""
        return self._shown

    @shown.setter
    def shown(self, shown: bool) -> None:
        if shown != self._shown:
            self._shown = shown
            self.shown_changed.emit(shown)


def can_be_registered(section: Section | None) -> bool:
    """Tell whether a section has MSI, and ST or at least a stained section to lay it over."""
    return section is not None and section.has_msi and (section.has_st or section.roles.image is not None)


def sides_of(section: Section | None) -> dict[Side, str]:
    """Return what the two sides of a section are called: without ST, the MSI is laid over the stained section."""
    return SIDES if section is None or section.has_st else {**SIDES, "fixed": "H&E"}
