"""One benchmark at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_st2msi.errors import FileProblem

_LOCK = ".lock"


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other benchmarks out of a folder meanwhile: its plan and its tables are of one config.

    What single combinations write, `run_one` may write at any time: results and checkpoints lie under the key of their
    content, and are whole or not there. The lock is the system's and ends with the process that holds it, however that
    ends. On disks that know no locks, the file `.lock` stands for it, and is taken over where the process it names
    is gone from this computer.

    Parameters
    ----------
    out
        The folder; made where it is missing.

    Raises
    ------
    FileProblem
        Another benchmark is writing there, or the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(out / _LOCK)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise FileProblem(
            f"Another benchmark is writing into '{out}'. Wait until it is done, or choose another folder."
        ) from error
    except OSError as error:
        raise FileProblem(f"'{out}' cannot be written: {error.strerror or error}.") from error
    try:
        yield
    finally:
        lock.release()
