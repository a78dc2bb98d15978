"""What ions are like, against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from napari_st2msi import PairedDataset
from napari_st2msi.evaluation.properties import CLASS_COLUMNS, PROPERTIES, chemical_classes, lipid_class, properties
from napari_st2msi.recipe import Ions

RNG = np.random.default_rng(0)
XY = 100.0 * np.argwhere(np.ones((20, 20)))


def paired(values: np.ndarray, **var: object) -> PairedDataset:
    genes = AnnData(np.ones((len(values), 1), dtype=np.float32), obsm={"spatial": XY[: len(values)]})
    ions = AnnData(values.astype(np.float32), var=pd.DataFrame(var, index=[f"i{k}" for k in range(values.shape[1])]))
    return PairedDataset(genes, ions)


def test_each_property_is_what_it_says() -> None:
    smooth = np.exp(XY[:, 0] / 1000)
    rare = np.where(np.arange(400) < 40, 1000.0, 0.0)
    uniform = np.linspace(1.0, 100.0, 400)[RNG.permutation(400)]
    constant = np.full(400, 5.0)
    data = paired(np.column_stack([smooth, rare, uniform, constant]), mz=[1.0, 2, 3, 4])
    ceiling = pd.Series([0.9, 0.5, 0.0], index=["i0", "i1", "i2"])
    found = properties(data, Ions(log1p=False), ceiling=ceiling)
    assert list(found.columns) == [*PROPERTIES, "class"]
    assert found["moran_i"]["i0"] > 0.95
    assert abs(found["moran_i"]["i2"]) < 0.15
    assert found["sparsity"].tolist() == [0, 0.9, 0, 0]
    assert found["dynamic_range"]["i2"] == pytest.approx(np.log10(99.0 / 2.0), abs=0.02)
    assert found["skewness"]["i1"] == pytest.approx((1 - 0.2) / np.sqrt(0.09), rel=1e-6)
    assert found["entropy"]["i2"] == pytest.approx(5.0, abs=0.01)  # 32 bins, evenly filled
    assert found["entropy"]["i1"] == pytest.approx(-(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9)))
    assert found["mean_intensity"]["i1"] == pytest.approx(100)
    assert found["signal_to_noise"]["i2"] == pytest.approx(uniform.mean() / uniform.std(), rel=1e-4)
    assert found["signal_to_noise"]["i1"] == pytest.approx(100 / (300 * np.sqrt(0.5)), rel=1e-4)
    assert found.loc["i3", ["moran_i", "skewness", "entropy", "ceiling"]].isna().all()


def test_spots_without_ions_do_not_count() -> None:
    values = RNG.lognormal(size=(400, 2))
    values[:30] = np.nan
    found = properties(paired(values, mz=[1.0, 2.0]))
    assert (found["sparsity"] == 0).all()
    assert np.allclose(found["mean_intensity"], values[30:].mean(axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("PC(34:1)", "PC"),
        ("PC 34:1", "PC"),
        ("LPE(18:0)", "LPE"),
        ("Cer(d18:1/16:0)", "Cer"),
        ("SM d36:1", "SM"),
        ("PE(O-36:2)", "PE"),
        ("PC(16:0/18:1)", "PC"),
        ("PC(34:1); PC(32:0)", "PC"),
        ("PC(34:1); PE(37:1)", ""),
        ("Taurine", ""),
        ("", ""),
    ],
)
def test_lipid_classes_are_read_from_names(name: str, said: str) -> None:
    assert lipid_class(name) == said


def test_annotated_classes_come_first() -> None:
    values = RNG.lognormal(size=(9, 2))
    for column in CLASS_COLUMNS:
        data = paired(values, mz=[1.0, 2.0], name=["PC(34:1)", "x"], **{column.title(): ["lipid ", None]})
        assert chemical_classes(data.ions) == ["lipid", ""]
