from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client_app.readers.table import check_columns, fact_of, parsed, split_of, truth_of
from fedmend.errors import DataError


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_byte_order_marks_and_line_ends(delimiter: str, start: bytes, end: str) -> None:
    lines = [delimiter.join(cells) for cells in (("image", "label"), ("a b.png", " x "), ("", ""))]
    table = parsed(start + end.join(lines).encode())
    assert table.columns == ("image", "label")
    assert [row.cells for row in table.rows] == [{"image": "a b.png", "label": "x"}]


def test_quoted_cells_may_hold_delimiters_and_line_ends() -> None:
    (row,) = parsed(b'image,note\na.png,"one, two\nthree"\n').rows
    assert row.cells == {"image": "a.png", "note": "one, two\nthree"}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_all_cells_may_be_quoted(delimiter: str) -> None:
    lines = [delimiter.join(cells) for cells in (('"image"', '"label"'), ('"a,b;c.png"', '"x"'))]
    table = parsed("\n".join(lines).encode())
    assert [row.cells for row in table.rows] == [{"image": "a,b;c.png", "label": "x"}]


def test_one_column_is_a_table_too() -> None:
    assert parsed(b"image\na.png\nb.png\n").columns == ("image",)


def test_a_row_of_another_length_has_no_cells_and_knows_its_line() -> None:
    rows = parsed(b"a,b\n1,2\n1\n1,2,3\n").rows
    assert [(row.number, row.cells is None) for row in rows] == [(2, False), (3, True), (4, True)]


def test_columns_without_a_name_are_left_out() -> None:
    table = parsed(b",image,\n0,a.png,\n")
    assert table.columns == ("image",)
    assert table.rows[0].cells == {"image": "a.png"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"\n\n", "empty"),
        ("bild;größe\n".encode("latin-1"), "UTF-8"),
        (b'image,label\n"a.png,x\n', "well-formed"),
        (b'image,label\na.png,"x"y\n', "well-formed"),
        (b"image,label,label\n", "1 columns twice"),
    ],
)
def test_what_is_no_table_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parsed(data)


def test_missing_columns_are_named_locally_and_the_parameters_openly() -> None:
    table = parsed(b"file,class\n")
    with pytest.raises(DataError, match=r"image, patient=… names") as caught:
        check_columns(table, {"image": "img", "label": "class", "patient": "pid", "split": ""})
    assert "img" not in str(caught.value)
    assert caught.value.local == "no column img, pid; there is file, class"


@pytest.mark.parametrize(
    ("cell", "split"),
    [("", ""), ("train", "train"), ("Train", "train"), ("val", "val"), ("valid", "val"),
     ("validation", "val"), ("TEST", "test")],
)  # fmt: skip
def test_splits(cell: str, split: str) -> None:
    assert split_of(cell) == split


@pytest.mark.parametrize(
    ("cell", "truth"),
    [("", None), ("1", True), ("true", True), ("YES", True), ("0", False), ("False", False),
     ("no", False)],
)  # fmt: skip
def test_truths(cell: str, truth: bool | None) -> None:
    assert truth_of(cell) is truth


def test_other_words_are_refused() -> None:
    with pytest.raises(DataError, match="split"):
        split_of("training")
    with pytest.raises(DataError, match="noisy"):
        truth_of("maybe")


@pytest.mark.parametrize(
    ("cell", "fact"),
    [("7", 7.0), ("-2.50", -2.5), (".5", 0.5), ("1e3", 1000.0), ("0", 0.0), ("007", "007"),
     ("1_000", "1_000"), ("nan", "nan"), ("inf", "inf"), ("1e999", "1e999"), ("e5", "e5"),
     ("-", "-"), ("1.2.840", "1.2.840"), ("٣", "٣"), ("A", "A")],
)  # fmt: skip
def test_facts_are_numbers_only_where_written_as_numbers(cell: str, fact: str | float) -> None:
    assert fact_of(cell) == fact
    assert type(fact_of(cell)) is type(fact)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_table_or_refused(data: bytes) -> None:
    try:
        table = parsed(data)
    except DataError:
        return
    assert all(row.cells is None or set(row.cells) == set(table.columns) for row in table.rows)
