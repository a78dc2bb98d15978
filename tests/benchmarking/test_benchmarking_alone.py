from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from command_line import refused, result
from napari_st2msi.benchmarking.alone import alone
from napari_st2msi.benchmarking.benchmark import Benchmark, benchmark, gather
from napari_st2msi.errors import FileProblem

_HOLD = """
import sys
from pathlib import Path
from napari_st2msi.benchmarking.alone import alone
with alone(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that writes into the folder ``out``."""
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "out")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_two_benchmarks_never_write_into_one_folder(
    held: subprocess.Popen[str], done: Benchmark, tmp_path: Path
) -> None:
    out, config = tmp_path / "out", tmp_path / "tiny.yaml"
    config.write_text(done.config.to_yaml())
    done.plan.write(out)
    before = sorted(out.iterdir())
    with pytest.raises(FileProblem, match=r"Another benchmark is writing into '.*out'. Wait until it is done"):
        benchmark(done.config, out)
    with pytest.raises(FileProblem, match="Another benchmark"):
        gather(out)
    assert "Another benchmark" in refused("benchmark-plan", config, "--out", out)
    assert "Another benchmark" in refused("benchmark-gather", out)
    assert sorted(out.iterdir()) == before
    # A workflow holds the folder for its jobs.
    assert result("benchmark-plan", config, "--out", out, "--held")["combinations"]
    assert result("benchmark-gather", out, "--held")["done"] == 0
    # However its process ends, the folder is free.
    held.kill()
    held.wait()
    assert gather(out).plan.planned == done.plan.planned


def test_in_one_program_too(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(FileProblem, match="Another benchmark"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FileProblem, match="cannot be written"), alone(tmp_path / "file" / "out"):
        pass


def test_a_folder_without_benchmark_stays_untouched(tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match="holds no results of a benchmark"):
        gather(tmp_path / "none")
    assert not (tmp_path / "none").exists()
