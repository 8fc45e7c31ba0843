from __future__ import annotations

import csv
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from client_app.listing import legible, write


def test_a_list_is_private_and_exact(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    write(path, ("a", "b", "c", "d"), [("x, y", 3, 0.12345678, True), (None, -1, -2.5, False)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes() == b'a,b,c,d\n"x, y",3,0.123457,1\n,-1,-2.500000,0\n'
    assert [each.name for each in tmp_path.iterdir()] == ["l.csv"]


def test_nothing_from_outside_is_a_formula(tmp_path: Path) -> None:
    hostile = ("=HYPERLINK(1)", "+1", "-1", "@SUM(1)", "\t=1", "plain=1")
    write(tmp_path / "l.csv", ("a",), [(text,) for text in hostile])
    with (tmp_path / "l.csv").open(newline="") as file:
        cells = [row[0] for row in csv.reader(file)][1:]
    assert cells == ["'=HYPERLINK(1)", "'+1", "'-1", "'@SUM(1)", "\\t=1", "plain=1"]


@given(st.text(st.characters(), max_size=20) | st.just("\udcff\x1b[31m\u202e"))
def test_whatever_a_name_holds_fits_on_one_line_of_text(text: str) -> None:
    shown = legible(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert shown == text or not text.isprintable()
