from __future__ import annotations

import pytest

from napari_st2msi.benchmarking.benchmark import Benchmark, benchmark
from tiny_benchmark import tiny


@pytest.fixture(scope="session")
def done(tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    """The tiny benchmark, run in this process."""
    return benchmark(tiny(), tmp_path_factory.mktemp("benchmark") / "here")
