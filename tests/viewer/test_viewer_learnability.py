"""The Learnability dock: assess in the background, tell ions apart, judge anew, draw splits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMainWindow

from docked import PATIENCE_MS, QUICK, brain, come_to_rest, on_screen, press
from napari_st2msi.evaluation.learnability import Learnability, learnability
from napari_st2msi.evaluation.tiers import TIERS
from napari_st2msi.paired import PairedDataset
from napari_st2msi.recipe import Genes, Recipe
from napari_st2msi.section import Section
from napari_st2msi.viewer import layers
from napari_st2msi.viewer.docks.compare import CompareDock
from napari_st2msi.viewer.docks.learnability import LearnabilityDock
from napari_st2msi.viewer.docks.learnability_plot import axes_of
from napari_st2msi.viewer.docks.learnability_work import Assessed
from napari_st2msi.viewer.parts.words import Words
from napari_st2msi.viewer.state import state_of


@pytest.fixture(scope="module")
def data() -> tuple[Section, PairedDataset]:
    """A simulated section, registered and paired."""
    return brain(260, ions_per_kind=4)


@pytest.fixture(scope="module")
def found(data: tuple[Section, PairedDataset]) -> Learnability:
    return learnability(data[1], QUICK, protocols=("random", "blocks"), section=data[0])


@pytest.fixture
def dock(qtbot: Any, viewer: ViewerModel) -> LearnabilityDock:
    state_of(viewer).recipe = QUICK
    return on_screen(qtbot, LearnabilityDock(viewer), size=(340, 760))


@pytest.fixture
def paired(dock: LearnabilityDock, data: tuple[Section, PairedDataset]) -> Iterator[Section]:
    section, paired = data
    dock.state.add_section(section)
    dock.state.set_paired(paired, section)
    yield section
    dock.jobs.shut()


@pytest.fixture
def assessed(dock: LearnabilityDock, paired: Section, found: Learnability, qtbot: Any) -> LearnabilityDock:
    """A dock with what was found, without waiting for it."""
    dock.state.set_learnability(found, paired)
    qtbot.wait(20)
    return dock


def test_an_empty_dock_says_what_to_do(dock, make_section):
    assert "Open a section" in dock.empty.label.text()
    assert dock.run_bar.isHidden()
    dock.state.add_section(make_section("unpaired"))
    assert "not paired" in dock.empty.label.text()
    dock.state.add_section(make_section("alone", msi=False))
    assert "needs genes and ions" in dock.empty.label.text()
    assert all(group.isHidden() for group in (*dock.results, dock.how_group))


def test_assess_predicts_once_and_puts_tiers_where_all_docks_see_them(dock, paired, qtbot):
    dock.protocols.boxes["blocks"].setChecked(False)
    press(qtbot, dock)
    first = dock.state.learnability
    assert list(first.protocols) == ["random"]
    assert dock.messages.level == "good"
    assert f"{first.counts[3]} in tier 3" in dock.messages.text
    for tier, button in dock.counts.buttons.items():
        assert button.text().endswith(f"Tier {tier}: {first.counts[tier]}")
    # A second way of holding out is another choice; what was predicted under the first is kept.
    dock.protocols.boxes["blocks"].setChecked(True)
    assert "choices changed" in dock.state_line.accessibleName()
    press(qtbot, dock)
    second = dock.state.learnability
    assert list(second.protocols) == ["random", "blocks"]
    assert second.evaluations["random"] is first.evaluations["random"]
    assert "choices changed" not in dock.state_line.accessibleName()
    dock.state.recipe = QUICK.model_copy(update={"genes": Genes(n_top=20)})
    assert "choices changed" in dock.state_line.accessibleName()


def test_cancel_changes_nothing(dock, paired, qtbot):
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
    assert dock.run_bar.running
    qtbot.mouseClick(dock.run_bar.cancel, Qt.MouseButton.LeftButton)
    come_to_rest(qtbot, dock)
    assert dock.state.learnability is None
    assert "Stopped" in dock.messages.text


def in_window(qtbot: Any, dock: LearnabilityDock) -> QMainWindow:
    window = QMainWindow()
    qtbot.addWidget(window)
    window.setCentralWidget(dock)
    window.show()
    return window


def test_a_dock_that_was_closed_while_assessing_finds_its_ticks_and_says_what_was_stopped(
    dock, data, paired, found, viewer, qtbot
):
    other = copy(data[0])
    dock.state.add_section(other)
    dock.state.set_paired(in_groups(data[1], roi=2, donor=2), other)
    assert dock.sections.chosen() == [paired, other]
    next(box for box, section in dock.sections._boxes.items() if section is paired).setChecked(False)
    dock._on_assessed(Assessed(dock._asked(), found))
    dock.protocols.boxes["random"].setChecked(False)
    dock.protocols.boxes["leave_group_out"].setChecked(True)
    dock.protocols.group.box.setCurrentIndex(1)
    ticked = dock.protocols.chosen()
    window = in_window(qtbot, dock)
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
    assert dock.jobs.running
    window.takeCentralWidget()
    dock.setParent(None)
    assert not dock.jobs.running
    again = on_screen(qtbot, LearnabilityDock(viewer), size=(340, 760))
    assert again.sections.chosen() == [other]
    assert again.protocols.chosen() == ticked
    assert len(ticked) == 2
    assert again.state.learnability is found
    assert "choices changed" in again.state_line.accessibleName()
    assert "stopped when this dock was closed" in again.messages.text
    window.setCentralWidget(again)
    window.takeCentralWidget()
    again.setParent(None)
    assert not on_screen(qtbot, LearnabilityDock(viewer), size=(340, 760)).messages.text


def test_napari_asks_before_it_closes_while_assessing(dock, paired, qtbot):
    window, asked = in_window(qtbot, dock), []
    dock.guard._ask = lambda window, sentence: asked.append(sentence)
    dock.guard.watch(dock)
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
    window.close()
    assert window.isVisible()
    assert "Ions are being assessed" in asked[0]
    dock.jobs.cancel()
    come_to_rest(qtbot, dock)
    window.close()
    assert not window.isVisible()
    assert len(asked) == 1


def test_nothing_ticked_is_said_before_any_work(dock, paired, qtbot):
    for box in dock.protocols.boxes.values():
        box.setChecked(False)
    qtbot.mouseClick(dock.run_bar.button, Qt.MouseButton.LeftButton)
    assert not dock.jobs.running
    assert "Tick a way of holding out" in dock.messages.text


def test_a_split_that_cannot_be_made_is_an_error_in_words(dock, paired, qtbot):
    dock.state.recipe = Recipe.model_validate({"evaluation": {"block_um": 100_000.0}, "model": {"name": "ridge"}})
    press(qtbot, dock)
    assert dock.messages.level == "error"
    assert not dock.messages.details.toPlainText()  # in the user's words, no traceback
    assert dock.state.learnability is None


def in_groups(paired: PairedDataset, **columns: int) -> PairedDataset:
    """Return the same spots, each column with as many groups as said."""
    genes, ions = paired.genes.copy(), paired.ions.copy()
    for table in (genes, ions):
        for name, n in columns.items():
            table.obs[name] = [f"{name}{number * n // len(paired)}" for number in range(len(paired))]
    return PairedDataset(genes, ions)


def test_groups_are_offered_where_spots_have_them(dock, data, make_section):
    section, paired = data
    dock.state.add_section(section)
    dock.state.set_paired(paired, section)
    assert dock.protocols._groups.isHidden()
    assert dock.protocols.chosen() == ("random", "blocks")
    dock.state.set_paired(in_groups(paired, donor=2), section)
    assert not dock.protocols._groups.isHidden()
    dock.protocols.boxes["leave_group_out"].setChecked(True)
    assert "leave_group_out:donor" in dock.protocols.chosen()
    assert "each donor" in dock.protocols.summary()


@pytest.mark.parametrize("make", [LearnabilityDock, CompareDock])
def test_another_group_than_the_first_is_announced_once_and_kept(qtbot, viewer, data, make):
    dock = on_screen(qtbot, make(viewer), size=(340, 760))
    dock.state.add_section(data[0])
    dock.state.set_paired(in_groups(data[1], donor=2, roi=6), data[0])
    group = dock.protocols.group
    assert group.box.count() == 2
    told = []
    dock.protocols.changed.connect(lambda: told.append(group.value()))
    group.box.setCurrentIndex(1)
    second = group.box.itemData(1)
    assert told == [second]
    assert group.value() == second


def test_a_click_in_the_scatter_looks_at_that_ion_and_says_why(assessed, found, qtbot):
    plot = assessed.plot
    ion = str(found.table["blocks_gain"].astype(float).idxmax())
    scatter, place = plot.scatter, plot.scatter.keys.tolist().index(ion)
    at = scatter.plot.mapFromScene(scatter.box.mapViewToScene(QPointF(*scatter.xy[place])))
    QTest.mouseClick(scatter.plot.viewport(), Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)
    qtbot.waitUntil(lambda: assessed.state.ion is not None, timeout=2000)
    # Another point may lie over it; whichever was chosen is at that place.
    chosen = assessed.state.ion
    assert found.table.loc[chosen, "blocks_gain"] == pytest.approx(scatter.xy[place][1], abs=0.02)
    assert str(found.table.loc[chosen, "label"]) in plot.title.text()
    assert plot.reason.text().lower() == str(found.table.loc[chosen, "reason"]).lower() + "."
    assert scatter.ring.data["y"].tolist() == pytest.approx([float(found.table.loc[chosen, "blocks_gain"])])
    # And the other way: an ion chosen elsewhere is marked here.
    other = next(key for key in scatter.keys if key != chosen)
    assessed.state.ion = str(other)
    assert str(found.table.loc[other, "label"]) in plot.title.text()


def test_a_tier_is_shown_alone_in_every_dock(assessed, found, qtbot):
    tier = max(TIERS, key=lambda number: found.counts[number])
    own = frozenset(found.table.index[found.table["tier"] == tier])
    qtbot.mouseClick(assessed.counts.buttons[tier], Qt.MouseButton.LeftButton)
    assert assessed.state.brushed == own
    assert not assessed.every.isHidden()
    qtbot.mouseClick(assessed.every, Qt.MouseButton.LeftButton)
    assert assessed.state.brushed == frozenset()
    assert not assessed.counts.buttons[tier].isChecked()
    assessed.plot.scatter.brushed.emit(own)
    assert assessed.counts.buttons[tier].isChecked()


def test_moran_i_is_set_against_each_outcome_under_each_protocol(assessed, found, qtbot):
    famous = assessed.famous
    assert set(famous.numbers) == {f"{p}_{o}" for p in ("random", "blocks") for o in ("r2_coordinates", "r2", "gain")}
    for protocol in ("random", "blocks"):
        expected = f"{found.spearman(protocol, 'r2', predictor='coordinates'):.2f}".replace("-", "−")
        assert expected != "nan"
        assert famous.numbers[f"{protocol}_r2_coordinates"].text() == expected
    bar = assessed.scroll.verticalScrollBar()
    bar.setValue(bar.maximum())
    qtbot.mouseClick(famous.numbers["random_gain"], Qt.MouseButton.LeftButton)
    assert (assessed.plot.across.value(), assessed.plot.up.value()) == ("moran_i", "random_gain")
    view = assessed.scroll.viewport()
    assert view.rect().contains(assessed.plot.scatter.mapTo(view, QPoint(0, 0)))  # it comes into view
    assert f"Spearman {famous.numbers['random_gain'].text()}" in assessed.plot.rank.text()


def test_too_few_ions_to_correlate_are_said(assessed, found):
    correlations = found.correlations.assign(spearman=np.nan)
    assessed.state.set_learnability(replace(found, correlations=correlations))
    assert "Fewer than 20 ions" in assessed.famous.words.text()
    assert not any(number.isEnabled() for number in assessed.famous.numbers.values())


def test_every_axis_and_colour_can_be_drawn(assessed, found):
    for name, _ in axes_of(found):
        assessed.plot.show_axes("moran_i", name)
        values = found.table[name].astype(float)
        known = values.notna() & ((values > 0) | (name not in ("mean_intensity", "signal_to_noise")))
        assert len(assessed.plot.scatter.keys) == known.sum() > 0
    assessed.plot.show_axes("moran_i", "mz")
    for colour in ("finding", "class"):
        assessed.plot.colour.set_value(colour)
        for name, n in found.table[colour].value_counts().drop("", errors="ignore").head(3).items():
            assert f"{name.replace(' ', '&nbsp;')}&nbsp;{n}" in assessed.plot.legend.text()
        assert sum(map(int, re.findall(r"&nbsp;(\d+)\b", assessed.plot.legend.text()))) == len(found.table)


def test_other_criteria_judge_anew_and_predict_nothing(assessed, found, qtbot):
    assert found.counts[3] < len(found.table)
    assessed.criteria_group.expand()
    assessed.criteria.fields["least_gain"].spin.setValue(1.0)
    qtbot.waitUntil(lambda: assessed.state.learnability.counts[3] == len(found.table), timeout=PATIENCE_MS)
    judged = assessed.state.learnability
    assert judged.evaluations is found.evaluations
    assert judged.criteria.least_gain == 1.0
    assert assessed.counts.buttons[1].text().endswith(": 0")
    assert not assessed.counts.buttons[1].isEnabled()
    assessed.criteria.fields["least_gain"].spin.setValue(found.criteria.least_gain)
    assessed.judged_by.box.setCurrentIndex(assessed.judged_by.box.findData("random"))
    qtbot.waitUntil(lambda: assessed.state.learnability.judged_by == "random", timeout=PATIENCE_MS)
    assert assessed.state.learnability.counts == found.judged(by="random").counts


def expected(dock: LearnabilityDock, qtbot: Any) -> Any:
    """Return what the dock says of a new metabolite, once it is worked out."""
    view = dock.expect
    qtbot.waitUntil(lambda: not view._rest.isActive() and not view._jobs.running, timeout=PATIENCE_MS)
    return view


def test_what_to_expect_of_a_metabolite_that_is_like_another_comes_from_all_others(assessed, found, qtbot):
    ion = found.table.index[0]
    assessed.expect.like.choose(ion)
    assessed.expect.like.chosen.emit(ion)
    view = expected(assessed, qtbot)
    assert view.known == {name: float(f"{found.table.loc[ion, name]:.3g}") for name in view.known}
    others = replace(found, table=found.table.drop(index=ion))
    row = others.expect(pd.DataFrame([view.known])).iloc[0]
    tier = int(row["tier"])
    assert f"Most likely tier {tier} ({row[f'tier_likely_{tier}']:.0%}): {TIERS[tier]}." in view.words.text()
    for other in set(TIERS) - {tier}:
        assert f"tier {other} {row[f'tier_likely_{other}']:.0%}" in view.words.text()
    either = row["gain_lower"] < found.criteria.least_gain < row["gain_upper"]
    assert ("only measuring this one tells" in view.words.text()) == either
    for outcome in ("r2", "gain"):
        low, high = (f"{row[f'{outcome}_{end}']:.2f}".replace("-", "−") for end in ("lower", "upper"))
        assert f"[{low}, {high}]" in view.words.text()
    assert assessed.expect_group.full_title() == f"A new metabolite: {view.words.text().splitlines()[0]}"


def test_an_ion_with_another_number_is_not_the_one_it_was_like(assessed, found, qtbot):
    view = assessed.expect
    view.like.choose(found.table.index[0])
    view.like.chosen.emit(found.table.index[0])
    view.fields["moran_i"].spin.setValue(0.2)
    assert view.like.key is None
    assert not view.like.text()
    expected(assessed, qtbot)
    assert view.known["moran_i"] == 0.2
    assert view.words.text().startswith("Most likely tier ")


def test_what_names_no_ion_is_said_in_words(assessed, qtbot):
    view = assessed.expect
    assessed.expect_group.expand()
    for typed, words in (("zzz", "There is no 'zzz' here"), ("m/z", "is a part of")):
        view.like.setText("")
        QTest.keyClicks(view.like, typed)
        view.like.completer().popup().hide()
        QTest.keyClick(view.like, Qt.Key.Key_Return)
        assert words in view.words.text()


def test_ticks_and_tiers_say_what_they_mean(assessed):
    assert all(box.toolTip() for box in assessed.protocols.boxes.values())
    for tier, button in assessed.counts.buttons.items():
        assert TIERS[tier] in button.toolTip()
    words = " ".join(label.text() for label in assessed.counts.findChildren(Words))
    assert "can stand in (1), can guide (2)" in words


def test_properties_beyond_those_seen_are_said_and_little_may_be_known(assessed, found, qtbot):
    view = assessed.expect
    assert view.words.text().startswith("Choose an ion")
    most = found.table["moran_i"].max()
    view.fields["moran_i"].set_value(1.0)
    expected(assessed, qtbot)
    assert view.words.text().startswith("Most likely tier ")
    assert "Moran's I 1.00 is above what was seen" in view.beyond.text()
    assert f"{most:.2f}" in view.fields["moran_i"].toolTip()
    view.fields["moran_i"].set_value(found.table["moran_i"].median())
    expected(assessed, qtbot)
    assert not view.beyond.text()
    view.clear.click()
    assert not view.known
    assert view.words.text().startswith("Choose an ion")


def test_too_few_ions_to_expect_anything_from_are_said(assessed, found, paired, qtbot):
    assessed.state.set_learnability(replace(found, table=found.table.head(12)), paired)
    assessed.expect.fields["moran_i"].set_value(0.5)
    view = expected(assessed, qtbot)
    assert "fewer than 20 ions to learn from" in view.words.text()


def test_folds_are_drawn_and_hidden_by_one_button(assessed, paired, found, viewer, qtbot):
    splits = assessed.splits
    assert splits.layer is None
    qtbot.mouseClick(splits.button, Qt.MouseButton.LeftButton)
    layer = layers.find(viewer, paired, "folds")
    assert layer.visible
    assert splits.button.text() == "Hide the folds"
    assert splits.held.text() == found.protocols["blocks"]
    blocks = layer.face_color.copy()
    splits.protocol.box.setCurrentIndex(splits.protocol.box.findData("random"))
    assert splits.held.text() == found.protocols["random"]
    assert not np.array_equal(layer.face_color, blocks)
    splits.fold.box.setCurrentIndex(1)
    assert "held" in splits.legend.text()
    assert layer.name == f"folds · {found.evaluations['random'].folds[0].name}"
    qtbot.mouseClick(splits.button, Qt.MouseButton.LeftButton)
    assert not layer.visible
    viewer.layers.remove(layer)
    qtbot.mouseClick(splits.button, Qt.MouseButton.LeftButton)
    assert layers.find(viewer, paired, "folds").visible


def test_pairing_again_says_what_to_press(assessed, paired, data):
    assessed.state.set_paired(data[1], paired)
    assert "Press Assess" in assessed.state_line.accessibleName()
    assert not assessed.ions_group.isHidden()


def test_other_criteria_do_not_make_what_is_stale_new(assessed, paired, data, found, qtbot):
    assessed.state.set_paired(data[1], paired)
    assessed.criteria_group.expand()
    assessed.criteria.fields["least_gain"].spin.setValue(1.0)
    qtbot.waitUntil(lambda: assessed.state.learnability.counts[3] == len(found.table), timeout=PATIENCE_MS)
    assert assessed.state.work(paired).stale["learnability"] == "paired again since"
    assert "paired again since" in assessed.state_line.accessibleName()


def test_paired_again_while_assessing_is_stale_when_done(dock, paired, data, found):
    asked = dock._asked()
    dock._on_assessed(Assessed(asked, found))
    assert "learnability" not in dock.state.work(paired).stale
    dock.state.set_paired(copy(data[1]), paired)
    dock._on_assessed(Assessed(asked, found))
    assert dock.state.work(paired).stale["learnability"] == "paired again since"
    dock._on_assessed(Assessed(dock._asked(), found))
    assert "learnability" not in dock.state.work(paired).stale


@pytest.mark.parametrize("size", [9, 13])
def test_nothing_is_wider_than_the_narrowest_dock(assessed, found, size, viewer, qtbot):
    from napari.settings import get_settings

    get_settings().appearance.font_size = size
    assessed.resize(320, 700)
    assessed.criteria_group.expand()
    assessed.how_group.expand()
    assessed.state.ion = str(found.table.index[0])
    assessed.state.brushed = frozenset(found.table.index[:3])
    qtbot.wait(50)
    inner = assessed.scroll.widget()
    assert inner.minimumSizeHint().width() <= assessed.scroll.viewport().width()
