"""The frame that all docks share: state line, foldable groups, one button, messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal
from weakref import WeakMethod

from napari.settings import get_settings
from qtpy.QtCore import QEvent, QSize, Qt, QTimer
from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QDockWidget,
    QFormLayout,
    QFrame,
    QLabel,
    QLayout,
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.group import Group
from napari_st2msi.viewer.parts.messages import MessageArea
from napari_st2msi.viewer.parts.open_dock import PLUGIN
from napari_st2msi.viewer.parts.run_bar import RunBar
from napari_st2msi.viewer.parts.style import Look, look_of, stylesheet
from napari_st2msi.viewer.state import bare, state_of

Level = Literal["empty", "ready", "stale", "running"]
MINIMUM_WIDTH = 320


class Dock(QWidget):
    """What every dock is made of, from top to bottom.

    A state line; a body that scrolls, with groups that fold; the primary button, which turns into
    progress while a job runs; the message area.

    Parameters
    ----------
    napari_viewer
        The viewer, or napari's proxy of it.
    verb
        What the primary button does; None for a dock without one.

    Attributes
    ----------
    viewer, state, jobs
        The viewer itself, what its docks share, and this dock's long work.
    body
        The layout of what scrolls.
    front
        Whether the dock is seen, and not closed or behind another tab.
    """

    def __init__(self, napari_viewer: Any, verb: str | None = None) -> None:
        super().__init__()
        self.viewer = bare(napari_viewer)
        self.state = state_of(self.viewer)
        self.jobs = Jobs(self.state, self)
        self._then: Callable[[Any], None] | None = None
        self.front = False
        self._outer: QDockWidget | None = None
        self._placed = False  # among the other docks of the window
        self._followed: list[tuple[Any, WeakMethod[Any]]] = []
        self._all_jobs = [self.jobs]

        self.state_line = QLabel()
        self.state_line.setWordWrap(True)
        self.state_line.setTextFormat(Qt.TextFormat.RichText)
        self._said: tuple[str, Level] = ("", "empty")
        inner = QWidget()
        self.body = QVBoxLayout(inner)
        self.body.setContentsMargins(0, 0, 6, 0)
        self.body.setAlignment(Qt.AlignmentFlag.AlignTop)
        # Else groups are squeezed into the old height until the area that scrolls has heard of what was shown, and a
        # window that is painted meanwhile has words over each other.
        self.body.setSizeConstraint(QLayout.SizeConstraint.SetMinimumSize)
        self.scroll = QScrollArea()
        self.scroll.setWidgetResizable(True)
        self.scroll.setFrameShape(QFrame.Shape.NoFrame)
        self.scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.scroll.setWidget(inner)
        self.run_bar = RunBar(verb or "")
        self.messages = MessageArea()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 4, 6)
        layout.setSpacing(6)
        layout.addWidget(self.state_line)
        layout.addWidget(self.scroll, 1)
        layout.addWidget(self.run_bar)
        layout.addWidget(self.messages)
        self.run_bar.setVisible(verb is not None)
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)

        self.run_bar.pressed.connect(self.on_primary)
        self.run_bar.cancel_pressed.connect(self.jobs.cancel)
        self.jobs.progressed.connect(self.run_bar.progress)
        self.jobs.done.connect(self._on_done)
        self.jobs.failed.connect(self.messages.show_error)
        self.jobs.cancelled.connect(self._on_cancelled)
        self.jobs.ended.connect(self._on_ended)
        # napari keeps bound methods weakly, so a dock that is gone is not called.
        self.viewer.events.theme.connect(self._on_theme)
        get_settings().appearance.events.font_size.connect(self._on_theme)
        self.destroyed.connect(_letting_go(self._followed, self._all_jobs))
        self._on_theme()

    # -- what a dock fills in -------------------------------------------------------------------

    def on_primary(self) -> None:
        """Do what the primary button says; docks that have one override this."""

    def on_look(self, look: Look) -> None:
        """Follow a change of theme or font size; docks that paint themselves override this."""

    def event(self, event: QEvent | None) -> bool:
        """Stop what runs once napari has closed the dock, which takes it out of its window."""
        handled = bool(super().event(event))
        if event is not None and event.type() == QEvent.Type.ParentChange:
            # Parts have jobs of their own. Once Qt's side is gone they cannot be found any more.
            self._all_jobs[:] = [jobs for jobs in self.findChildren(Jobs) if not jobs.lasting]
            if self.parent() is None:
                _letting_go(self._followed, self._all_jobs)()
        return handled

    def on_front(self, front: bool) -> None:
        """Follow that the dock is seen, or is closed or behind another tab; docks with keys override this."""

    def showEvent(self, event: QShowEvent | None) -> None:
        """Shorten the title: three tabs that all end with the plugin's name are cut before they differ."""
        super().showEvent(event)
        outer = self.parent()
        while outer is not None and not isinstance(outer, QDockWidget):
            outer = outer.parent()
        if outer is None:
            self._on_front(True)
            return
        outer.setWindowTitle(outer.windowTitle().removesuffix(f" ({PLUGIN})"))
        if outer is not self._outer:
            # A dock behind another tab is not hidden for Qt; only this tells.
            self._outer = outer
            outer.visibilityChanged.connect(self._on_front)
            QTimer.singleShot(0, self._join_others)  # napari is not done with it yet

    def hideEvent(self, event: QHideEvent | None) -> None:
        """Tell that the dock is not seen."""
        super().hideEvent(event)
        self._on_front(False)

    def _join_others(self) -> None:
        """Come as a tab before the docks of this plugin beside it: napari's menu puts them below each other."""
        outer = self._outer
        window = None if outer is None else outer.parentWidget()
        if outer is None or not isinstance(window, QMainWindow) or outer.isFloating():
            return
        self._placed = True
        for other in window.findChildren(QDockWidget):
            dock = other.findChild(Dock)
            there = dock is not None and dock is not self and dock._placed and other.isVisible()
            if not there or other.isFloating() or window.dockWidgetArea(other) != window.dockWidgetArea(outer):
                continue
            if outer not in window.tabifiedDockWidgets(other):
                window.tabifyDockWidget(other, outer)
                outer.raise_()
            return

    def _on_front(self, front: bool) -> None:
        if front != self.front:
            self.front = front
            self.on_front(front)

    # -- parts ----------------------------------------------------------------------------------

    def sizeHint(self) -> QSize:
        """Return a width at which forms are comfortable."""
        return QSize(MINIMUM_WIDTH + 60, 600)

    def say(self, text: str, level: Level = "ready") -> None:
        """Set the state line: what this dock works on, and whether it is ready, stale or running."""
        self._said = (text, level)
        look = look_of(self.viewer)
        colour = {"empty": look.muted, "ready": look.good, "stale": look.warning, "running": look.accent}[level]
        escaped = text.replace("&", "&amp;").replace("<", "&lt;")
        self.state_line.setText(f'<span style="color:{colour}">●</span>&nbsp;{escaped}')
        self.state_line.setAccessibleName(text)

    def add_group(
        self, title: str, content: QWidget, *, open: bool = True, summary: Callable[[], str] | None = None
    ) -> Group:
        """Add controls that fold, with their current values in the folded title."""
        group = Group(title, content, open=open, summary=summary)
        self.body.addWidget(group)
        return group

    def enable_groups(self, enabled: bool) -> None:
        """Let the controls be used, or not while work that they decide about is under way."""
        for group in self.findChildren(Group):
            group.content().setEnabled(enabled)

    def follow(self, signal: Any, slot: Callable[..., Any]) -> None:
        """Connect a signal of the state for as long as this dock exists."""
        signal.connect(slot)
        self._followed.append((signal, WeakMethod(slot)))

    # -- long work ------------------------------------------------------------------------------

    def run(self, job: Job, then: Callable[[Any], None]) -> None:
        """Run a job; `then` gets its result on the GUI thread. Progress and errors are shown here."""
        self._then = then
        self.messages.clear()
        self.run_bar.show()
        self.run_bar.begin(job.title)
        self.jobs.start(job)

    def busy(self) -> bool:
        """Say so when something is under way that another job would drop."""
        if self.jobs.running:
            self.messages.show_warning("Something is still running here. Cancel it first, or wait until it is done.")
        return self.jobs.running

    def _on_done(self, result: object) -> None:
        assert self._then is not None
        # Back to the button first: what follows may start the next job.
        self._on_ended()
        self._then(result)

    def _on_cancelled(self) -> None:
        self.messages.show_warning("Stopped. Nothing was changed.")

    def _on_ended(self) -> None:
        if not self.jobs.running:
            self.run_bar.end()
            self.run_bar.setVisible(bool(self.run_bar.button.text()))

    # -- look -----------------------------------------------------------------------------------

    def _on_theme(self, event: Any = None) -> None:
        look = look_of(self.viewer)
        self.setStyleSheet(stylesheet(look))
        self.say(*self._said)
        self.on_look(look)


def _letting_go(followed: list[tuple[Any, WeakMethod[Any]]], all_jobs: list[Jobs]) -> Callable[[], None]:
    """Return what disconnects a dock whose Qt side is gone and stops its work; it must not keep the dock alive."""

    def let_go() -> None:
        for jobs in all_jobs:
            jobs.shut()
        for signal, weak in followed:
            if (slot := weak()) is not None:
                signal.disconnect(slot, missing_ok=True)
        followed.clear()

    return let_go


def form() -> tuple[QWidget, QFormLayout]:
    """Return an empty form for a group: labels left of fields, fields as wide as there is room."""
    widget = QWidget()
    layout = QFormLayout(widget)
    layout.setContentsMargins(0, 0, 0, 4)
    layout.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    layout.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
    layout.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
    return widget, layout
