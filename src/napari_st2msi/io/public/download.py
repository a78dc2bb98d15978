"""Download public paired data by name: look it up, fetch, check, unpack, and say what can be opened."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.one_file import write_texts
from napari_st2msi.io.public.catalogue import PublicData, public_data
from napari_st2msi.io.public.layouts import sections_in
from napari_st2msi.io.public.records import Record, RemoteFile, look_up
from napari_st2msi.io.public.transfer import fetch, require_room
from napari_st2msi.io.public.unpack import unpack
from napari_st2msi.progress import Progress, check, never

#: What is written beside the files: where they are from, and under which licence.
SOURCE = "SOURCE.json"


def public_record(name: str | PublicData) -> Record:
    """Return what a public data set holds now: licence, files, sizes, checksums; nothing is downloaded.

    Parameters
    ----------
    name
        ``sma``, ``spamtp``, ``desium``, or a record of your own.

    Raises
    ------
    FileProblem
        There is none of that name, or its repository cannot be reached or understood.
    """
    return look_up(public_data(name) if isinstance(name, str) else name)


def download(
    name: str | PublicData | Record,
    folder: Path | str,
    files: Sequence[str] = (),
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> list[Path]:
    """Download a public data set, check every file against its checksum, and unpack archives.

    Calling it again goes on where it was interrupted, and downloads nothing that is there and right.
    `SOURCE.json` in the folder keeps DOI, licence, paper and checksums.

    Parameters
    ----------
    name
        ``sma``, ``spamtp``, ``desium``; or what `public_record` returned.
    folder
        Where to put it; made if missing.
    files
        Patterns of file names (``*.h5ad``), for less or more than what is needed to open the data.

    Returns
    -------
    list of pathlib.Path
        What `open_section` can open in the folder now.

    Raises
    ------
    FileProblem
        Unknown name, no network, a file that the record lacks, a checksum that differs, no room on the disk, a name
        in an archive that leads out of the folder. No half-written file is left under its name.
    Cancelled
        The user stopped it; what has come so far is kept, hidden, to go on from.
    """
    check(cancelled)
    record = name if isinstance(name, Record) else public_record(name)
    chosen = record.choose(files)
    folder = Path(folder).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FileProblem(f"'{folder}' cannot be made: {error.strerror or error}.") from error
    require_room(folder, sum(file.size for file in chosen if not _begun(folder, file)), record.data.name)
    whole, done = max(1, sum(file.size for file in chosen)), 0
    for file in chosen:
        part = progress.part(0.9 * done / whole, 0.9 * (done + file.size) / whole)
        path = fetch(file, folder, progress=part.part(0, 0.8), cancelled=cancelled)
        if path.suffix.lower() == ".zip":
            unpack(path, file.checksum, progress=part.part(0.8, 1), cancelled=cancelled)
        done += file.size
    _keep_source(record, chosen, folder)
    progress(0.95, "looking for sections")
    sections = sections_in(folder, cancelled=cancelled)
    progress(1.0, "downloaded")
    return sections


def _begun(folder: Path, file: RemoteFile) -> bool:
    """Tell whether a file is there, whole or in part; `fetch` looks at the room it still needs."""
    path = folder / file.name
    return path.exists() or any(path.parent.glob(f".{path.name}.*.part"))


def _keep_source(record: Record, files: Sequence[RemoteFile], folder: Path) -> None:
    data = record.data
    before = folder / SOURCE
    kept = {file.name: {"bytes": file.size, "checksum": file.checksum} for file in files}
    if before.exists():
        try:
            known = json.loads(before.read_text(encoding="utf-8"))
            kept = {**known["files"], **kept} if known.get("doi") == data.doi else kept
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            pass
    facts = {
        "title": data.title,
        "doi": data.doi,
        "licence": record.licence,
        "paper": data.paper,
        "downloaded": date.today().isoformat(),
        "files": kept,
    }
    write_texts({before: json.dumps(facts, indent=2, ensure_ascii=False) + "\n"})
