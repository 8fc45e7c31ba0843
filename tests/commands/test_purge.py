from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from client_app.cache import Cache
from commands.main import app


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """Return a cache-dir with one entry of about a MiB."""
    cache = Cache(tmp_path / "images", quota=2**30)
    cache.keep("something", {"image": np.zeros(2**20, dtype=np.uint8)})
    return tmp_path


def test_every_entry_is_deleted(kept: Path) -> None:
    result = CliRunner().invoke(app, ["purge", "--cache-dir", str(kept), "--yes"])
    assert (result.exit_code, result.stdout) == (0, "1.0 MiB freed\n")
    assert Cache(kept / "images", quota=2**30).find("something") is None


def test_what_is_kept_of_old_runs_goes_too(kept: Path) -> None:
    old, new = kept / "state" / "spring", kept / "state" / "winter"
    for folder in (old, new):
        folder.mkdir(parents=True)
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    result = CliRunner().invoke(app, ["purge", "--cache-dir", str(kept), "--yes"])
    assert result.stdout == "1.0 MiB freed, the state of 1 run deleted\n"
    assert (old.exists(), new.exists()) == (False, True)


@pytest.mark.parametrize(("answer", "stays"), [("n\n", True), ("\n", True), ("y\n", False)])
def test_it_asks_first(kept: Path, answer: str, stays: bool) -> None:
    result = CliRunner().invoke(app, ["purge", "--cache-dir", str(kept)], input=answer)
    assert result.exit_code == 0
    assert (Cache(kept / "images", quota=2**30).find("something") is not None) is stays
    assert ("nothing was deleted" in result.stdout) is stays


@pytest.mark.parametrize("files", [["thesis.txt"], []])
def test_another_folder_is_left_alone(tmp_path: Path, files: list[str]) -> None:
    (tmp_path / "images").mkdir()
    for name in files:
        (tmp_path / "images" / name).touch()
    result = CliRunner().invoke(app, ["purge", "--cache-dir", str(tmp_path), "--yes"])
    assert result.exit_code == 2
    assert [path.name for path in (tmp_path / "images").iterdir()] == files


def test_where_there_is_no_cache_none_is_made(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["purge", "--cache-dir", str(tmp_path), "--yes"])
    assert result.exit_code == 0
    assert "nothing to delete" in result.stdout
    assert list(tmp_path.iterdir()) == []
