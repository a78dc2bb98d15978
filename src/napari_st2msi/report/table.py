"""Scores and predictions as files that spreadsheets and scripts read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.one_file import replacing
from napari_st2msi.paired import dense

if TYPE_CHECKING:
    from anndata import AnnData

    from napari_st2msi.evaluation.result import Evaluation


def write_table(path: str | Path, evaluation: Evaluation) -> Path:
    """Write the scores of all ions as CSV, one ion a row.

    Raises
    ------
    FileProblem
        The file cannot be written.
    """
    return write_whole(path, lambda file: evaluation.flat().to_csv(file, index_label="ion", float_format="%.6g"))


def write_frame(path: str | Path, frame: pd.DataFrame) -> Path:
    """Write a table without its index as CSV or Parquet, as the name ends.

    Raises
    ------
    FileProblem
        The file cannot be written, or its name ends in neither .csv nor .parquet.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        return write_whole(path, lambda file: frame.to_parquet(file, index=False))
    if path.suffix == ".csv":
        return write_whole(path, lambda file: frame.to_csv(file, index=False, float_format="%.6g"))
    raise FileProblem(f"'{path}' is of no kind that tables are written as. End it in .csv or .parquet.")


def write_prediction(path: str | Path, prediction: AnnData) -> Path:
    """Write a prediction as h5ad, or as CSV: spot, section, x and y in µm, then a column for each ion.

    Raises
    ------
    FileProblem
        The file cannot be written, or its name ends in neither .h5ad nor .csv.
    """
    path = Path(path)
    if path.suffix == ".h5ad":
        return write_whole(path, lambda file: prediction.write_h5ad(file))
    if path.suffix == ".csv":
        return write_whole(path, lambda file: _frame(prediction).to_csv(file, index_label="spot", float_format="%.6g"))
    raise FileProblem(f"'{path}' is of no kind that predictions are written as. End it in .h5ad or .csv.")


def write_whole(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Write a file beside its place and move it there when it is whole.

    Raises
    ------
    FileProblem
        The folder does not exist or cannot be written, or the disk is full.
    """
    path = Path(path)
    with replacing(path) as beside:
        write(beside)
    return path


def _frame(prediction: AnnData) -> pd.DataFrame:
    frame = pd.DataFrame(dense(prediction.X), index=prediction.obs_names, columns=prediction.var_names)
    xy = prediction.obsm["spatial"]
    frame.insert(0, "section", prediction.obs["section"].astype(str))
    frame.insert(1, "x_um", xy[:, 0])
    frame.insert(2, "y_um", xy[:, 1])
    return frame
