"""A group of controls that folds and, folded, says what is chosen inside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt
from qtpy.QtGui import QIcon, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget
from superqt import QCollapsible

_UNLIMITED = 16_777_215  # QWIDGETSIZE_MAX


class Group(QCollapsible):
    """A titled part of a dock that folds.

    Parameters
    ----------
    title
        What it is about.
    content
        The controls.
    open
        Whether it starts unfolded: the common case open, the rest closed.
    summary
        Returns the current values in few words; shown in the title while folded. Call
        `update_title` when they change.
    """

    def __init__(
        self,
        title: str,
        content: QWidget,
        *,
        open: bool = True,
        summary: Callable[[], str] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        # The arrow is part of the text, so that it follows theme and font size.
        super().__init__(title, parent, QIcon(), QIcon())
        self._title, self._summary = title, summary
        empty = self.content()
        self.layout().removeWidget(empty)
        empty.deleteLater()
        self.setContent(content)
        self.layout().setContentsMargins(0, 0, 0, 0)
        self.layout().setSpacing(2)
        if isinstance(layout := content.layout(), QVBoxLayout):
            layout.setAlignment(Qt.AlignmentFlag.AlignTop)
        button = self.toggleButton()
        button.setStyleSheet("")
        button.setProperty("role", "group")
        # A long summary is cut, and does not make the dock wider.
        button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.toggled.connect(self.update_title)
        self.expand() if open else self.collapse()

    def expand(self, animate: bool = False) -> None:
        """Unfold; at once, because animated heights clip text that wraps."""
        super().expand(animate=False)
        self.content().setMaximumHeight(_UNLIMITED)
        self.content().show()

    def collapse(self, animate: bool = False) -> None:
        """Fold; what is inside cannot be reached by Tab then."""
        super().collapse(animate=False)
        self.content().hide()

    def full_title(self) -> str:
        """Return the title, with the current values while folded."""
        words = "" if self.isExpanded() or self._summary is None else self._summary()
        return f"{self._title}: {words}" if words else self._title

    def update_title(self, *_: Any) -> None:
        """Show the current values."""
        button, title = self.toggleButton(), self.full_title()
        arrow = "▾" if self.isExpanded() else "▸"
        room = max(self.width() - 12, 40)
        button.setText(button.fontMetrics().elidedText(f"{arrow} {title}", Qt.TextElideMode.ElideRight, room))
        button.setToolTip(title if button.text() != f"{arrow} {title}" else "")
        button.setAccessibleName(title)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Cut the title to the new width."""
        super().resizeEvent(event)
        self.update_title()
