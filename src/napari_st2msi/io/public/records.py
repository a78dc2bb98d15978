"""What a repository says of a record: licence, files, sizes and checksums. One function a kind of repository.

Checksums are taken from the repository at the time of the download; where one is known beforehand
(`PublicData.checksums`), it wins, and a repository that says otherwise is not believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.public.catalogue import Host, PublicData

if TYPE_CHECKING:
    import requests

#: Mendeley Data refuses programs that do not look like a browser at all.
AGENT = "Mozilla/5.0 (compatible; napari-st2msi)"
#: Seconds to connect, and between two pieces of an answer.
PATIENCE = (10.0, 60.0)
#: Hexadecimal digits of the checksums that repositories give.
_DIGITS = {"md5": 32, "sha1": 40, "sha256": 64, "sha512": 128}
UNKNOWN_LICENCE = "the record names none; ask its authors before you use the data"


@dataclass(frozen=True)
class RemoteFile:
    """One file of a record.

    Attributes
    ----------
    name
        Path under the folder it is downloaded to, with ``/``; never absolute or upward.
    size
        Bytes.
    checksum
        ``md5:…``, ``sha1:…``, ``sha256:…`` or ``sha512:…``.
    url
        Where its bytes are.
    """

    name: str
    size: int
    checksum: str
    url: str


@dataclass(frozen=True)
class Record:
    """A record as its repository describes it now.

    Attributes
    ----------
    data
        Which of the catalogue it is.
    licence
        In the repository's words.
    files
        All of its files that may be downloaded.
    """

    data: PublicData
    licence: str
    files: tuple[RemoteFile, ...]

    def choose(self, patterns: Sequence[str] = ()) -> tuple[RemoteFile, ...]:
        """Return the files that match, by default those that are needed to open the data.

        Raises
        ------
        FileProblem
            A pattern matches nothing.
        """
        chosen = []
        for pattern in patterns or self.data.files:
            found = [file for file in self.files if fnmatch(file.name, pattern)]
            if not found:
                there = ", ".join(file.name for file in self.files)
                raise FileProblem(
                    f"The record {self.data.doi} has no file '{pattern}'. Its files are: {there[:400] or 'none'}."
                )
            chosen += found
        return tuple(dict.fromkeys(chosen))


def look_up(data: PublicData) -> Record:
    """Ask the repository what a record holds.

    Raises
    ------
    FileProblem
        It cannot be reached, does not know the record, or says what cannot be used.
    """
    licence, files = _HOSTS[data.host](data)
    if not files:
        raise FileProblem(f"The record {data.doi} lists no file that may be downloaded without signing in.")
    return Record(data, licence or UNKNOWN_LICENCE, tuple(_trusted(file, data) for file in files))


def safe_name(name: str) -> str:
    """Return a name from elsewhere as a path that stays below the folder it is put into.

    Raises
    ------
    FileProblem
        It is absolute, leads upward, or has characters that are no part of names.
    """
    path = PurePosixPath(name)
    parts = path.parts
    bad = not parts or path.is_absolute() or ".." in parts or "\\" in name or ":" in parts[0]
    if bad or any(ord(character) < 32 for character in name):
        raise FileProblem(f"The name '{name[:100]!r}' leads out of the folder: refused.")
    return str(path)


def in_bytes(size: int) -> str:
    """Return a size as people read it."""
    for unit, scale in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size} bytes"


def connect() -> requests.Session:
    """Return a session with the name of this program."""
    import requests

    session = requests.Session()
    session.headers["User-Agent"] = AGENT
    return session


def _answer(data: PublicData, url: str) -> Any:
    import requests

    try:
        with connect() as session:
            answer = session.get(url, timeout=PATIENCE)
        if answer.status_code == 404:
            raise FileProblem(f"'{data.site}' does not know the record {data.doi}.")
        answer.raise_for_status()
        return answer.json()
    except requests.exceptions.JSONDecodeError as error:
        raise FileProblem(f"'{data.site}' answered with something else than the record {data.doi}.") from error
    except requests.HTTPError as error:
        raise FileProblem(
            f"'{data.site}' refused the record {data.doi} (status {answer.status_code}). Try again later."
        ) from error
    except requests.RequestException as error:
        raise FileProblem(
            f"'{data.site}' cannot be reached. Check the network; or download the record "
            f"https://doi.org/{data.doi} with a browser and open its files here."
        ) from error


def _trusted(file: RemoteFile, data: PublicData) -> RemoteFile:
    """Return the file if its checksum is of a kind that can be checked, and the one that is known."""
    known = data.checksums.get(file.name)
    if known is not None and known != file.checksum:
        raise FileProblem(
            f"'{file.name}' of {data.doi} is not the file that is known: its checksum is {file.checksum} and "
            f"should be {known}. Nothing was downloaded."
        )
    kind, _, digest = file.checksum.partition(":")
    if kind not in _DIGITS or len(digest) != _DIGITS[kind] or set(digest) - set("0123456789abcdef"):
        raise FileProblem(f"'{file.name}' of {data.doi} has no checksum that can be checked: '{file.checksum}'.")
    return file


def _zenodo(data: PublicData) -> tuple[str, list[RemoteFile]]:
    number = data.doi.rpartition("zenodo.")[2]
    answer = _answer(data, f"{data.site}/api/records/{number}")
    with _readable(data):
        licence = (answer["metadata"].get("license") or {}).get("id", "")
        return licence, [
            RemoteFile(safe_name(file["key"]), int(file["size"]), str(file["checksum"]).lower(), file["links"]["self"])
            for file in answer["files"]
        ]


def _dataverse(data: PublicData) -> tuple[str, list[RemoteFile]]:
    answer = _answer(
        data, f"{data.site}/api/datasets/:persistentId/versions/:latest-published?persistentId=doi:{data.doi}"
    )
    with _readable(data):
        version = answer["data"]
        licence = version.get("license") or version.get("termsOfUse") or ""
        if isinstance(licence, dict):
            licence = licence.get("name", "")
        files = []
        for entry in version["files"]:
            if entry.get("restricted"):
                continue
            file = entry["dataFile"]
            # Tables are kept in a form of Dataverse's own as well; sum and size are wanted of what was uploaded.
            ingested = "originalFileName" in file
            name = file["originalFileName"] if ingested else entry["label"]
            size = file.get("originalFileSize", file["filesize"]) if ingested else file["filesize"]
            checksum = file.get("checksum") or {"type": "MD5", "value": file["md5"]}
            files.append(
                RemoteFile(
                    safe_name("/".join(part for part in (entry.get("directoryLabel"), name) if part)),
                    int(size),
                    f"{checksum['type']}:{checksum['value']}".lower().replace("sha-", "sha"),
                    f"{data.site}/api/access/datafile/{int(file['id'])}" + ("?format=original" if ingested else ""),
                )
            )
        return licence, files


def _mendeley(data: PublicData) -> tuple[str, list[RemoteFile]]:
    number, _, version = data.doi.rpartition("/")[2].partition(".")
    about = _answer(data, f"{data.site}/public-api/datasets/{number}?version={quote(version)}")
    listed = _answer(data, f"{data.site}/public-api/datasets/{number}/files?folder_id=root&version={quote(version)}")
    with _readable(data):
        licence = about.get("data_licence") or {}
        licence = licence.get("short_name") or licence.get("full_name") or "" if isinstance(licence, dict) else licence
        files = []
        for file in listed:
            details = file["content_details"]
            size = int(details["size"] if "size" in details else file["size"])
            checksum = f"sha256:{details['sha256_hash']}".lower()
            files.append(RemoteFile(safe_name(file["filename"]), size, checksum, details["download_url"]))
        return licence, files


@contextmanager
def _readable(data: PublicData) -> Iterator[None]:
    """Turn an answer of another shape than expected into a problem in words."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FileProblem(f"'{data.site}' describes the record {data.doi} in a way that is not understood.") from error


_HOSTS: dict[Host, Callable[[PublicData], tuple[str, list[RemoteFile]]]] = {
    "zenodo": _zenodo,
    "dataverse": _dataverse,
    "mendeley": _mendeley,
}
