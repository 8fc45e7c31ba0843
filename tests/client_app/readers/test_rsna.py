from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from client_app.readers.rsna import rsna
from fedmend.errors import DataError
from fedmend.plugins import PARTITIONS
from fedmend.records import Index, Record
from tests.dicom_files import write

HEADER = (
    "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,density,"
    "machine_id,difficult_negative_case\n"
)
TEST_HEADER = "site_id,patient_id,image_id,laterality,view,age,implant,machine_id,prediction_id\n"


def by_path(index: Index) -> dict[str, Record]:
    return {str(record.facts["path"]): record for record in index.records}


def reasons(index: Index) -> dict[str, str]:
    return {rejected.source: rejected.reason for rejected in index.rejected}


@pytest.fixture
def published(tmp_path: Path) -> Path:
    rows = []
    for number in range(8):
        patient = 10006 + number // 2
        name = f"train_images/{patient}/{462822612 + number}.dcm"
        write(tmp_path / name, number, Modality="MG", PatientID=str(patient))
        rows.append(
            f"{1 + number // 4},{patient},{462822612 + number},L,CC,61.0,{number % 2},0,0,,0,B,29,"
            "False\n"
        )
    (tmp_path / "train.csv").write_text(HEADER + "".join(rows))
    write(tmp_path / "test_images" / "10020" / "736471439.dcm", 50, PatientID="10050")
    (tmp_path / "test.csv").write_text(f"{TEST_HEADER}1,10020,736471439,L,MLO,81,0,21,10020_L\n")
    (tmp_path / "sample_submission.csv").write_text("prediction_id,cancer\n10020_L,0.02\n")
    return tmp_path


def test_the_layout_as_published(published: Path) -> None:
    index = rsna(path=published).index()
    assert not index.rejected
    found = by_path(index)
    assert len(found) == 9
    record = found["train_images/10006/462822613.dcm"]
    assert (record.label, record.split, record.noisy) == ("cancer", "", None)
    assert record.group == hashlib.sha256(b"10006").hexdigest()
    expected = {"site_id": 1.0, "laterality": "L", "view": "CC", "age": 61.0, "density": "B",
                "machine_id": 29.0, "Modality": "MG"}  # fmt: skip
    assert {key: record.facts[key] for key in expected} == expected
    assert found["train_images/10006/462822612.dcm"].label == "negative"
    assert not {"patient_id", "image_id"} & set(record.facts)
    unlabelled = found["test_images/10020/736471439.dcm"]
    assert (unlabelled.label, unlabelled.split) == (None, "test")
    assert unlabelled.group == hashlib.sha256(b"10020").hexdigest()


def test_the_test_images_can_be_left_out(published: Path) -> None:
    index = rsna(path=published, test=False).index()
    assert not index.rejected
    assert all(path.startswith("train_images/") for path in by_path(index))


def test_sites_come_from_their_column(published: Path) -> None:
    records = [record._replace(split="train") for record in rsna(path=published).index().records]
    owners = PARTITIONS.build("column(name=site_id)").assign(records, 2, 0)
    sites = [record.facts["site_id"] for record in records]
    assert [owner + 1 for owner in owners.tolist()] == sites


@pytest.mark.parametrize("suffix", ["", ".dcm"])
def test_the_flat_form(tmp_path: Path, suffix: str) -> None:
    for number in range(3):
        write(tmp_path / "train_images" / f"image_00{number}.dcm", number)
    write(tmp_path / "test_images" / "image_009.dcm", 9)
    rows = "".join(f"image_00{number}{suffix},{number % 2}\n" for number in range(3))
    (tmp_path / "train.csv").write_text(f"image_id,cancer\n{rows}")
    (tmp_path / "test.csv").write_text(f"image_id\nimage_009{suffix}\n")
    (tmp_path / "sample_submission.csv").write_text("image_id,cancer\nimage_009,0.5\n")
    index = rsna(path=tmp_path).index()
    assert not index.rejected
    found = by_path(index)
    labels = {Path(path).name: record.label for path, record in found.items()}
    assert labels == {
        "image_000.dcm": "negative", "image_001.dcm": "cancer", "image_002.dcm": "negative",
        "image_009.dcm": None,
    }  # fmt: skip
    assert found["train_images/image_001.dcm"].group == hashlib.sha256(b"P1").hexdigest()


