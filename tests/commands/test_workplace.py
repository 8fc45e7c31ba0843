from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from commands.workplace import environment, scratch


def test_the_environment_is_shut_off_from_the_users_own_flower_and_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")
    monkeypatch.setenv("FLWR_HOME", "/home/someone/.flwr")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    made = environment(2)
    assert "RAY_ADDRESS" not in made
    assert "FLWR_HOME" not in made
    assert made["CUDA_VISIBLE_DEVICES"] == "1"
    assert made["OMP_NUM_THREADS"] == made["MKL_NUM_THREADS"] == "2"
    assert made["FLWR_TELEMETRY_ENABLED"] == "0"
    assert made["FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION"] == "1"
    assert made["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)


def test_nothing_of_the_scratch_folder_stays() -> None:
    with scratch() as home:
        (home / "deep").mkdir()
        (home / "deep" / "file").touch()
    assert not home.exists()


def test_the_scratch_folders_path_is_short_enough_for_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    with scratch() as home:
        assert len(str(home)) <= 40
