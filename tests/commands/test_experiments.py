"""The named experiments: every one of them is a run that could be started."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from fedmend.settings import Settings

FOLDER = Path(__file__).parents[2] / "experiments"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_an_experiments_settings_are_settings(path: Path, tmp_path: Path) -> None:
    given = tomllib.loads(path.read_text(encoding="utf-8"))
    assert given.pop("simulation", {}).keys() <= {"sites", "workers"}
    # Where the images lie is said on the command line.
    given["data"] = given["data"].replace("folder(", f"folder(path={tmp_path}, ")
    Settings.parse(given)
