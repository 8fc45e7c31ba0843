from __future__ import annotations

import pytest

from client_app.dicom.headers import Header
from client_app.dicom.labels import Columns, Labels, of_table
from fedmend.errors import DataError

COLUMNS = Columns("image", "label", "patient", "split", "noisy")
HEAD = "image,label,patient,split,noisy,age\n"


def table(rows: str, key: str = "path") -> Labels:
    return of_table((HEAD + rows).encode(), COLUMNS, key)


def header(name: str) -> Header:
    return Header("d", "x", f"patient {name}", f"study {name}", f"series {name}", name, 1, {})


def left(labels: Labels) -> dict[str, str]:
    return {each.source: each.reason for each in (*labels.rejected, *labels.unmatched())}


@pytest.mark.parametrize(
    ("key", "cell"),
    [("path", "ct/1.dcm"), ("path", r".\ct\1.dcm"), ("SOPInstanceUID", "1.2"),
     ("SeriesInstanceUID", "series 1.2"), ("StudyInstanceUID", "study 1.2"),
     ("PatientID", " patient  1.2 ")],
)  # fmt: skip
def test_rows_are_found_by_each_key(key: str, cell: str) -> None:
    labels = table(f"{cell},ill, P 1 ,val,1,70\n", key)
    claim = labels.of("ct/1.dcm", header("1.2"))
    assert claim.core() == ("ill", "P 1", "val", True)
    assert claim.facts == {"label": "ill", "age": 70.0}
    assert not left(labels)
    with pytest.raises(DataError, match="no row of the labels matches"):
        labels.of("ct/2.dcm", header("1.3"))


@pytest.mark.parametrize(("cell", "path"), [("\xdc/1", "U\u0308/1"), ("U\u0308/1", "\xdc/1")])
def test_a_letter_and_its_accent_may_be_one_character_or_two(cell: str, path: str) -> None:
    labels = table(f"{cell},x,,,,\n")
    assert labels.of(path, header("1")).label == "x"
    assert not left(labels)


def test_rows_that_no_file_was_found_by_are_left_over() -> None:
    labels = table("a,x,,,,\nb,x,,,,\nc,x,,,,\n")
    labels.of("b", header("1"))
    labels.seen("c", None)  # it is there, but broken
    assert left(labels) == {"row 2": "a row of the labels matches no image"}


def test_an_image_without_a_key_is_not_found_by_an_empty_cell() -> None:
    labels = table(",x,,,,\n", "PatientID")
    with pytest.raises(DataError, match="no row"):
        labels.of("a", header("1")._replace(patient=""))
    assert left(labels) == {"row 2": "the row names no image"}


def test_rows_that_agree_are_used_once() -> None:
    labels = table("a,x,,,,1\na,x,,,,2\n")
    assert labels.of("a", header("1")).facts["age"] == 1.0
    assert left(labels) == {"row 3": "a row of the labels repeats another"}


@pytest.mark.parametrize("other", ["a,y,,,,", "a,x,q,,,", "a,x,,test,,", "a,x,,,0,"])
def test_rows_that_contradict_are_of_no_use(other: str) -> None:
    labels = table(f"a,x,,,,\n{other}\na,x,,,,\n")
    with pytest.raises(DataError, match="its row of the labels cannot be used"):
        labels.of("a", header("1"))
    assert left(labels) == dict.fromkeys(
        ("row 2", "row 3", "row 4"), "rows of the labels contradict each other"
    )


def test_faulty_rows_are_refused_one_by_one() -> None:
    labels = table("a,x,,sometimes,,\nb,x,,,perhaps,\nc,x\nd,x,,,,\n")
    assert left(labels) == {
        "row 2": "the split is none of train, val, valid, validation and test",
        "row 3": "the noisy column is none of 1, true, yes, 0, false, no and empty",
        "row 4": "the row has not as many cells as the header",
        "row 5": "a row of the labels matches no image",
    }
    with pytest.raises(DataError, match="its row"):
        labels.of("a", header("1"))


def test_missing_columns_are_named_locally() -> None:
    with pytest.raises(DataError, match="the labels lack the column that image"):
        of_table(b"datei,label\n", Columns("image", "label", "", "", ""), "path")
