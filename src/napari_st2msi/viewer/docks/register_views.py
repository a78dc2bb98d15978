"""What either canvas of the Register dock shows while landmarks are picked, and how it is turned."""

from __future__ import annotations

from functools import partial

from qtpy.QtCore import QTimer, Signal
from qtpy.QtGui import QResizeEvent
from qtpy.QtWidgets import QBoxLayout, QVBoxLayout, QWidget

from napari_st2msi.ions import ion_frame
from napari_st2msi.registration.views import View, msi_views, st_views
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_picture import Drawn, Picture, Side, draw
from napari_st2msi.viewer.docks.register_turn import Turn, set_turn, turn_of
from napari_st2msi.viewer.jobs import Job, Jobs
from napari_st2msi.viewer.parts.buttons import ButtonRow, flat
from napari_st2msi.viewer.parts.fields import ChoiceField
from napari_st2msi.viewer.parts.search_edit import SearchEdit
from napari_st2msi.viewer.parts.words import Words

#: What a view is called in the menu of a side.
WORDS = {
    "histology": "stained section",
    "counts": "total counts",
    "gene": "one gene",
    "components": "components (RGB)",
    "clusters": "clusters",
    "tic": "total ion current",
    "ion": "one ion",
    "segmentation": "segmentation",
}
#: Views of which the user says the name of one of many.
_NAMED = {"gene": "Type a gene", "ion": "Type an m/z or a name"}
#: Work shorter than this is not worth words that would only flicker.
_PATIENCE_MS = 300
#: Letters of a choice that should be seen, its arrow included.
_READABLE = 14


