"""Downloads of public data, from a server on this machine."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import logging
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pooch
import pytest

import napari_st2msi as st2msi
from napari_st2msi.errors import FileProblem
from napari_st2msi.io.public import records, transfer
from napari_st2msi.io.public.catalogue import CATALOGUE
from napari_st2msi.io.public.download import download, public_record
from napari_st2msi.progress import Cancelled, Progress
from repository import Repository, serving

BIG = bytes(range(256)) * 20_000  # 5 MB: several blocks


def zipped(files: dict[str, bytes], change: Callable[[zipfile.ZipInfo], None] | None = None) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            archive.writestr(info, content)
    return stream.getvalue()


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setattr(transfer, "_PAUSE_S", 0.0)
    with serving(
        {"visium.RDS": b"spots" * 1000, "SpaMTP_msi_transformed.RDS": BIG, "striatum.dhb.data.RDS": b"s"}
    ) as it:
        yield it


def left_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("name", "licence", "kind", "files"),
    [
        ("spamtp", "cc-by-4.0", "md5", ["visium.RDS", "SpaMTP_msi_transformed.RDS", "striatum.dhb.data.RDS"]),
        ("desium", "CC0 1.0", "sha1", ["data/BC_525.h5ad", "readme.txt"]),
        ("sma", "CC BY 4.0", "sha256", ["sma.zip"]),
    ],
)
def test_each_repository_says_licence_sizes_and_checksums(name: str, licence: str, kind: str, files: list[str]) -> None:
    content = {file: file.encode() * 3 for file in files}
    if name == "sma":
        content["visium.zip"] = b"not needed"
    with serving(content) as repository:
        record = public_record(repository.data(name))
    assert record.licence == licence
    assert {file.name for file in record.files} == set(content)
    assert [file.name for file in record.choose()] == files
    for file in record.files:
        assert file.size == len(content[file.name])
        assert file.checksum == f"{kind}:{hashlib.new(kind, content[file.name]).hexdigest()}"


def test_downloading_brings_checked_files_and_where_they_are_from(repository: Repository, tmp_path: Path) -> None:
    seen: list[float] = []
    download(repository.data("spamtp"), tmp_path / "pair", progress=Progress(lambda at, _: seen.append(at)))
    for name, content in repository.files.items():
        assert (tmp_path / "pair" / name).read_bytes() == content
    assert left_in(tmp_path / "pair") == sorted([*repository.files, "SOURCE.json"])
    source = json.loads((tmp_path / "pair" / "SOURCE.json").read_text())
    assert source["doi"] == "10.5281/zenodo.17246900"
    assert source["licence"] == "cc-by-4.0"
    assert set(source["files"]) == set(repository.files)
    assert seen == sorted(seen)
    assert seen[-1] == 1


def test_what_is_there_is_not_downloaded_again(repository: Repository, tmp_path: Path) -> None:
    data = repository.data("spamtp")
    download(data, tmp_path, ["visium.RDS"])
    repository.asked.clear()
    download(data, tmp_path)
    asked = [path for path, _ in repository.asked]
    assert "/file/visium.RDS" not in asked
    assert "/file/SpaMTP_msi_transformed.RDS" in asked
    assert set(json.loads((tmp_path / "SOURCE.json").read_text())["files"]) == set(repository.files)


def test_a_connection_that_breaks_goes_on_where_it_broke(repository: Repository, tmp_path: Path) -> None:
    repository.breaks = [2_000_000, 1_500_000]
    download(repository.data("spamtp"), tmp_path, ["SpaMTP*"])
    ranges = [asked for path, asked in repository.asked if path.startswith("/file")]
    assert ranges[0] is None
    assert all(asked is not None for asked in ranges[1:])
    assert (tmp_path / "SpaMTP_msi_transformed.RDS").read_bytes() == BIG


def test_a_server_without_ranges_starts_over(repository: Repository, tmp_path: Path) -> None:
    repository.breaks, repository.ranges = [2_000_000], False
    download(repository.data("spamtp"), tmp_path, ["SpaMTP*"])
    assert (tmp_path / "SpaMTP_msi_transformed.RDS").read_bytes() == BIG


def test_a_connection_that_stays_lost_is_reported_and_taken_up_later(repository: Repository, tmp_path: Path) -> None:
    repository.breaks = [3_000_000, 0, 0, 0, 0]
    with pytest.raises(FileProblem, match=r"connection broke .* of 5,120,000 bytes"):
        download(repository.data("spamtp"), tmp_path, ["SpaMTP*"])
    assert not (tmp_path / "SpaMTP_msi_transformed.RDS").exists()
    repository.asked.clear()
    download(repository.data("spamtp"), tmp_path, ["SpaMTP*"])
    assert repository.asked[-1][1] is not None
    assert (tmp_path / "SpaMTP_msi_transformed.RDS").read_bytes() == BIG
    assert left_in(tmp_path) == ["SOURCE.json", "SpaMTP_msi_transformed.RDS"]


@pytest.mark.parametrize("sent", [b"stops" * 1000, b"spots" * 2000], ids=["as long", "longer"])
def test_another_content_than_listed_is_thrown_away(repository: Repository, tmp_path: Path, sent: bytes) -> None:
    repository.instead["visium.RDS"] = sent
    with pytest.raises(FileProblem, match="another checksum"):
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])
    assert left_in(tmp_path) == []


def test_a_file_of_another_kind_in_the_way_is_left_alone(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / "visium.RDS").write_text("mine")
    with pytest.raises(FileProblem, match="is not the file of the record"):
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])
    assert (tmp_path / "visium.RDS").read_text() == "mine"


def test_a_checksum_known_beforehand_wins(repository: Repository, tmp_path: Path) -> None:
    data = repository.data("spamtp", checksums=CATALOGUE["spamtp"].checksums)
    with pytest.raises(FileProblem, match="is not the file that is known"):
        download(data, tmp_path)
    assert left_in(tmp_path) == []


def test_cancelling_leaves_nothing_under_the_name_and_is_gone_on_from(repository: Repository, tmp_path: Path) -> None:
    stop = False

    def watch(fraction: float, _: str) -> None:
        nonlocal stop
        stop = stop or fraction > 0.3

    with pytest.raises(Cancelled):
        download(repository.data("spamtp"), tmp_path, ["SpaMTP*"], progress=Progress(watch), cancelled=lambda: stop)
    (part,) = left_in(tmp_path)
    assert part.endswith(".part")
    assert 0 < (tmp_path / part).stat().st_size < len(BIG)
    download(repository.data("spamtp"), tmp_path, ["SpaMTP*"])
    assert (tmp_path / "SpaMTP_msi_transformed.RDS").read_bytes() == BIG


def test_a_disk_without_room_is_refused_before_anything_is_fetched(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(FileProblem, match=r"needs 0\.01 GB and .* has 0\.00 GB free"):
        download(repository.data("spamtp"), tmp_path)
    assert not [path for path, _ in repository.asked if path.startswith("/file")]


def test_a_disk_that_fills_up_is_said_and_leaves_no_file(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(transfer._Continued, "_rest", full)
    with pytest.raises(FileProblem, match="disk is full"):
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])
    assert not (tmp_path / "visium.RDS").exists()


def test_nobody_but_us_says_what_is_going_on(repository: Repository, tmp_path: Path) -> None:
    said: list[logging.LogRecord] = []

    class Listening(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record)

    listening = Listening()
    pooch.get_logger().addHandler(listening)
    try:
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])
    finally:
        pooch.get_logger().removeHandler(listening)
    assert said == []


def test_a_disk_that_is_full_at_the_end_is_said(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(FileProblem, match=r"disk is full: '.*SOURCE\.json' was not written"):
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])


def test_a_file_where_a_folder_must_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("mine")
    with pytest.raises(FileProblem, match="raw' cannot be made"):
        transfer.fetch(records.RemoteFile("raw/a.txt", "http://nowhere", 1, "md5:0"), tmp_path)


def test_no_network_and_unknown_names_are_said() -> None:
    with pytest.raises(FileProblem, match="cannot be reached"):
        public_record(Repository("http://127.0.0.1:9", {}).data("spamtp"))
    with pytest.raises(FileProblem, match=r"no public data set 'smaa'. Known are: sma, spamtp, desium"):
        st2msi.download("smaa", "nowhere")
    assert not Path("nowhere").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"files": [{"key": "a"}]}, "not understood"),
        ([], "not understood"),
        (b"<html>maintenance</html>", "something else than the record"),
        ({"metadata": {}, "files": []}, "no file that may be downloaded"),
        (
            {"metadata": {}, "files": [{"key": "../a.RDS", "size": 1, "checksum": "md5:0", "links": {"self": "x"}}]},
            "leads out of the folder",
        ),
        (
            {"metadata": {}, "files": [{"key": "a.RDS", "size": 1, "checksum": "none", "links": {"self": "x"}}]},
            "no checksum that can be checked",
        ),
    ],
)
def test_answers_that_cannot_be_used_are_refused(repository: Repository, answer: object, message: str) -> None:
    repository.answer = answer
    with pytest.raises(FileProblem, match=message):
        public_record(repository.data("spamtp"))


def test_refusals_and_missing_files_are_said(repository: Repository, tmp_path: Path) -> None:
    with pytest.raises(FileProblem, match=r"no file '\*\.h5ad'\. Its files are: visium\.RDS"):
        download(repository.data("spamtp"), tmp_path, ["*.h5ad"])
    with pytest.raises(FileProblem, match="does not know the record"):
        public_record(repository.data("sma", doi="10.17632/other.1"))
    repository.status = 403
    with pytest.raises(FileProblem, match=r"refused 'visium\.RDS' \(status 403\)"):
        download(repository.data("spamtp"), tmp_path, ["visium.RDS"])
    assert not (tmp_path / "visium.RDS").exists()


def test_a_record_without_licence_says_so(repository: Repository) -> None:
    proper = repository.record("/api/records/17246900")
    repository.answer = {**proper, "metadata": {}}
    assert public_record(repository.data("spamtp")).licence == records.UNKNOWN_LICENCE


# -- archives ----------------------------------------------------------------------------------------


def unpacked(tmp_path: Path, archive: bytes) -> None:
    with serving({"sma.zip": archive}) as repository:
        download(repository.data("sma"), tmp_path)


@pytest.mark.parametrize("top", ["sma/", ""], ids=["in one folder", "without a folder"])
def test_archives_are_unpacked_once_into_a_folder(tmp_path: Path, top: str) -> None:
    files = {f"{top}a/x.csv": b"x,y", f"{top}b.txt": b"b", f"__MACOSX/{top}._b.txt": b"", f"{top}.DS_Store": b""}
    archive = zipped(files)
    unpacked(tmp_path, archive)
    assert left_in(tmp_path) == ["SOURCE.json", "sma.zip", "sma/.unpacked-from", "sma/a/x.csv", "sma/b.txt"]
    (tmp_path / "sma" / "b.txt").write_text("changed by me")
    unpacked(tmp_path, archive)
    assert (tmp_path / "sma" / "b.txt").read_text() == "changed by me"


def link(info: zipfile.ZipInfo) -> None:
    info.external_attr = 0o120777 << 16


@pytest.mark.parametrize(
    ("archive", "message"),
    [
        (zipped({"../outside.txt": b"x"}), "leads out of the folder"),
        (zipped({"/etc/outside.txt": b"x"}), "leads out of the folder"),
        (zipped({"a\\..\\..\\outside.txt": b"x"}), "leads out of the folder"),
        (zipped({"C:/outside.txt": b"x"}), "leads out of the folder"),
        (zipped({"link": b"/etc"}, link), "holds a link"),
        (b"no archive at all", "cannot be unpacked"),
        (zipped({"a.txt": b"hello hello" * 99})[:-30], "cannot be unpacked"),
        (zipped({}), "is empty"),
    ],
    ids=["up", "absolute", "backslash", "drive", "link", "no zip", "cut off", "empty"],
)
def test_archives_that_are_dangerous_or_broken_are_refused(tmp_path: Path, archive: bytes, message: str) -> None:
    with pytest.raises(FileProblem, match=message):
        unpacked(tmp_path / "data", archive)
    assert left_in(tmp_path) == ["data/sma.zip"]


def test_a_damaged_member_leaves_no_folder(tmp_path: Path) -> None:
    archive = bytearray(zipped({"sma/a.txt": bytes(range(256)) * 40, "sma/b.txt": b"b"}))
    archive[60] ^= 0xFF
    with pytest.raises(FileProblem, match="cannot be unpacked"):
        unpacked(tmp_path, bytes(archive))
    assert left_in(tmp_path) == ["sma.zip"]


def test_a_damaged_lzma_member_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w", zipfile.ZIP_LZMA) as packed:
        packed.writestr("sma/a.txt", bytes(range(256)) * 40)
    archive = bytearray(whole.getvalue())
    # The properties of the compression come after the header (30 bytes), the name (9) and their size (4).
    archive[43] = 0xFF
    with pytest.raises(FileProblem, match="cannot be unpacked"):
        unpacked(tmp_path, bytes(archive))
    assert left_in(tmp_path) == ["sma.zip"]


def test_an_archive_larger_than_the_disk_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = zipped({"sma/zeros.txt": bytes(5_000_000)})
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: SimpleNamespace(free=1_000_000))
    with pytest.raises(FileProblem, match=r"'sma' needs 0\.01 GB"):
        unpacked(tmp_path, archive)
    assert left_in(tmp_path) == ["sma.zip"]


def test_a_folder_of_the_user_in_the_way_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "sma").mkdir()
    (tmp_path / "sma" / "mine.txt").write_text("mine")
    with pytest.raises(FileProblem, match=r"not from 'sma\.zip'"):
        unpacked(tmp_path, zipped({"sma/a.txt": b"a"}))
    assert (tmp_path / "sma" / "mine.txt").read_text() == "mine"
