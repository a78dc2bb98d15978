"""Evaluations in folders of their own: written whole or not at all, and read again without running any code."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from napari_st2msi.errors import FileProblem
from napari_st2msi.evaluation.block_errors import BlockErrors
from napari_st2msi.evaluation.result import Evaluation
from napari_st2msi.evaluation.splits import Fold

if TYPE_CHECKING:
    from anndata import AnnData

_TABLE, _ERRORS, _FACTS, _PREDICTION = "scores.parquet", "errors.npz", "facts.json", "prediction.h5ad"
# Between the predictor and its measure in names of columns; no name of a model has it.
_WITHIN = "|"


def write_evaluation(folder: Path, evaluation: Evaluation, **facts: Any) -> None:
    """Write an evaluation as a folder: scores, errors by squares of tissue, folds and the out-of-fold prediction.

    Where another process wrote it meanwhile, that one stays. What others left of it half written is removed.

    Parameters
    ----------
    facts
        Plain values to keep beside it, such as how long it took.

    Raises
    ------
    FileProblem
        The folder cannot be written, or the disk is full.
    """
    scratch = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        table = evaluation.table.copy()
        table.columns = [_WITHIN.join(map(str, column)) for column in table.columns]
        table.rename_axis("ion_id").reset_index().to_parquet(scratch / _TABLE, index=False)
        np.savez_compressed(scratch / _ERRORS, **_arrays(evaluation))
        evaluation.prediction.write_h5ad(scratch / _PREDICTION, compression="gzip")
        known = {
            "model": evaluation.model,
            "protocol": evaluation.protocol,
            "folds": [fold.name for fold in evaluation.folds],
            "sections": sorted(set(evaluation.errors.section.tolist())),
            "searches": {name: found.in_words() for name, found in evaluation.searches.items()},
            **facts,
        }
        (scratch / _FACTS).write_text(json.dumps(known, indent=1, default=_plain), encoding="utf-8")
        scratch.chmod(0o755)
        try:
            scratch.rename(folder)
        except OSError:
            if not is_written(folder):
                raise
        for other in folder.parent.glob(f".{folder.name}.*"):
            shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        raise FileProblem(f"'{folder}' cannot be written: {error.strerror or error}.") from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)


def is_written(folder: Path) -> bool:
    """Return whether there is an evaluation. It was whole when it came to this place."""
    return (folder / _FACTS).is_file()


def read_facts(folder: Path) -> dict[str, Any]:
    """Return what was kept beside an evaluation."""
    facts = _read(folder, lambda: json.loads((folder / _FACTS).read_text(encoding="utf-8")))
    return dict(facts)


def read_evaluation(folder: Path, *, values: bool = True) -> Evaluation:
    """Read an evaluation that `write_evaluation` wrote; its intervals and searches are not kept.

    Parameters
    ----------
    values
        Whether predicted values are wanted: without them, the prediction has spots and ions only, and is read at once.

    Raises
    ------
    FileProblem
        A file is missing or damaged.
    """
    facts = read_facts(folder)
    return _read(folder, lambda: _evaluation(folder, facts, values))


def read_prediction(folder: Path) -> AnnData:
    """Read the out-of-fold prediction of an evaluation.

    Raises
    ------
    FileProblem
        It is missing or damaged.
    """
    import anndata

    return _read(folder, lambda: anndata.read_h5ad(folder / _PREDICTION))


def _evaluation(folder: Path, facts: dict[str, Any], values: bool) -> Evaluation:
    from anndata import AnnData

    table = pd.read_parquet(folder / _TABLE).set_index("ion_id").rename_axis(None)
    table.columns = pd.MultiIndex.from_tuples([tuple(name.split(_WITHIN, 1)) for name in table.columns])
    with np.load(folder / _ERRORS, allow_pickle=False) as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    sse = {name.removeprefix("sse_"): kept[name] for name in kept if name.startswith("sse_")}
    errors = BlockErrors(kept["block"], kept["section"], kept["sst"], sse)
    folds = [Fold(name, kept[f"train_{number}"], kept[f"test_{number}"]) for number, name in enumerate(facts["folds"])]
    if values:
        prediction = read_prediction(folder)
    else:
        prediction = AnnData(
            obs=pd.DataFrame(index=kept["spots"].astype(str)), var=pd.DataFrame(index=table.index.astype(str))
        )
    return Evaluation(table, prediction, facts["protocol"], folds, facts["model"], errors)


def _arrays(evaluation: Evaluation) -> dict[str, Any]:
    errors = evaluation.errors
    return {
        "block": errors.block,
        "section": errors.section.astype(str),
        "sst": errors.sst,
        "spots": evaluation.prediction.obs_names.to_numpy().astype(str),
        **{f"sse_{name}": values for name, values in errors.sse.items()},
        **{f"train_{number}": fold.train for number, fold in enumerate(evaluation.folds)},
        **{f"test_{number}": fold.test for number, fold in enumerate(evaluation.folds)},
    }


def _read(folder: Path, read: Any) -> Any:
    try:
        return read()
    except (OSError, KeyError, ValueError) as error:
        words = "is missing" if isinstance(error, FileNotFoundError) else "is damaged"
        raise FileProblem(f"The result '{folder}' {words}. Remove that folder and run the benchmark again.") from error


def _plain(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)
