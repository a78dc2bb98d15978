"""The form made from a recipe: what it shows, what it takes, what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

from napari_st2msi.io.opening import Opening
from napari_st2msi.recipe import Evaluation, Genes, Ions, Model, Pairing
from napari_st2msi.viewer.parts.choice_words import words_for
from napari_st2msi.viewer.parts.fields import NumberField, PathField
from napari_st2msi.viewer.parts.recipe_form import RecipeForm, split_unit


@pytest.fixture
def make(qtbot: Any) -> Any:
    def made(*args: Any, **kwargs: Any) -> Any:
        form = RecipeForm(*args, **kwargs)
        qtbot.addWidget(form)
        form.show()
        qtbot.waitExposed(form)
        return form

    return made


def type_into(qtbot: Any, field: NumberField, text: str) -> None:
    field.spin.setFocus()
    field.spin.selectAll()
    qtbot.keyClicks(field.spin, text)
    qtbot.keyClick(field.spin, Qt.Key.Key_Return)


@pytest.mark.parametrize("value", [Pairing(), Genes(), Ions(), Model(), Evaluation(), Opening()])
def test_defaults_go_in_and_come_out(make: Any, value: Any) -> None:
    form = make(value)
    assert form.value == value
    assert set(form.fields) == set(type(value).model_fields)


def test_values_go_in_and_come_out(make: Any) -> None:
    value = Opening(
        name="D1", mz=(798.541, 104.1075), mz_table=Path("a.csv"), ppm=5, pixel_size_um=12.5, same_frame=True, n_peaks=7
    )
    assert make(value).value == value
    assert make(Genes(n_top=None, log1p=False)).value == Genes(n_top=None, log1p=False)
    assert make(Evaluation(buffer_um=0)).value.buffer_um == 0


def test_typing_announces_a_new_model(qtbot: Any, make: Any) -> None:
    form = make(Genes())
    with qtbot.waitSignal(form.changed) as heard:
        type_into(qtbot, form.fields["n_top"], "500")
    assert heard.args == [Genes(n_top=500)]


def test_clearing_means_automatic(qtbot: Any, make: Any) -> None:
    form = make(Genes())
    spin = form.fields["n_top"].spin
    spin.setFocus()
    spin.selectAll()
    qtbot.keyClick(spin, Qt.Key.Key_Delete)
    qtbot.keyClick(spin, Qt.Key.Key_Return)
    assert form.value == Genes(n_top=None)
    assert spin.text() == "all"


def test_arrows_leave_automatic_but_do_not_return(qtbot: Any, make: Any) -> None:
    form = make(Evaluation())
    spin = form.fields["block_um"].spin
    spin.setFocus()
    qtbot.keyClick(spin, Qt.Key.Key_Up)
    assert form.value.block_um == 1
    for _ in range(50):
        qtbot.keyClick(spin, Qt.Key.Key_Down)
    assert form.value.block_um is not None
    assert form.value.block_um > 0


def test_half_typed_numbers_count(qtbot: Any, make: Any) -> None:
    form = make(Genes())
    spin = form.fields["n_top"].spin
    spin.setFocus()
    spin.selectAll()
    qtbot.keyClicks(spin, "750")
    assert form.value.n_top == 750


@pytest.mark.parametrize(("typed", "kept"), [("0.25", 0.25), ("0,25", 0.25), ("1", 1.0), ("7", 1.0), ("-3", 0.0)])
def test_limits_are_those_of_the_model(qtbot: Any, make: Any, typed: str, kept: float) -> None:
    form = make(Pairing())
    type_into(qtbot, form.fields["min_coverage"], typed)
    assert form.value.min_coverage == kept


def test_thousands_are_understood(qtbot: Any, make: Any) -> None:
    form = make(Genes())
    type_into(qtbot, form.fields["n_top"], "3,000")
    assert form.value.n_top == 3000


def test_what_cannot_be_is_refused_in_words(qtbot: Any, make: Any) -> None:
    form = make(Opening())
    edit = form.fields["mz"].edit
    with qtbot.waitSignal(form.refused) as heard:
        qtbot.keyClicks(edit, "798.5 lipid")
        qtbot.keyClick(edit, Qt.Key.Key_Return)
    assert "m/z wanted" in heard.args[0]
    assert "lipid" in form.reason
    assert form.value == Opening()
    edit.clear()
    with qtbot.waitSignal(form.refused) as heard:
        qtbot.keyClicks(edit, "798.54; 104.1")
        qtbot.keyClick(edit, Qt.Key.Key_Return)
    assert heard.args == [""]
    assert form.value.mz == (798.54, 104.1)


def test_ranges_are_written_as_people_do(qtbot: Any, make: Any) -> None:
    form = make(Model())
    edit = form.fields["alphas"].edit
    edit.clear()
    qtbot.keyClicks(edit, "10 to 1e5")
    qtbot.keyClick(edit, Qt.Key.Key_Return)
    assert form.value.alphas == (10.0, 1e5)


def test_only_what_matters_is_shown(make: Any) -> None:
    form = make(Pairing(), shown_when={"radius_um": lambda chosen: chosen["method"] == "radius"})
    assert not form.fields["radius_um"].isVisible()
    form.fields["method"].box.setCurrentText(words_for("radius"))
    assert form.fields["radius_um"].isVisible()
    assert form.value.method == "radius"


def test_labels_units_and_hints_are_those_of_the_model(make: Any) -> None:
    form = make(Pairing())
    radius = form.fields["radius_um"]
    assert radius.spin.text() == "50 µm"
    assert "how far a pixel" in radius.toolTip()
    assert radius.spin.accessibleName() == "Radius"
    assert split_unit("Tolerance (ppm)") == ("Tolerance", "ppm")
    assert split_unit("µm per unit") == ("µm per unit", "")


def test_the_wheel_scrolls_the_dock_instead(make: Any) -> None:
    form = make(Pairing())
    spin = form.fields["radius_um"].spin
    spin.clearFocus()
    where = QPointF(spin.rect().center())
    QApplication.sendEvent(
        spin,
        QWheelEvent(
            where,
            where,
            QPoint(),
            QPoint(0, 120),
            Qt.MouseButton.NoButton,
            Qt.KeyboardModifier.NoModifier,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        ),
    )
    assert form.value == Pairing()


def test_choices_given_by_the_data(qtbot: Any, make: Any) -> None:
    form = make(Evaluation(), choices={"group": [("section", "section")]})
    form.set_choices("group", [("section", "section (2)"), ("donor", "donor (3)")])
    assert form.value.group == "section"
    with qtbot.waitSignal(form.changed):
        form.fields["group"].box.setCurrentText("donor (3)")
    assert form.value.group == "donor"
    form.set_value(Evaluation(group="region"))
    assert form.fields["group"].box.currentText() == "region"


def test_setting_is_not_announced(qtbot: Any, make: Any) -> None:
    form = make(Genes())
    with qtbot.assertNotEmitted(form.changed):
        form.set_value(Genes(n_top=9))
    assert form.value == Genes(n_top=9)


def test_a_path_is_typed_with_quotes_or_tilde(qtbot: Any) -> None:
    field = PathField()
    qtbot.addWidget(field)
    field.edit.setText('"/tmp/a b.h5ad"')
    assert field.value() == Path("/tmp/a b.h5ad")
    field.edit.setText("~/x")
    assert field.value() == Path.home() / "x"
    field.edit.clear()
    assert field.value() is None


def test_placeholder_gives_way_to_typing(qtbot: Any, make: Any) -> None:
    form = make(Evaluation())
    spin = form.fields["block_um"].spin
    form.activateWindow()
    spin.setFocus()
    QTest.qWait(20)
    qtbot.keyClicks(spin, "500")
    qtbot.keyClick(spin, Qt.Key.Key_Return)
    assert form.value.block_um == 500
