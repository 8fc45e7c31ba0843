from __future__ import annotations

import runpy
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.deploy.compose_files import ROOT

SCRIPT = ROOT / "deploy" / "image" / "compact.py"
MIB = 1024**2


def _run(path: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, str(SCRIPT), str(path), *command]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def _filled_and_emptied(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")  # as Flower has it
        database.execute("CREATE TABLE IF NOT EXISTS objects (content BLOB)")
        database.execute("CREATE TABLE IF NOT EXISTS node (name TEXT)")
        database.execute("INSERT INTO node VALUES ('north')")
        database.execute("INSERT INTO objects VALUES (zeroblob(?))", (10 * MIB,))
        database.commit()
        database.execute("DELETE FROM objects")
        database.commit()


def test_a_file_keeps_its_size_without_it(tmp_path: Path) -> None:
    _filled_and_emptied(tmp_path / "link.db")
    assert (tmp_path / "link.db").stat().st_size > 10 * MIB


def test_a_new_file_gives_back_what_is_deleted(tmp_path: Path) -> None:
    path = tmp_path / "link.db"
    assert _run(path, "true").returncode == 0
    for _ in range(2):
        _filled_and_emptied(path)
        assert path.stat().st_size < MIB


def test_a_file_of_before_shrinks_and_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "link.db"
    _filled_and_emptied(path)
    assert _run(path, "true").returncode == 0
    assert path.stat().st_size < MIB
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT name FROM node").fetchall() == [("north",)]
    _filled_and_emptied(path)
    assert path.stat().st_size < MIB


def test_it_becomes_the_command(tmp_path: Path) -> None:
    done = _run(
        tmp_path / "link.db", sys.executable, "-c", "import sys; print(sys.argv[1:])", "a b"
    )
    assert done.stdout == "['a b']\n"
    assert _run(tmp_path / "link.db", sys.executable, "-c", "raise SystemExit(7)").returncode == 7


def test_what_is_no_database_is_left_alone_and_said(tmp_path: Path) -> None:
    path = tmp_path / "link.db"
    path.write_text("these are no rows, but somebody's words" * 100)
    before = path.read_bytes()
    done = _run(path, "echo", "started")
    assert done.stdout == "started\n"
    assert "the database is not compacted" in done.stderr
    assert path.read_bytes() == before


def test_one_that_is_written_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = runpy.run_path(str(SCRIPT))
    monkeypatch.setitem(script["compact"].__globals__, "_PATIENCE", 0.1)
    path = tmp_path / "link.db"
    _filled_and_emptied(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            script["compact"](path)
