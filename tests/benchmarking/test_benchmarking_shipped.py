"""Every combination of the configs that come along, on a small section: `pytest -m slow` runs it, for two minutes."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from napari_st2msi.benchmarking.benchmark import benchmark
from napari_st2msi.benchmarking.config import Config

SHIPPED = Path(__file__).resolve().parents[2] / "workflow" / "config"


def scaled_down(name: str, without: Collection[str] = ()) -> Config:
    """Return a shipped config with the combinations of all other models, on few spots, genes, ions and epochs."""
    config = Config.read(SHIPPED / f"{name}.yaml")
    given = config.model_dump(exclude={"folder"})
    for data in given["data"]:
        data["simulate"] |= {"n_spots": 150, "n_genes": 120, "ions_per_kind": 2, "image_px": 128}
    given["recipe"]["evaluation"]["n_folds"] = 2
    given["recipe"]["networks"]["epochs"] = 2
    given["models"] = [each for each in given["models"] if each["name"] not in without]
    return Config.of(given)


SEVEN = scaled_down("seven_models")
# What it has beside the seven models; those see one set of features and two protocols more, which are common to all.
BESIDE = scaled_down("ours", without=[each.name for each in SEVEN.models])


@pytest.mark.slow
@pytest.mark.parametrize("config", [SEVEN, BESIDE], ids=["seven_models", "ours"])
def test_every_combination_can_be_run(config: Config, tmp_path: Path) -> None:
    found = benchmark(config, tmp_path / "out")
    assert found.failures.to_dict("records") == []
    assert len(found.leaderboard) == len(found.plan.planned)
    assert found.leaderboard["r2"].notna().all()
