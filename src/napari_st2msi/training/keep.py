"""A prediction as a table of the section, beside the measured one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.errors import DataProblem
from napari_st2msi.io.build import free_name
from napari_st2msi.roles import PREDICTED_TABLE
from napari_st2msi.section import Section

if TYPE_CHECKING:
    from anndata import AnnData


def keep_prediction(section: Section, prediction: AnnData) -> None:
    """Put a prediction into the section as table `msi_predicted`, on the spots of that section.

    The table annotates the element of the ST table by the same instances. Of a prediction for
    several sections, the spots of this one are taken.

    Parameters
    ----------
    section
        Its SpatialData gets the table; an older one is replaced. Nothing is written to disk.
    prediction
        Spots × ions; see `napari_st2msi.models.base.prediction`.

    Raises
    ------
    DataProblem
        None of the predicted spots is in the section.
    """
    from anndata import AnnData
    from spatialdata.models import TableModel

    st = section.st
    assert section.roles.st is not None
    source = section.sdata.tables[section.roles.st].uns["spatialdata_attrs"]
    rows, instances = _matching(section, prediction)
    if not len(rows):
        raise DataProblem(
            f"None of the {prediction.n_obs:,} predicted spots is in section '{section.name}'. "
            "Choose the section that was predicted."
        )
    obs = prediction.obs.iloc[rows].drop(columns=[source["region_key"], source["instance_key"]], errors="ignore").copy()
    region, key = (free_name(name, obs.columns) for name in ("region", "instance"))
    obs[region] = pd.Categorical([section.roles.st_element] * len(rows))
    obs[key] = st.obs[source["instance_key"]].to_numpy()[instances]
    table = AnnData(
        X=prediction.X[rows],
        obs=_plain(obs),
        var=_plain(prediction.var.copy()),
        layers={name: prediction.layers[name][rows] for name in prediction.layers},
        obsm={"spatial": np.asarray(prediction.obsm["spatial"], dtype=float)[rows]},
        uns={"provenance": _plain_values(dict(prediction.uns.get("provenance", {})))},
    )
    parsed = TableModel.parse(table, region=section.roles.st_element, region_key=region, instance_key=key)
    section.sdata.tables[PREDICTED_TABLE] = parsed


def _matching(section: Section, prediction: AnnData) -> tuple[Any, Any]:
    """Return positions of the predicted spots of this section, and their positions in its ST table.

    Names may carry the section in front, as `PairedDataset.concat` writes them where names clash.
    """
    rows = np.arange(prediction.n_obs)
    if "section" in prediction.obs:
        own = (prediction.obs["section"].astype(str) == section.name).to_numpy()
        # A section opened under another name is still known by its spots.
        rows = rows[own] if own.any() else rows
    names = prediction.obs_names[rows]
    found = section.st.obs_names.get_indexer(names)
    if (found < 0).all():
        found = section.st.obs_names.get_indexer(names.str.removeprefix(f"{section.name}:"))
    return rows[found >= 0], found[found >= 0]


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Return columns that survive being written: numbers, booleans, categories and text."""
    frame.columns = [str(name) for name in frame.columns]
    for name in frame.columns:
        if frame[name].dtype == object:
            frame[name] = frame[name].astype(str)
    frame.index = frame.index.astype(str)
    return frame


def _plain_values(facts: dict[str, Any]) -> dict[str, Any]:
    """Return values that survive being written; None becomes empty text."""
    plain: dict[str, Any] = {}
    for key, value in facts.items():
        if isinstance(value, dict):
            plain[str(key)] = _plain_values(value)
        elif value is None:
            plain[str(key)] = ""
        elif isinstance(value, (bool, int, float, str, np.generic)):
            plain[str(key)] = value
        else:
            plain[str(key)] = str(value)
    return plain
