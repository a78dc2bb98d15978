"""`Section`: one tissue section, its ST and its MSI, in micrometres. The type everything hangs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, GeometryProblem
from napari_st2msi.grid import Grid
from napari_st2msi.ions import ion_frame
from napari_st2msi.roles import PAIRED_TABLE, PREDICTED_TABLE, Roles, detect_roles, table_regions
from napari_st2msi.shapes import Outlines, outlines_of

if TYPE_CHECKING:
    from anndata import AnnData
    from spatialdata import SpatialData

#: Coordinate system of the ST side in µm; MSI elements have it once they are registered.
SYSTEM = "st2msi"
#: Coordinate system of the MSI side in µm, before and after registration.
MSI_SYSTEM = "st2msi_msi"
#: Key of this package in `SpatialData.attrs`.
ATTRS = "st2msi"
#: Where a registration bends the MSI: columns of the bent pixels that say where their centres come to lie.
CENTRE = ("centre_x", "centre_y")
#: Columns of the ST table on how far to trust the registration at each spot (0 to 1), and the error expected (µm).
CONFIDENCE, EXPECTED_ERROR = "registration_confidence", "registration_error_um"


class Section:
    """A view over one `SpatialData` that knows what is ST, what is MSI, and where micrometres are.

    The ST side (spots, histology) lies in the coordinate system ``st2msi``, the MSI side in
    ``st2msi_msi``, both in µm. Registration adds ``st2msi`` to the MSI elements; until then the two
    sides have nothing in common and `registered` is False. Readers in `napari_st2msi.io` set these
    systems; transformations that a file came with stay beside them.

    Parameters
    ----------
    sdata
        The data. It is not copied.
    roles
        What is what; detected from the content when None.
    name
        Name of the section, used as its label wherever several are put together.
    path
        Where it was read from, if anywhere.
    notes
        What the reader had to assume, in words, shown to the user.

    Raises
    ------
    DataProblem
        A role names a table or element that is not there.
    """

    def __init__(
        self,
        sdata: SpatialData,
        roles: Roles | None = None,
        *,
        name: str = "section",
        path: Path | None = None,
        notes: tuple[str, ...] = (),
    ) -> None:
        self.sdata = sdata
        self.roles = detect_roles(sdata) if roles is None else roles
        self.name = name
        self.path = path
        self.notes = notes
        for role, element in vars(self.roles).items():
            if element is not None and element not in sdata:
                raise DataProblem(
                    f"There is no '{element}' to use as {role.replace('_', ' ')}. "
                    f"Choose one of: {', '.join(name for _, name, _ in sdata.gen_elements()) or 'nothing was found'}."
                )

    # -- ST -------------------------------------------------------------------------------------

    @cached_property
    def st(self) -> AnnData:
        """Spots × genes; `obsm["spatial"]` in µm (``st2msi``), `obs["section"]` the section's name.

        Raises
        ------
        DataProblem
            The section has no ST table.
        """
        if self.roles.st is None:
            raise DataProblem(
                f"Section '{self.name}' has no table of genes. Open ST data, or ST and MSI together; "
                "if a table here holds genes, say which when opening (Roles in the Data dock)."
            )
        return self._table(self.roles.st, self.roles.st_element, SYSTEM)

    @cached_property
    def spots(self) -> Outlines:
        """Outlines of the spots in µm (``st2msi``), in the order of `st`."""
        return self._outlines(self.st, self.roles.st_element, SYSTEM)

    @property
    def has_st(self) -> bool:
        """Whether the section has a table of genes."""
        return self.roles.st is not None

    # -- MSI ------------------------------------------------------------------------------------

    @cached_property
    def msi(self) -> AnnData:
        """Pixels × ions; `obsm["spatial"]` in µm of the MSI's own frame (``st2msi_msi``).

        Raises
        ------
        DataProblem
            The section has no MSI table.
        """
        if self.roles.msi is None:
            raise DataProblem(
                f"Section '{self.name}' has no table of ions. A table is MSI when its var carries m/z; "
                "choose it in the Data dock, or open the MSI data first."
            )
        return self._table(self.roles.msi, self.roles.msi_element, MSI_SYSTEM)

    @cached_property
    def total_ions(self) -> NDArray[np.float32]:
        """(pixels,) float32, the sum over ions; kept by `forget_caches`, which is about places and roles."""
        return np.asarray(self.msi.X.sum(axis=1), dtype=np.float32).ravel()

    @property
    def has_msi(self) -> bool:
        """Whether the section has a table of ions."""
        return self.roles.msi is not None

    @cached_property
    def ions(self) -> pd.DataFrame:
        """What is known of each ion: see `napari_st2msi.ions.ion_frame`.

        Of the MSI table; of the paired table where a section came already paired.
        """
        return ion_frame(self.msi if self.has_msi else self.paired_table)

    @cached_property
    def msi_grid(self) -> Grid | None:
        """The regular grid of the MSI pixels in ``st2msi_msi``, None when they lie on none."""
        return Grid.from_points(np.asarray(self.msi.obsm["spatial"]))

    @property
    def msi_to_st(self) -> NDArray[np.float64] | None:
        """(3, 3) affine from ``st2msi_msi`` to ``st2msi`` in µm; None until registered.

        Where the registration bends the MSI this is the nearest affine; `pixels` and `msi_xy_in_st` are exact.
        """
        if not self.has_msi or self.roles.msi_element is None:
            return None
        own = self._matrix(self.roles.msi_element, MSI_SYSTEM)
        common = self._matrix(self.roles.msi_element, SYSTEM)
        if own is None or common is None:
            return None
        return np.asarray(common @ np.linalg.inv(own), dtype=float)

    @property
    def registered(self) -> bool:
        """Whether MSI lies over ST."""
        return self.msi_to_st is not None

    @property
    def warped_element(self) -> str | None:
        """Name of the element with the pixels' outlines over the ST, where no affine says it exactly; else None.

        A registration that bends the MSI puts it there, and it counts while the MSI lies as that
        registration laid it: not after another tool aligned it anew.
        """
        laid, matrix = self.attrs.get("warped"), self.msi_to_st
        if not laid or matrix is None or self.roles.msi_element is None:
            return None
        name = warped_name(self.roles.msi_element)
        holds = laid.get("element") == name and name in self.sdata and same_place(laid.get("msi_to_st"), matrix)
        return name if holds else None

    @property
    def msi_xy_in_st(self) -> NDArray[np.float64]:
        """(pixels, 2) centres of the MSI pixels in µm of the ST (``st2msi``), exact also where MSI is bent.

        Raises
        ------
        GeometryProblem
            The section is not registered.
        """
        matrix = self.msi_to_st
        if matrix is None or self.warped_element is not None:
            return self.pixels(SYSTEM).centres
        centres = np.asarray(self.msi.obsm["spatial"], dtype=float)
        return centres @ matrix[:2, :2].T + matrix[:2, 2]

    def pixels(self, system: str = SYSTEM) -> Outlines:
        """Outlines of the MSI pixels in µm; over the ST they are exact also where the registration bends them.

        Parameters
        ----------
        system
            ``st2msi`` (over the ST, needs registration) or ``st2msi_msi`` (their own frame).

        Raises
        ------
        GeometryProblem
            Asked for ``st2msi`` before the section was registered.
        """
        if system == SYSTEM and not self.registered:
            raise GeometryProblem(
                f"MSI and ST of section '{self.name}' are not registered yet, so it is unknown which pixel "
                "lies over which spot. Register first: with landmarks, or by saying that both share one frame."
            )
        if system == SYSTEM and (warped := self.warped_element) is not None:
            return self._warped(warped)
        return self._outlines(self.msi, self.roles.msi_element, system)

    # -- what pairing and prediction left -------------------------------------------------------

    @property
    def paired_table(self) -> AnnData:
        """The table `msi_on_st` as it is: paired spots × ions.

        Raises
        ------
        DataProblem
            The section was not paired yet.
        """
        if PAIRED_TABLE not in self.sdata.tables:
            raise DataProblem(f"Section '{self.name}' is not paired yet. Pair MSI pixels with ST spots first.")
        return self.sdata.tables[PAIRED_TABLE]

    @property
    def paired(self) -> bool:
        """Whether the section carries paired ions."""
        return PAIRED_TABLE in self.sdata.tables

    @property
    def predicted(self) -> AnnData | None:
        """The table `msi_predicted`, or None."""
        return self.sdata.tables.get(PREDICTED_TABLE)

    # -- bookkeeping ----------------------------------------------------------------------------

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What this package remembers in the file: registration, pairing (plain JSON values)."""
        return dict(self.sdata.attrs.get(ATTRS, {}))

    def remember(self, **facts: Any) -> None:
        """Keep facts (plain JSON values) in `SpatialData.attrs` under this package's key."""
        self.sdata.attrs[ATTRS] = {**self.attrs, **facts}

    def forget_caches(self) -> None:
        """Drop what was derived, after the SpatialData changed underneath."""
        for key in ("st", "spots", "msi", "ions", "msi_grid"):
            self.__dict__.pop(key, None)

    def summary(self) -> dict[str, Any]:
        """Return what was found, as plain values: counts, µm, roles, notes. No pixel is read."""
        facts: dict[str, Any] = {
            "name": self.name,
            "path": None if self.path is None else str(self.path),
            "roles": vars(self.roles).copy(),
            "registered": self.registered,
            "paired": self.paired,
            "notes": list(self.notes),
        }
        if self.has_st:
            facts["spots"], facts["genes"] = self.st.shape
            facts["spot_diameter_um"] = self.spots.diameter
        if self.has_msi:
            facts["pixels"], facts["ions"] = self.msi.shape
            facts["pixel_size_um"] = self.pixels(MSI_SYSTEM).diameter
            facts["mz_range"] = [float(self.ions.mz.min()), float(self.ions.mz.max())]
            facts["regular_grid"] = self.msi_grid is not None
        elif self.paired:
            facts["ions"] = self.paired_table.n_vars
        return facts

    def __repr__(self) -> str:
        parts = [f"Section '{self.name}'"]
        if self.has_st:
            parts.append(f"{self.st.n_obs:,} spots × {self.st.n_vars:,} genes")
        if self.has_msi:
            parts.append(f"{self.msi.n_obs:,} pixels × {self.msi.n_vars:,} ions")
            parts.append("registered" if self.registered else "not registered")
        if self.paired:
            parts.append(f"{self.paired_table.n_obs:,} paired spots")
        return " · ".join(parts)

    def _table(self, name: str, element: str | None, system: str) -> AnnData:
        """Return the rows of a table that annotate `element`, with positions in µm."""
        table = self.sdata.tables[name]
        if element is None:
            raise GeometryProblem(
                f"Table '{name}' is not linked to any element, so its positions are unknown. "
                "Choose the shapes or points that it annotates in the Data dock."
            )
        if len(table_regions(table)) > 1:
            table = table[table.obs[table.uns["spatialdata_attrs"]["region_key"]] == element]
        table = table.copy() if table.is_view else _shallow(table)
        table.obsm["spatial"] = self._outlines(table, element, system).centres
        if "section" not in table.obs:
            table.obs["section"] = pd.Categorical([self.name] * table.n_obs)
        return table

    def _outlines(self, table: AnnData, element: str | None, system: str) -> Outlines:
        assert element is not None
        matrix = self._matrix(element, system)
        if matrix is None:
            raise GeometryProblem(
                f"Nothing says how '{element}' lies in micrometres. Open it again with its size in µm."
            )
        key = table.uns["spatialdata_attrs"]["instance_key"]
        return outlines_of(self.sdata[element], table.obs[key].to_numpy(), matrix, name=element)

    def _warped(self, name: str) -> Outlines:
        """Return bent pixels with the centres that were transformed, which are not quite the polygons' centroids."""
        outlines, element = self._outlines(self.msi, name, SYSTEM), self.sdata[name]
        if not set(CENTRE) <= set(element.columns):
            return outlines
        key = self.msi.uns["spatialdata_attrs"]["instance_key"]
        centres = element.loc[self.msi.obs[key].to_numpy(), list(CENTRE)].to_numpy(dtype=float)
        matrix = self._matrix(name, SYSTEM)
        assert matrix is not None
        return replace(outlines, centres=centres @ matrix[:2, :2].T + matrix[:2, 2])

    def _matrix(self, element: str, system: str) -> NDArray[np.float64] | None:
        from spatialdata.transformations import get_transformation

        known = get_transformation(self.sdata[element], get_all=True)
        if system not in known:
            return None
        matrix = known[system].to_affine_matrix(("x", "y"), ("x", "y"))
        return np.asarray(matrix, dtype=float)


def warped_name(element: str) -> str:
    """Return the name of the element that holds the bent pixels of another."""
    return f"{element}_warped"


def same_place(one: Any, other: NDArray[np.float64]) -> bool:
    """Tell whether two (3, 3) affines in µm put a section of some cm at the same place, to a hundredth of a µm."""
    if np.shape(one) != (3, 3):
        return False
    away = np.abs(np.asarray(one, dtype=float) - other)
    return bool((away[:2, :2] < 1e-7).all() and (away[:2, 2] < 1e-2).all())


def _shallow(table: AnnData) -> AnnData:
    """Return a table that shares X but may be given new `obs` columns and `obsm` safely."""
    from anndata import AnnData

    return AnnData(
        X=table.X,
        obs=table.obs.copy(),
        var=table.var,
        layers=dict(table.layers),
        obsm=dict(table.obsm),
        uns=dict(table.uns),
    )
