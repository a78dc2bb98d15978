"""A zip archive to a folder beside it: nothing outside the folder, no links, all of it or nothing."""

from __future__ import annotations

import errno
import lzma
import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.public.records import safe_name
from napari_st2msi.io.public.transfer import require_room
from napari_st2msi.progress import Progress, check, never

_BLOCK = 1 << 20
#: Says in an unpacked folder which archive it is from.
_MARK = ".unpacked-from"


def unpack(
    archive: Path,
    checksum: str,
    *,
    progress: Progress = Progress(),
    cancelled: Callable[[], bool] = never,
) -> Path:
    """Unpack a zip into a folder beside it; what was unpacked from the same archive before is left as it is.

    Parameters
    ----------
    checksum
        Of the archive, kept in the folder to know it again.

    Returns
    -------
    pathlib.Path
        The folder: named like the one at the top of the archive if there is one, else like the archive.

    Raises
    ------
    FileProblem
        It is damaged or encrypted, a name in it leads out of the folder, it holds a link, there is no room, or
        another folder is in the way. No folder is left then.
    """
    try:
        with zipfile.ZipFile(archive) as packed:
            members = _members(packed, archive.name)
            tops = {PurePosixPath(name).parts[0] for name in members}
            one = len(tops) == 1 and all(len(PurePosixPath(name).parts) > 1 for name in members)
            target = archive.parent / (tops.pop() if one else archive.stem)
            if target.exists():
                if _mark(target) == checksum:
                    progress(1.0, f"{archive.name} is unpacked")
                    return target
                raise FileProblem(f"'{target}' is there already and not from '{archive.name}'. Move it away first.")
            require_room(archive.parent, sum(info.file_size for info in members.values()), target.name)
            building = archive.parent / f".{target.name}.unpacking"
            shutil.rmtree(building, ignore_errors=True)
            try:
                _write(packed, members, building, progress, cancelled)
                top = building / target.name if one else building
                (top / _MARK).write_text(checksum, encoding="utf-8")
                top.rename(target)
            finally:
                shutil.rmtree(building, ignore_errors=True)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, NotImplementedError, EOFError) as error:
        raise FileProblem(f"'{archive.name}' cannot be unpacked: {error}.") from error
    except OSError as error:
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise FileProblem(f"'{archive.name}' cannot be unpacked: {reason}.") from error
    progress(1.0, f"{archive.name} is unpacked")
    return target


def _members(packed: zipfile.ZipFile, archive: str) -> dict[str, zipfile.ZipInfo]:
    """Return the files of an archive by their checked names, without what macOS puts beside them."""
    members = {}
    for info in packed.infolist():
        name = safe_name(info.filename)
        if info.is_dir() or "__MACOSX" in PurePosixPath(name).parts or PurePosixPath(name).name == ".DS_Store":
            continue
        if stat.S_ISLNK(info.external_attr >> 16):
            raise FileProblem(f"'{archive}' holds a link ('{name}'): refused.")
        if info.flag_bits & 0x1:
            raise FileProblem(f"'{archive}' is encrypted and cannot be unpacked here.")
        if name in members:
            raise FileProblem(f"'{archive}' holds '{name}' twice: refused.")
        members[name] = info
    if not members:
        raise FileProblem(f"'{archive}' is empty.")
    return members


def _write(
    packed: zipfile.ZipFile,
    members: dict[str, zipfile.ZipInfo],
    folder: Path,
    progress: Progress,
    cancelled: Callable[[], bool],
) -> None:
    whole = max(1, sum(info.file_size for info in members.values()))
    done = 0
    for name, info in members.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with packed.open(info) as source, path.open("xb") as out:
            # zipfile stops at the size it was told, so that no more is written than there was room for.
            while block := source.read(_BLOCK):
                check(cancelled)
                out.write(block)
                done += len(block)
                progress(done / whole, f"unpacking {PurePosixPath(name).name}")


def _mark(folder: Path) -> str | None:
    mark = folder / _MARK
    return mark.read_text(encoding="utf-8") if mark.is_file() else None
