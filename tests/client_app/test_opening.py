from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_app.opening import reader_for, spec_for
from client_app.synth import rsna, tree
from client_app.synth.order import Order
from fedmend.errors import DataError, SpecError
from tests.dicom_files import write


def picture(path: Path, value: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 4), value, np.uint8)).save(path)


def test_a_folder_of_dicom_files_is_told_by_content(tmp_path: Path) -> None:
    tree.write(Order(sites=1, images=4, size=36), tmp_path / "s", lambda: None)
    site = next((tmp_path / "s").iterdir())
    assert spec_for(str(site)) == f"dicom(path={site})"
    assert len(reader_for(str(site)).index().records) == 4


@pytest.mark.parametrize("name", ["{}.png", "{}.txt", "sub/{}.png", "{}"])
def test_dicom_is_found_behind_many_files_that_are_none(tmp_path: Path, name: str) -> None:
    for number in range(1100):
        path = tmp_path / name.format(f"a{number:04d}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"something else")
    write(tmp_path / "z.dcm", 1)
    assert spec_for(str(tmp_path)) == f"dicom(path={tmp_path})"


@pytest.mark.parametrize("name", ["O'Brien", "''", "a, (b)", " blank "])
def test_folders_and_files_may_be_called_anything(tmp_path: Path, name: str) -> None:
    file = write(tmp_path / name / f"{name}.dcm", 1)
    assert len(reader_for(str(file.parent)).index().records) == 1
    assert len(reader_for(str(file)).index().records) == 1


def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a")
    (tmp_path / "b").symlink_to("nowhere")
    write(tmp_path / "c", 1)
    assert spec_for(str(tmp_path)) == f"dicom(path={tmp_path})"


def test_one_file_is_read_alone(tmp_path: Path) -> None:
    tree.write(Order(sites=1, images=4, size=36), tmp_path / "s", lambda: None)
    site = next((tmp_path / "s").iterdir())
    one = next(path for path in sorted(site.rglob("*")) if path.is_file() and path.suffix != ".csv")
    assert len(reader_for(str(one)).index().records) == 1
    picture(tmp_path / "p" / "a.png", 3)
    picture(tmp_path / "p" / "b.png", 4)
    records = reader_for(str(tmp_path / "p" / "a.png")).index().records
    assert [record.facts["image"] for record in records] == ["a.png"]


def test_the_published_mammograms_are_told_by_their_layout(tmp_path: Path) -> None:
    rsna.write(Order(sites=1, images=4, size=36), tmp_path / "s", lambda: None)
    assert spec_for(str(tmp_path / "s")).startswith("rsna(")


def test_subfolders_are_classes_unless_images_lie_beside_them(tmp_path: Path) -> None:
    picture(tmp_path / "ill" / "a.png", 3)
    picture(tmp_path / "well" / "b.png", 4)
    records = reader_for(str(tmp_path)).index().records
    assert {record.label for record in records} == {"ill", "well"}
    picture(tmp_path / "c.png", 5)
    found = reader_for(str(tmp_path)).index()
    assert {record.label for record in found.records} == {None}
    assert len(found.records) == 3
    assert not found.rejected


def test_relative_paths_are_taken_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture(tmp_path / "ill" / "a.png", 3)
    monkeypatch.chdir(tmp_path.parent)
    name = tmp_path.name
    assert spec_for(name) == f"folder(path={tmp_path})"
    assert spec_for(f"folder(path={name})") == f"folder(path={tmp_path})"
    assert spec_for("phantom(count=20)") == "phantom(count=20)"


def test_what_does_not_exist_is_said_so_without_its_path(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder") as caught:
        spec_for(str(tmp_path / "absent"))
    assert str(tmp_path) not in str(caught.value)
    with pytest.raises(SpecError):
        spec_for("fodler(path=/x)")


def test_a_folder_of_nothing_but_broken_dicom_goes_by_its_files_names(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("of a broken export")
    assert spec_for(str(tmp_path)) == f"dicom(path={tmp_path})"
    assert spec_for(str(tmp_path / "a.dcm")) == f"dicom(path={tmp_path}, glob=a.dcm)"
    refused = {each.source: each.reason for each in reader_for(str(tmp_path)).index().rejected}
    assert refused == {"a.dcm": "the data set is empty", "notes.txt": "not a DICOM file"}
