"""Bytes from a server to a file: continued after an interruption, checked, and in place only when whole."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.public.records import PATIENCE, RemoteFile, connect
from napari_st2msi.progress import Progress, check, never

_BLOCK = 1 << 20
#: How often a connection that brings nothing is taken up again before giving up, and the pause that grows.
_TRIES, _PAUSE_S = 4, 0.5


def fetch(
    file: RemoteFile,
    folder: Path,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Path:
    """Download one file and check it; a file that is there and right is not downloaded again.

    What has come so far is kept in a hidden file beside it, from which the next call goes on.

    Returns
    -------
    pathlib.Path
        ``folder / file.name``.

    Raises
    ------
    FileProblem
        Another file of that name is there, the disk has no room, the connection cannot be kept, or what came is
        not what the record lists. Nothing of that name is written then.
    Cancelled
        The user stopped it; what has come so far is kept.
    """
    import pooch
    import requests

    target = folder / file.name
    if target.exists():
        progress(0.0, f"checking {file.name}")
        if target.is_file() and target.stat().st_size == file.size and is_right(target, file.checksum, cancelled):
            progress(1.0, f"{file.name} is there")
            return target
        raise FileProblem(f"'{target}' is there already and is not the file of the record. Move it away first.")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblem(f"'{target.parent}' cannot be made: {error.strerror or error}.") from error
    # The checksum is in the name: what came of another version of the file is not continued.
    part = target.parent / f".{target.name}.{file.checksum.partition(':')[2][:12]}.part"
    require_room(target.parent, file.size - (part.stat().st_size if part.exists() else 0), file.name)
    pooch.get_logger().setLevel("WARNING")  # it is not known to `logging`, and says where bytes come from
    try:
        pooch.retrieve(
            file.url, file.checksum, target.name, target.parent, downloader=_Continued(part, file, progress, cancelled)
        )
    except requests.RequestException as error:
        raise FileProblem(
            f"The connection broke while '{file.name}' came ({part.stat().st_size if part.exists() else 0:,} of "
            f"{file.size:,} bytes). Start again to go on from there."
        ) from error
    except ValueError as error:
        raise FileProblem(
            f"'{file.name}' came with another checksum than the record lists ({file.checksum}): it was damaged on "
            "the way, or the server sent something else. It was thrown away; try again."
        ) from error
    except OSError as error:
        raise FileProblem(_not_written(error, target)) from error
    return target


def is_right(path: Path, checksum: str, cancelled: Callable[[], bool] = never) -> bool:
    """Tell whether a file has a checksum ``algorithm:digest``."""
    kind, _, digest = checksum.partition(":")
    seen = hashlib.new(kind)
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            check(cancelled)
            seen.update(block)
    return seen.hexdigest() == digest


def require_room(folder: Path, size: int, what: str) -> None:
    """Refuse what does not fit on the disk.

    Raises
    ------
    FileProblem
        Less than `size` bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if size > free:
        raise FileProblem(f"'{what}' needs {size / 1e9:.2f} GB and '{folder}' has {free / 1e9:.2f} GB free.")


class _Continued:
    """Download as pooch wants it done, by way of a file that outlives an interruption."""

    def __init__(self, part: Path, file: RemoteFile, progress: Progress, cancelled: Callable[[], bool]) -> None:
        self._part, self._file, self._progress, self._cancelled = part, file, progress, cancelled

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:
        import requests

        self._part.touch()
        idle = 0
        while self._size() < self._file.size:
            check(self._cancelled)
            before = self._size()
            broke: requests.RequestException = requests.ConnectionError("The server stopped too early.")
            try:
                self._rest(url)
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                broke = error
            # A connection that breaks is taken up again as long as something comes.
            idle = 0 if self._size() > before else idle + 1
            if idle == _TRIES:
                raise broke
            time.sleep(_PAUSE_S * idle)
        os.replace(self._part, output_file)

    def _size(self) -> int:
        return self._part.stat().st_size

    def _rest(self, url: str) -> None:
        import requests

        have = self._size()
        # As it is stored: bytes that are compressed on the way could not be counted.
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
        with connect() as session, session.get(url, headers=headers, stream=True, timeout=PATIENCE) as answer:
            if answer.status_code >= 400:
                raise FileProblem(
                    f"The server refused '{self._file.name}' (status {answer.status_code}). Try again later."
                )
            goes_on = answer.status_code == requests.codes.partial_content
            with self._part.open("ab" if goes_on else "wb") as stream:
                written = have if goes_on else 0
                for block in answer.iter_content(_BLOCK):
                    check(self._cancelled)
                    stream.write(block)
                    written += len(block)
                    if written > self._file.size:
                        # Whatever this is, it is not the file; the checksum will say so.
                        return
                    self._progress(
                        written / self._file.size,
                        f"{self._file.name}, {written / 1e6:,.0f} of {self._file.size / 1e6:,.0f} MB",
                    )


def _not_written(error: OSError, target: Path) -> str:
    if error.errno == errno.ENOSPC:
        return f"The disk is full. Make room in '{target.parent}' and start again: what has come is kept."
    return f"'{target}' cannot be written: {error.strerror or error}."
