"""A leaderboard that no one had to run anything for."""

from __future__ import annotations

import numpy as np
import pandas as pd

from napari_st2msi.benchmarking.leaderboard import COLUMNS, NAMES

BOARD = pd.DataFrame(
    [
        ["brain", "ridge", "hvg", "blocks", 0, 1, 20, 0.4, 0.2, 0.0, 0.0, 0.0, 0, 0, True],
        ["brain", "ridge", "svd", "blocks", 0, 2, 20, 0.38, 0.1, 0.02, -0.01, 0.05, 2, 3, True],
        ["brain", "position", "none", "blocks", 0, 3, 20, 0.1, np.nan, 0.3, 0.25, 0.35, 20, 0, False],
        ["brain", "linear", "svd", "blocks", 0, 4, 20, -9.0, -9.0, 9.4, 9.0, 9.9, 20, 0, False],
    ],
    columns=["data", "model", "features", "protocol", "seed", "rank", "n_common", "r2", "gain", "behind",
             "behind_lower", "behind_upper", "n_lower", "n_higher", "as_good"],
).reindex(columns=[*NAMES, *COLUMNS])  # fmt: skip
