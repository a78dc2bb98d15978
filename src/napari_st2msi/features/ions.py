"""The scale on which models learn ions; fitted on training spots only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from napari_st2msi.errors import DataProblem, ModelProblem
from napari_st2msi.features.presence import floors
from napari_st2msi.paired import check_values, dense
from napari_st2msi.recipe import Ions

if TYPE_CHECKING:
    from anndata import AnnData


class IonScale:
    """From measured intensities to the scale models learn on, and back.

    With normalisation ``tic`` each spot is divided by its total ion current and multiplied by the
    median total of the training spots; the way back leads to these normalised intensities.

    Whether an ion is present is decided on intensities as measured, before normalisation. Where little of an
    ion is still something, because the recipe's rule counts what is low as noise, the learning scale is
    counted from the mean of the spots without the ion: so 0 stands for an absent ion whatever the rule, and
    presence times intensity is an expected value.

    Parameters
    ----------
    choices
        The part of the recipe about ions.

    Attributes
    ----------
    reference_
        Median total ion current of the training spots.
    floor_
        (ions,) the measured intensity above which each ion is present; see
        `napari_st2msi.features.presence.floors`.
    background_
        (ions,) mean of the training spots without the ion, on the scale of `compress` if it were 0; 0 where
        the floor is.
    n_present_
        (ions,) in how many training spots each ion is present.
    n_spots_
        Number of training spots.
    chosen_
        (ions,) whether an ion is among the most variable that the recipe asks for; all without a number.
    """

    def __init__(self, choices: Ions | None = None) -> None:
        self.choices = Ions() if choices is None else choices
        self.background_: NDArray[np.float64] = np.zeros(1)

    def fit(self, ions: AnnData) -> Self:
        """Learn the reference and the presence of each ion from training spots (spots × ions).

        Raises
        ------
        DataProblem
            Values are NaN, infinite or negative.
        """
        values = _checked(ions)
        totals = values.sum(axis=1)
        self.reference_ = float(np.median(totals[totals > 0])) if (totals > 0).any() else 1.0
        self.floor_: NDArray[np.float64] = floors(values, self.choices)
        present = values > self.floor_
        self.n_present_: NDArray[np.int64] = present.sum(axis=0)
        self.n_spots_ = int(ions.n_obs)
        self.var_: pd.DataFrame = ions.var.copy()
        enough = self.n_present_ >= self.choices.min_spots
        self.chosen_: NDArray[np.bool_] = np.ones(ions.n_vars, dtype=bool)
        if self.choices.n_top is not None and self.choices.n_top < enough.sum():
            spread = np.where(enough, self._scaled(values).var(axis=0), -1.0)
            self.chosen_[:] = False
            self.chosen_[np.argsort(-spread, kind="stable")[: self.choices.n_top]] = True
        self.background_ = np.zeros(ions.n_vars)
        if self.floor_.any():
            low = np.where(present, 0.0, self._scaled(values)).sum(axis=0)
            self.background_ = low / np.maximum((~present).sum(axis=0), 1)
        return self

    @property
    def learnable_(self) -> NDArray[np.bool_]:
        """(ions,) whether an ion is to be learned: present in enough training spots, and chosen."""
        return (self.n_present_ >= self.choices.min_spots) & self.chosen_

    def present(self, ions: AnnData) -> NDArray[np.bool_]:
        """Return (spots, ions) whether each ion is present, by what was learned from training spots.

        Raises
        ------
        DataProblem
            As `forward`.
        """
        return self._known(ions) > self.floor_

    def forward(self, ions: AnnData) -> NDArray[np.float64]:
        """Return (spots, ions) float64 on the scale models learn on.

        Raises
        ------
        DataProblem
            The ions are not those of training, or values are NaN, infinite or negative.
        """
        return self._scaled(self._known(ions))

    def compress(self, intensities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Bring (normalised) intensities, such as a prediction, onto the learning scale."""
        values: NDArray[np.float64] = np.asarray(intensities, dtype=np.float64)
        return (np.log1p(values) if self.choices.log1p else values) - self.background_

    def inverse(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return (normalised) intensities, never below 0, from values on the learning scale."""
        positive = np.maximum(np.asarray(values, dtype=np.float64) + self.background_, 0.0)
        return np.expm1(positive) if self.choices.log1p else positive

    def _known(self, ions: AnnData) -> NDArray[np.float64]:
        """Return the measured intensities of the ions of training."""
        if not ions.var_names.equals(self.var_.index):
            raise DataProblem("The ions differ from those of the training spots. Use the same ions in the same order.")
        return _checked(ions)

    def _scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.choices.normalisation == "tic":
            totals = values.sum(axis=1, keepdims=True)
            values = np.where(totals > 0, values * (self.reference_ / np.maximum(totals, 1e-300)), 0.0)
        return self.compress(values)

    def state(self) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
        """Return everything fitted as JSON values and named arrays."""
        facts = {
            "choices": self.choices.model_dump(mode="json"),
            "reference": self.reference_,
            "n_spots": self.n_spots_,
            "var": frame_to_json(self.var_),
        }
        arrays = {"n_present": self.n_present_, "chosen": self.chosen_}
        return facts, arrays | {"floor": self.floor_, "background": self.background_}

    def restore(self, facts: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Self:
        """Take back what `state` returned."""
        self.choices = Ions.model_validate(facts["choices"])
        self.reference_, self.n_spots_ = float(facts["reference"]), int(facts["n_spots"])
        self.n_present_, self.chosen_ = arrays["n_present"], arrays["chosen"]
        self.floor_, self.background_ = arrays["floor"], arrays["background"]
        self.var_ = frame_from_json(facts["var"])
        fitted = (self.n_present_, self.chosen_, self.floor_, self.background_)
        if any(len(values) != len(self.var_) for values in fitted):
            raise ModelProblem("The model's ion names and their counts differ in number.")
        return self


def frame_to_json(frame: pd.DataFrame) -> dict[str, Any]:
    """Return a table as JSON values: index and columns of numbers, booleans or text; NaN becomes null."""
    columns: dict[str, list[Any]] = {}
    for name in frame.columns:
        column = frame[name]
        if pd.api.types.is_bool_dtype(column):
            columns[str(name)] = [bool(value) for value in column]
        elif pd.api.types.is_integer_dtype(column):
            columns[str(name)] = [int(value) for value in column]
        elif pd.api.types.is_float_dtype(column):
            columns[str(name)] = [float(value) if np.isfinite(value) else None for value in column]
        else:
            columns[str(name)] = [str(value) for value in column]
    return {"index": [str(name) for name in frame.index], "columns": columns}


def frame_from_json(facts: dict[str, Any]) -> pd.DataFrame:
    """Take back what `frame_to_json` returned.

    Raises
    ------
    ModelProblem
        Columns differ in length.
    """
    index = pd.Index(facts["index"], dtype=object)
    if any(len(values) != len(index) for values in facts["columns"].values()):
        raise ModelProblem("A table of the model has columns of different lengths.")
    columns = {
        name: pd.Series(values, index=index, dtype=float if None in values else None)
        for name, values in facts["columns"].items()
    }
    return pd.DataFrame(columns, index=index)


def _checked(ions: AnnData) -> NDArray[np.float64]:
    check_values(ions.X, "ions")
    return dense(ions.X).astype(np.float64)
