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


def test_a_file_that_says_the_same_already_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.csv"
    write(path, ("a",), [("x",)])
    before = path.stat()
    write(path, ("a",), [("x",)])
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.chmod(0o644)
    write(path, ("a",), [("x",)])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    write(path, ("a",), [("y",)])
    assert path.read_text() == "a\ny\n"


def test_a_list_takes_the_place_of_a_link_and_leaves_what_it_points_to(tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text("a\nx\n")
    (tmp_path / "other.csv").chmod(0o600)
    (tmp_path / "l.csv").symlink_to(tmp_path / "other.csv")
    write(tmp_path / "l.csv", ("a",), [("x",)])
    assert not (tmp_path / "l.csv").is_symlink()


@given(st.text(st.characters(), max_size=20) | st.just("\udcff\x1b[31m\u202e"))
def test_whatever_a_name_holds_fits_on_one_line_of_text(text: str) -> None:
    shown = legible(text)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert shown == text or not text.isprintable()
