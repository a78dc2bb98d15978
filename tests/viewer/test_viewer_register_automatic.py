"""Automatic registration is watched, can be stopped, and is only proposed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt

from napari_st2msi import pipeline
from napari_st2msi.errors import DataProblem
from napari_st2msi.progress import Cancelled
from napari_st2msi.registration.fit import fit
from napari_st2msi.registration.landmarks import Landmarks
from napari_st2msi.registration.registration import Registration, Trust
from napari_st2msi.section import Section
from napari_st2msi.viewer.docks.register_automatic import AutomaticPanel
from napari_st2msi.viewer.docks.register_context import RegisterContext
from napari_st2msi.viewer.docks.register_proposal import facts_in_words
from napari_st2msi.viewer.parts.style import look_of
from napari_st2msi.viewer.state import ViewerState

CORNERS = np.array([[0.0, 0.0], [50.0, 0.0], [50.0, 40.0], [0.0, 40.0]])
NONE = Landmarks((), np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0, dtype=bool))


def landmarks(shift: tuple[float, float] = (0.0, 0.0)) -> Landmarks:
    return Landmarks(tuple("abcd"), CORNERS, CORNERS + shift, np.ones(4, dtype=bool))


def found(*, trusted: bool = True, shift: tuple[float, float] = (5.0, 0.0)) -> Registration:
    trust = Trust(trusted, ("A reason.", "Another one."), {"expected_error_um": 21.4, "dice": 0.913}, (0.1, 0.3, 0.4))
    transform = fit(landmarks(shift), "affine").transform
    return Registration(NONE, transform, np.zeros(0), np.zeros(0), source="automatic", trust=trust)


class Search:
    """Stands in for minutes of searching; ends when it is let go."""

    def __init__(self, result: Registration | Exception) -> None:
        self.result: Registration | Exception = result
        self.go, self.asked = threading.Event(), {}

    def __call__(
        self,
        section: Section,
        landmarks: Landmarks | None = None,
        *,
        start: Registration | None = None,
        refine: str,
        progress: Any,
        cancelled: Callable[[], bool],
        step: Callable[[float], None],
    ) -> Registration:
        self.asked = {"landmarks": landmarks, "start": start, "refine": refine}
        progress(0.3, "trying rotations")
        for value in (0.1, 0.25):
            step(value)
        while not self.go.is_set() and not cancelled():
            time.sleep(0.005)
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


@pytest.fixture
def search(monkeypatch: pytest.MonkeyPatch) -> Search:
    search = Search(found())
    monkeypatch.setattr(pipeline, "propose_registration", search)
    return search


@pytest.fixture
def context(viewer: ViewerModel) -> RegisterContext:
    context = RegisterContext(ViewerState(), viewer, ViewerModel())
    context.shown = True
    return context


@pytest.fixture
def panel(qtbot: Any, context: RegisterContext, section: Section) -> AutomaticPanel:
    panel = AutomaticPanel(context)
    qtbot.addWidget(panel)
    panel.resize(360, 500)
    panel.show()
    context.set_section(section)
    return panel


@pytest.fixture
def done(qtbot: Any, panel: AutomaticPanel) -> Callable[[], None]:
    return lambda: qtbot.waitUntil(lambda: not panel.running, timeout=60_000)


def press(qtbot: Any, button: Any) -> None:
    assert button.isVisible()
    assert button.isEnabled()
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_without_a_section_there_is_nothing_to_press(qtbot: Any, context: RegisterContext) -> None:
    panel = AutomaticPanel(context)
    qtbot.addWidget(panel)
    assert not panel.find_button.isEnabled()
    assert not panel.refine_button.isEnabled()


def test_a_search_is_watched_and_then_judged(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    assert not panel.refine_button.isEnabled()  # there is nothing to start from
    press(qtbot, panel.find_button)
    assert panel.run_bar.isVisible()
    assert not panel.find_button.isEnabled()
    qtbot.waitUntil(lambda: panel.curve.values == (0.1, 0.25))
    qtbot.waitUntil(lambda: panel.run_bar.doing.text() == "trying rotations")
    assert panel.summary() == "searching"
    with qtbot.waitSignal(panel.proposed) as proposed:
        search.go.set()
    done()
    assert proposed.args == [search.result]
    assert search.asked == {"landmarks": None, "start": None, "refine": "free_form"}
    assert context.registration is search.result
    assert not panel.run_bar.isVisible()
    assert panel.card.isVisible()
    assert panel.card.level == "good"
    assert panel.card.facts.text() == "Affine · expected error 21 µm · outlines overlap 91% (Dice)."
    assert panel.card.reasons.text() == "• A reason.\n• Another one."
    assert panel.curve.values == (0.1, 0.3, 0.4)


def test_nothing_is_applied_unless_it_is_taken(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.go.set()
    matrix = context.section.msi_to_st.copy()
    press(qtbot, panel.find_button)
    done()
    assert np.array_equal(context.section.msi_to_st, matrix)
    with qtbot.waitSignal(panel.accepted) as accepted:
        press(qtbot, panel.card.use_button)
    assert accepted.args == [search.result]
    assert context.registration is search.result
    assert not panel.card.isVisible()


def test_a_discarded_proposal_leaves_the_one_before(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.go.set()
    before = fit(landmarks(), "affine")
    context.registration = before
    press(qtbot, panel.find_button)
    done()
    assert context.registration is search.result
    with qtbot.waitSignal(panel.discarded):
        press(qtbot, panel.card.discard_button)
    assert context.registration is before
    assert not panel.card.isVisible()


def test_one_that_is_not_to_be_trusted_says_so(
    qtbot: Any, panel: AutomaticPanel, search: Search, done: Callable[[], None]
) -> None:
    search.result = found(trusted=False)
    search.go.set()
    press(qtbot, panel.find_button)
    done()
    assert panel.card.level == "warning"
    assert "not to be trusted" in panel.card.title.text()
    assert panel.card.use_button.text() == "Use it anyway"
    assert panel.card.use_button.property("role") == "flat"


def test_refining_starts_from_landmarks_else_from_the_registration(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.go.set()
    known = fit(landmarks(), "affine")
    context.registration = known
    panel.refine.set_value("affine")
    press(qtbot, panel.refine_button)
    done()
    assert search.asked == {"landmarks": None, "start": known, "refine": "affine"}
    press(qtbot, panel.card.discard_button)
    context.editor.load(landmarks((1.0, 2.0)))
    press(qtbot, panel.refine_button)
    done()
    assert search.asked["start"] is None
    assert search.asked["landmarks"].fixed == pytest.approx(CORNERS + (1.0, 2.0))


def test_cancelling_keeps_the_best_so_far(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.result = found(trusted=False)
    press(qtbot, panel.find_button)
    qtbot.waitUntil(lambda: bool(panel.curve.values))
    press(qtbot, panel.run_bar.cancel)
    assert panel.run_bar.cancel.text() == "Stopping"
    done()
    assert panel.card.isVisible()
    assert panel.card.level == "warning"
    assert context.registration is search.result


def test_cancelling_before_anything_was_found_says_so(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.result = Cancelled("Stopped.")
    press(qtbot, panel.find_button)
    with qtbot.waitSignal(panel.message) as said:
        press(qtbot, panel.run_bar.cancel)
    done()
    assert said.args == ["warning", "Stopped before anything was found. Nothing was changed."]
    assert not panel.card.isVisible()
    assert not panel.curve.isVisible()
    assert context.registration is None
    assert panel.find_button.isEnabled()


def test_what_goes_wrong_is_said(qtbot: Any, panel: AutomaticPanel, search: Search, done: Callable[[], None]) -> None:
    search.result = DataProblem("The MSI is the same everywhere.")
    search.go.set()
    with qtbot.waitSignal(panel.failed) as said:
        press(qtbot, panel.find_button)
    assert said.args == ["The MSI is the same everywhere.", ""]
    done()
    assert panel.find_button.isEnabled()


def test_a_refit_meanwhile_does_not_lose_the_proposal(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.go.set()
    press(qtbot, panel.find_button)
    done()
    assert not panel.card.show_button.isVisible()
    other = fit(landmarks(), "affine")
    context.registration = other
    press(qtbot, panel.card.show_button)
    assert context.registration is search.result
    press(qtbot, panel.card.discard_button)
    assert context.registration is other


def test_applying_what_is_at_hand_closes_the_proposal(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, search: Search, done: Callable[[], None]
) -> None:
    search.go.set()
    context.state.add_section(context.section)
    press(qtbot, panel.find_button)
    done()
    context.state.set_registered(context.section)
    assert not panel.card.isVisible()
    assert context.registration is search.result


def test_another_section_ends_the_search(
    qtbot: Any,
    panel: AutomaticPanel,
    context: RegisterContext,
    search: Search,
    make_section: Callable[..., Section],
) -> None:
    press(qtbot, panel.find_button)
    qtbot.waitUntil(lambda: bool(panel.curve.values))
    context.set_section(make_section("two"))
    assert not panel.running
    search.go.set()
    qtbot.wait(100)
    assert not panel.card.isVisible()
    assert context.registration is None


def test_landmarks_that_it_did_not_know_are_a_check() -> None:
    words = facts_in_words(found(shift=(3.0, 4.0)), landmarks())
    assert words.endswith("Your 4 landmarks, which it did not know, are 5 µm off (median).")
    assert "landmarks" not in facts_in_words(found(), NONE)


def test_the_curve_follows_the_theme(qtbot: Any, panel: AutomaticPanel, context: RegisterContext) -> None:
    context.left.theme = "light"
    look = look_of(context.left)
    panel.set_look(look)
    assert panel.curve.plot.backgroundBrush().color().name() == look.background
    assert panel.curve._line.opts["pen"].color().name() == look.good


def test_the_real_search_stops_in_the_middle(
    qtbot: Any, panel: AutomaticPanel, context: RegisterContext, done: Callable[[], None]
) -> None:
    brain = pipeline.simulate(name="brain", n_spots=200, n_genes=60, ions_per_kind=1, image_px=128, seed=3).sections[0]
    context.set_section(brain)
    press(qtbot, panel.find_button)
    qtbot.waitUntil(lambda: bool(panel.curve.values), timeout=60_000)
    press(qtbot, panel.run_bar.cancel)
    done()
    assert context.registration is not None
    assert context.registration.trust is not None
    assert not context.registration.trust.trusted
    assert "stopped before the end" in panel.card.reasons.text()
    assert panel.card.level == "warning"
