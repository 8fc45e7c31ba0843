"""The run folders of this machine, and which of them is meant."""

from __future__ import annotations

from pathlib import Path

from fedmend.errors import RunError
from fedmend.settings import RUNS
from server_app import running


def all_of(run_dir: Path | None) -> list[Path]:
    """Return the run folders, those that began last first."""
    parent = (run_dir or RUNS).expanduser()
    found = [each.parent for each in parent.glob("*/settings.json")]
    return sorted(found, key=lambda each: (each / "settings.json").stat().st_mtime, reverse=True)


def named(name: str, run_dir: Path | None) -> Path:
    """Return a run's folder.

    Raises:
        RunError: there is none of that name.
    """
    folder = (run_dir or RUNS).expanduser() / name
    if Path(name).name != name or not (folder / "settings.json").is_file():
        raise RunError(f"there is no run {name!r}", local=f"looked in {folder.parent}")
    return folder


def under_way(run_dir: Path | None) -> list[Path]:
    """Return the folders of the runs that a coordinator is at work on."""
    return [folder for folder in all_of(run_dir) if running.of(folder) is not None]
