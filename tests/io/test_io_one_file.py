"""Files that are written are whole at any moment, and nothing is left beside them."""

from pathlib import Path

import pytest

from napari_st2msi.errors import FileProblem
from napari_st2msi.io.one_file import write_texts


def test_what_cannot_be_written_changes_no_file(tmp_path: Path) -> None:
    there = tmp_path / "there.txt"
    write_texts({there: "old"})
    with pytest.raises(FileProblem):
        write_texts({there: "new", tmp_path / "missing" / "other.txt": "new"})
    assert there.read_text() == "old"
    assert list(tmp_path.iterdir()) == [there]


def test_what_cannot_take_its_place_leaves_whole_files_and_nothing_beside(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("one.txt", "two.txt", "three.txt")]
    write_texts(dict.fromkeys((paths[0], paths[2]), "old"))
    paths[1].mkdir()
    with pytest.raises(FileProblem):
        write_texts(dict.fromkeys(paths, "new"))
    # Files take their places from the last to the first: one is new already, the other was not reached.
    assert [paths[0].read_text(), paths[2].read_text()] == ["old", "new"]
    assert sorted(tmp_path.iterdir()) == sorted(paths)
