from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from commands.run import named, run_folder
from fedmend.errors import SettingsError
from fedmend.settings import Settings


def _settings(**changed: Any) -> Settings:
    return named(Settings.parse({key.replace("_", "-"): value for key, value in changed.items()}))


def test_a_run_is_named_after_the_time_of_day() -> None:
    first, second = _settings(), _settings()
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", first.run_name)
    assert first.run_name != second.run_name
    assert first.run_dir == str(Path("~/.fedmend/runs").expanduser())


def test_a_fresh_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert run_folder(_settings(run_dir=str(tmp_path), run_name="a")) == tmp_path / "a"
    (tmp_path / "a").mkdir()
    assert run_folder(_settings(run_dir=str(tmp_path), run_name="a")) == tmp_path / "a"


def test_another_runs_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "settings.json").touch()
    with pytest.raises(SettingsError, match=r"'a' exists; choose another .* or resume=a") as caught:
        run_folder(_settings(run_dir=str(tmp_path), run_name="a"))
    assert str(tmp_path) not in str(caught.value)


def test_a_file_in_the_folders_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(SettingsError, match="a file is in its place"):
        run_folder(_settings(run_dir=str(tmp_path), run_name="a"))


def test_a_run_is_resumed_under_its_own_name(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "settings.json").touch()
    settings = _settings(run_dir=str(tmp_path), resume="a")
    assert settings.run_name == "a"
    assert run_folder(settings) == tmp_path / "a"


def test_what_is_not_there_cannot_be_resumed(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no run 'a' to resume"):
        run_folder(_settings(run_dir=str(tmp_path), resume="a"))


def test_a_resumed_run_takes_no_other_name() -> None:
    with pytest.raises(SettingsError, match="resume=a goes on under that name"):
        _settings(resume="a", run_name="b")