def flat(folder: Path) -> Path:
    for number in range(3):
        write(folder / "train_images" / f"{number}.dcm", number)
    (folder / "train.csv").write_text("image_id,cancer\n0,0\n1,1\n2,0\n")
    return folder


@pytest.mark.parametrize("stray", ["sub/Thumbs.db", "0/Thumbs.db", "sub/more/Thumbs.db"])
def test_a_stray_file_in_a_folder_makes_no_folders_of_patients(tmp_path: Path, stray: str) -> None:
    place = flat(tmp_path) / "train_images" / stray
    place.parent.mkdir(parents=True)
    place.write_bytes(b"thumbs")
    index = rsna(path=tmp_path).index()
    assert reasons(index) == {f"train_images/{stray}": "not a DICOM file"}
    assert [record.label for record in by_path(index).values()].count("cancer") == 1
    assert len(index.records) == 3


def test_a_stray_file_beside_the_folders_of_patients_changes_nothing(published: Path) -> None:
    (published / "train_images" / "Thumbs.db").write_bytes(b"thumbs")
    index = rsna(path=published).index()
    assert len(index.records) == 9
    assert reasons(index) == {"train_images/Thumbs.db": "not a DICOM file"}


def test_each_row_finds_its_image_in_a_folder_or_beside_it(published: Path) -> None:
    place = published / "train_images"
    (place / "10006" / "462822612.dcm").rename(place / "462822612.dcm")
    index = rsna(path=published).index()
    assert not index.rejected
    assert by_path(index)["train_images/462822612.dcm"].label == "negative"
    assert by_path(index)["train_images/10006/462822613.dcm"].label == "cancer"


def test_rows_and_images_without_each_other_are_listed(published: Path) -> None:
    write(published / "train_images" / "10006" / "1.dcm", 60)
    (published / "train_images" / "10006" / "462822612.dcm").write_bytes(b"")
    with (published / "train.csv").open("a") as file:
        file.write(
            "1,10099,5,L,CC,61,0,0,0,,0,,29,False\n1,10098,6,L,CC,61,2,0,0,,0,,29,False\n1,2\n"
        )
    index = rsna(path=published).index()
    assert reasons(index) == {
        "train_images/10006/1.dcm": "no row of the labels matches",
        "train_images/10006/462822612.dcm": "the data set is empty",
        "train.csv row 10": "a row of the labels matches no image",
        "train.csv row 11": "the cancer column is neither 0, 1 nor empty",
        "train.csv row 12": "the row has not as many cells as the header",
    }


def test_an_image_is_only_its_own_patients(published: Path) -> None:
    place = published / "train_images"
    (place / "10006" / "462822612.dcm").rename(place / "10007" / "462822612.dcm")
    index = rsna(path=published).index()
    assert reasons(index) == {
        "train_images/10007/462822612.dcm": "no row of the labels matches",
        "train.csv row 2": "a row of the labels matches no image",
    }


def test_missing_columns_are_named_with_those_expected(published: Path) -> None:
    (published / "train.csv").write_text("pid,image_id\n1,2\n")
    with pytest.raises(DataError, match=r"train\.csv lacks patient_id, cancer") as caught:
        rsna(path=published).index()
    assert "image_id, patient_id, cancer" in str(caught.value)
    assert "pid, image_id" in caught.value.local


def test_without_train_csv_there_is_nothing_to_read(published: Path) -> None:
    (published / "train.csv").unlink()
    for act in (rsna(path=published).index, rsna(path=published).fingerprint):
        with pytest.raises(DataError, match="labels cannot be read"):
            act()


def test_the_fingerprint_follows_both_tables(published: Path) -> None:
    seen = [rsna(path=published).fingerprint(), rsna(path=published, test=False).fingerprint()]
    (published / "test.csv").write_text(f"{TEST_HEADER}2,10020,736471439,L,MLO,81,0,21,10020_L\n")
    seen.append(rsna(path=published).fingerprint())
    assert len(set(seen)) == 3
