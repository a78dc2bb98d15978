"""The command that fetches public paired data."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_st2msi.cli.console import Run, written
from napari_st2msi.errors import FileProblem
from napari_st2msi.io.public.catalogue import CATALOGUE, PublicData
from napari_st2msi.io.public.records import Record, RemoteFile, in_bytes
from napari_st2msi.progress import Cancelled

#: Bytes above which a download waits for a yes.
LARGE = 1_000_000_000


def download(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help=f"One of {', '.join(CATALOGUE)}. Without it: what there is."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FOLDER", help="Where to put it. Without it: only say what the record holds."
        ),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", metavar="PATTERN", help="Only files of this name ('*.h5ad'). May be given again."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Download more than 1 GB without asking.")] = False,
    *,
    run: Run,
) -> None:
    """Download public paired data: DOI, licence and size are shown first, every file is checked.

    Interrupted, it goes on where it was when started again. Archives are unpacked.

    For example:

      napari-st2msi download

      napari-st2msi download sma

      napari-st2msi download spamtp --out data/spamtp

      napari-st2msi download desium --out data/desium --file '*BC_525*' --yes
    """
    from napari_st2msi.io.public.download import download as fetch
    from napari_st2msi.io.public.download import public_record

    if name is None:
        run.result(
            {data.name: _about(data) for data in CATALOGUE.values()},
            lines={data.name: f"{data.title}\n{data.about}\ndoi:{data.doi}" for data in CATALOGUE.values()},
        )
        return
    record = public_record(name)
    chosen = record.choose(file or ())
    facts = _facts(record, chosen)
    if out is None:
        run.result(facts, lines=_lines(record, record.files, "files"))
        return
    for title, text in _lines(record, chosen, "to download").items():
        run.say(f"{title}: {text}")
    size = sum(each.size for each in chosen)
    if size > LARGE and not yes:
        _ask(size, run)
    with run.progress(f"Downloading {record.data.name}") as progress:
        sections = fetch(record, out, file or (), progress=progress, cancelled=run.cancelled)
    run.result(
        facts | {"folder": str(out), "sections": [str(section) for section in sections]},
        lines={
            "downloaded to": written(out),
            "licence": record.licence,
            "cite": f"doi:{record.data.doi}; {record.data.paper}",
            "open": [written(section) for section in sections] or "nothing in it is a section that can be opened",
        },
    )


def _about(data: PublicData) -> dict[str, Any]:
    return {"title": data.title, "about": data.about, "doi": data.doi, "paper": data.paper}


def _facts(record: Record, files: Sequence[RemoteFile]) -> dict[str, Any]:
    return _about(record.data) | {
        "licence": record.licence,
        "bytes": sum(file.size for file in files),
        "files": [{"name": file.name, "bytes": file.size, "checksum": file.checksum} for file in files],
    }


def _lines(record: Record, files: Sequence[RemoteFile], what: str) -> dict[str, str]:
    sizes = [f"{file.name}  {in_bytes(file.size)}" for file in files]
    more = [f"and {len(sizes) - 30} more"] if len(sizes) > 30 else []
    return {
        "data": f"{record.data.title}\n{record.data.about}",
        "DOI": record.data.doi,
        "licence": record.licence,
        "cite": record.data.paper,
        what: "\n".join([*sizes[:30], *more, f"together {in_bytes(sum(file.size for file in files))}"]),
    }


def _ask(size: int, run: Run) -> None:
    """Go on if a person at the terminal says so.

    Raises
    ------
    FileProblem
        Nobody is there to ask.
    Cancelled
        They said no.
    """
    if run.as_json or not sys.stdin.isatty():
        raise FileProblem(f"This is {in_bytes(size)}. Add --yes to download it, or --file for less of it.")
    if not typer.confirm(f"Download {in_bytes(size)}?", err=True):
        raise Cancelled("Nothing was downloaded.")