class ViewsPanel(QWidget):
    """Chooses the picture of one side and turns its canvas; landmarks are never touched.

    Parameters
    ----------
    context
        What the parts of the Register dock share.
    side
        ``fixed`` for ST (the left canvas), ``moving`` for MSI (the right one).
    """

    #: Another picture is shown; carries the `View`, or None while there is nothing to show.
    view_changed = Signal(object)
    #: Something went wrong: what, in words, and the traceback (empty for errors in the user's words).
    failed = Signal(str, str)

    def __init__(self, context: RegisterContext, side: Side) -> None:
        super().__init__()
        self.context, self.side = context, side
        self.view: View | None = None
        self.viewer = context.left if side == "fixed" else context.right
        self.jobs = Jobs(context.state, self)
        self.picture = Picture(self.viewer)
        self._named: set[str] = set()
        self._chosen: dict[str, str] = {}
        self._shown: tuple[str, str | None] | None = None
        self._fitted = False
        self._turn, self._before = Turn(), Turn()

        self.choice = ChoiceField([])
        self.choice.setAccessibleName("Picture of the ST" if side == "fixed" else "Picture of the MSI")
        self.names = SearchEdit()
        self.left_button = flat("↺", "Turn this side by 90° to the left; data and landmarks stay as they are")
        self.right_button = flat("↻", "Turn this side by 90° to the right; data and landmarks stay as they are")
        self.mirror_button = flat("⇋", "Mirror this side; data and landmarks stay as they are")
        self.fit_button = flat("Fit", "Show the whole picture")
        for button, words in zip(
            (self.left_button, self.right_button, self.mirror_button),
            ("Turn to the left", "Turn to the right", "Mirror"),
            strict=True,
        ):
            button.setAccessibleName(words)
        self.note = Words(role="note")
        self._buttons = ButtonRow(self.left_button, self.right_button, self.mirror_button, self.fit_button)
        self._row = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._row.setSpacing(4)
        self._row.addWidget(self.choice, 1)
        self._row.addWidget(self._buttons)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 4)
        layout.setSpacing(4)
        layout.addLayout(self._row)
        layout.addWidget(self.names)
        layout.addWidget(self.note)
        self._slow = QTimer(self)
        self._slow.setSingleShot(True)
        self._slow.setInterval(_PATIENCE_MS)

        self.choice.changed.connect(self._on_choice)
        self.names.chosen.connect(self._on_name)
        self.left_button.clicked.connect(partial(self.turn, -1))
        self.right_button.clicked.connect(partial(self.turn, 1))
        self.mirror_button.clicked.connect(self.mirror)
        self.fit_button.clicked.connect(self.fit)
        self.jobs.done.connect(self._on_drawn)
        self.jobs.failed.connect(self._on_failed)
        self.jobs.ended.connect(self._slow.stop)
        self._slow.timeout.connect(self._say_slow)
        context.section_changed.connect(self._on_section)
        context.shown_changed.connect(self._on_shown)
        self._on_section(context.section)
        if context.shown:
            self._on_shown(True)

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Put the buttons below the choice where its words would be cut beside them."""
        super().resizeEvent(event)
        words = _READABLE * self.choice.box.fontMetrics().averageCharWidth()
        beside = words + self._row.spacing() + self._buttons.sizeHint().width()
        directions = QBoxLayout.Direction
        self._row.setDirection(directions.LeftToRight if beside <= self.width() else directions.TopToBottom)

    # -- what is shown --------------------------------------------------------------------------

    @property
    def what(self) -> str | None:
        """Which view is chosen, by its name in `registration.views`."""
        value = self.choice.value()
        return None if value is None else str(value)

    def summary(self) -> str:
        """Return what is shown and how it is turned, in few words."""
        return " · ".join(part for part in ("" if self.view is None else self.view.name, self._turn.words) if part)

    def show_view(self, what: str, name: str | None = None) -> None:
        """Show a view of this side, of one gene or ion where it needs a name."""
        if what in _NAMED and name is not None:
            self._chosen[what] = name
        if what == self.what:
            self._on_choice()
        else:
            self.choice.set_value(what)

    def _on_choice(self) -> None:
        """Show what is chosen; a view of one gene or ion waits until that is chosen, too."""
        section, what = self.context.section, self.what
        if section is None or what is None:
            return
        self._offer_names(section, what)
        name = self._chosen.get(what)
        if what in _NAMED and name is None:
            self.names.setFocus()
            return
        if (what, name) != self._shown and self.context.shown:
            self._slow.start()
            self.jobs.start(Job("Drawing", partial(draw, section, self.side, what, name)))

    def _on_name(self, name: str) -> None:
        assert self.what is not None
        self._chosen[self.what] = name
        self._on_choice()

    def _offer_names(self, section: Section, what: str) -> None:
        self.names.setVisible(what in _NAMED)
        if what not in _NAMED:
            return
        if what not in self._named:
            self._named.add(what)
            self.names.setPlaceholderText(_NAMED[what])
            self.names.setAccessibleName(WORDS[what])
            # From the tables as they lie: the section would look up places, too.
            if what == "gene":
                genes = section.sdata.tables[section.roles.st].var_names
                self.names.set_choices((gene, gene) for gene in genes.astype(str))
            else:
                labels = ion_frame(section.sdata.tables[section.roles.msi])["label"]
                self.names.set_choices((str(ion), str(label)) for ion, label in labels.items())
                ion = self.context.state.ion
                if ion in labels.index:
                    self._chosen.setdefault(what, str(ion))
        self.names.choose(self._chosen.get(what))

    def _on_drawn(self, drawn: Drawn) -> None:
        self._shown = (drawn.what, drawn.name)
        self.view = drawn.view
        self._say(f"{drawn.view.name} is the same everywhere. Choose another picture." if drawn.same else "")
        assert self.context.section is not None
        self.picture.show(self.context.section, drawn)
        if not self._fitted:
            self.fit()
        self.view_changed.emit(self.view)

    def _on_failed(self, words: str, details: str) -> None:
        # What is seen stays, so that is what the menu has to say.
        if self._shown is not None:
            self.choice.box.blockSignals(True)
            self.choice.set_value(self._shown[0])
            self.choice.box.blockSignals(False)
            section = self.context.section
            if section is not None:
                self._offer_names(section, self._shown[0])
        self._say("")
        self.failed.emit(words, details)

    def _say_slow(self) -> None:
        if self.what is not None:
            self._say(f"Drawing: {WORDS.get(self.what, self.what)}")

    def _say(self, words: str) -> None:
        self.note.setText(words)
        self.note.setVisible(bool(words))

    # -- turning --------------------------------------------------------------------------------

    def turn(self, quarters: int) -> None:
        """Turn the canvas clockwise by so many times 90°."""
        self._lay(self._turn.turned(quarters))

    def mirror(self) -> None:
        """Exchange left and right of the canvas."""
        self._lay(self._turn.mirrored())

    def fit(self) -> None:
        """Show the whole picture in the middle of the canvas."""
        if self.picture.there:
            self.viewer.fit_to_view(layers=[self.picture.layer])
            self._fitted = True

    def _lay(self, turn: Turn) -> None:
        self._turn = turn
        if self.context.shown:
            set_turn(self.viewer, turn)
            self.fit()

    # -- following the context ------------------------------------------------------------------

    def _on_section(self, section: Section | None) -> None:
        self.jobs.shut()
        self._slow.stop()
        self.picture.forget()
        self._shown = self.view = None
        self._named, self._chosen, self._fitted = set(), {}, False
        self._say("")
        views: tuple[str, ...] = ()
        if section is not None:
            views = st_views(section) if self.side == "fixed" else msi_views(section)
        self.choice.set_choices([(view, WORDS.get(view, view)) for view in views])
        self.setEnabled(bool(views))
        self.names.hide()
        self.view_changed.emit(None)
        self._on_choice()

    def _on_shown(self, shown: bool) -> None:
        """Show the picture in the canvas, or hide it and leave the canvas as it was found."""
        if shown:
            self._before = turn_of(self.viewer)
            set_turn(self.viewer, self._turn)
            self.picture.bring_back()
            if not self.picture.there:
                self._shown = None
            self.fit()
            self._on_choice()
        else:
            self.picture.hide()
            set_turn(self.viewer, self._before)
