from __future__ import annotations

import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_app.mending.ledger import NAME, Ledger, Row
from client_app.mending.target import Target
from fedmend.errors import RunError

PLAIN = Row("a.dcm", "0", "-1.5000", "yes", "mended", "a.dcm", "", "", "0" * 64, "f" * 32, "e" * 64)


@pytest.fixture
def target(tmp_path: Path) -> Target:
    made = Target(tmp_path / "out", tmp_path / "in")
    with made.held():
        pass
    return made


def cells(target: Target) -> list[list[str]]:
    with (target.root / NAME).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def noted(target: Target, *rows: Row) -> None:
    book = Ledger(target)
    book.note(rows)
    book.close()


def test_what_comes_from_outside_is_on_one_line_and_no_formula(target: Target) -> None:
    hostile = PLAIN._replace(source="-rf.dcm", output="=1.dcm", reason="+x", detail="two\nlines\r")
    noted(target, hostile)
    for _ in range(2):
        assert cells(target)[1][:8] == [
            "'-rf.dcm", "0", "-1.5000", "yes", "mended", "'=1.dcm", "'+x", "two\\nlines\\r",
        ]  # fmt: skip
        assert len((target.root / NAME).read_bytes().splitlines()) == 2
        again = Ledger(target)
        assert again.rows == {hostile.image: hostile}
        again.finish([hostile.image])


names = st.text(st.characters(exclude_categories=[]), max_size=8) | st.sampled_from(
    [
        "'-a",
        "'a",
        "\\n",
        "\\x27",
        "a\\",
        "\udcff",
        "''=",
        "-\\U0010ffff",
        "\x00\x85\u2028",
        "\\x5c\n",
    ]
)


@given(source=names, output=names, detail=names)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_text_is_had_back_to_the_letter(
    target: Target, source: str, output: str, detail: str
) -> None:
    (target.root / NAME).unlink(missing_ok=True)
    row = PLAIN._replace(source=source, output=output, detail=detail)
    noted(target, row)
    assert Ledger(target).rows == {row.image: row}
    assert len((target.root / NAME).read_text(encoding="utf-8").splitlines()) == 2


def test_a_table_of_an_earlier_version_is_read_as_it_was(target: Target) -> None:
    old = PLAIN._replace(source="-rf.dcm", output="b\udcff.dcm", detail="two\nlines")
    text = (
        ",".join(Row._fields) + "\n" + ",".join(old).replace(old.detail, f'"{old.detail}"') + "\n"
    )
    (target.root / NAME).write_bytes(text.encode("utf-8", "surrogateescape"))
    assert Ledger(target).rows == {old.image: old}


@pytest.mark.parametrize("text", ["\\Uffffffff", "\\xzz", "\x00"])
def test_a_table_that_somebody_wrote_into_is_no_crash(target: Target, text: str) -> None:
    noted(target, PLAIN)
    path = target.root / NAME
    path.write_text(path.read_text().replace("a.dcm", text))
    assert Ledger(target).rows[PLAIN.image].source == text


def test_what_is_no_table_is_told(target: Target) -> None:
    noted(target, PLAIN)
    with (target.root / NAME).open("a") as file:
        file.write("x" * 200_000 + "\n")
    with pytest.raises(RunError, match=r"mended.csv cannot be read: it is no table any more"):
        Ledger(target)
