from __future__ import annotations

import csv
from pathlib import Path

import pytest

from client_app.dicom import quarantine
from fedmend.errors import DataError
from fedmend.records import Rejected


def test_it_lists_what_cannot_be_used_for_the_site_alone(tmp_path: Path) -> None:
    folder = tmp_path / "private" / "site"
    path = quarantine.write(
        folder,
        [Rejected('a "b", c\n.dcm', "truncated", "4 of 8 bytes"), Rejected("\udcff.dcm", "x")],
    )
    assert path == folder / "quarantine.csv"
    assert path.stat().st_mode & 0o777 == 0o600
    assert folder.stat().st_mode & 0o777 == 0o700
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["file", "reason", "detail"],
        ['a "b", c\\n.dcm', "truncated", "4 of 8 bytes"],
        ["\\udcff.dcm", "x", ""],
    ]


def test_a_second_list_replaces_the_first(tmp_path: Path) -> None:
    quarantine.write(tmp_path, [Rejected("a", "x")])
    path = quarantine.write(tmp_path, [])
    assert path.read_text() == "file,reason,detail\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_list_that_stays_the_same_is_left_alone(tmp_path: Path) -> None:
    path = quarantine.write(tmp_path, [Rejected("a", "x")])
    before = path.stat()
    quarantine.write(tmp_path, [Rejected("a", "x")])
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_no_name_is_a_formula(tmp_path: Path) -> None:
    path = quarantine.write(tmp_path, [Rejected("-rf.dcm", "x", "=1+1\n@b")])
    assert path.read_text().splitlines()[1:] == ["'-rf.dcm,x,'=1+1\\n@b"]


def test_frames_that_fail_alike_are_one_bad_file(tmp_path: Path) -> None:
    path = quarantine.write(tmp_path, [Rejected("a", "x", "y")] * 3)
    assert path.read_text().splitlines()[1:] == ["a,x,y"]


def test_a_folder_that_cannot_be_written_is_told_without_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written") as caught:
        quarantine.write(tmp_path / "file" / "secret", [])
    assert "secret" not in str(caught.value)
