from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from commands import bundle
from fedmend.errors import RunError

# Flower 1.41 calls pathspec by a name that pathspec has since renamed.
pytestmark = pytest.mark.filterwarnings("ignore:GitWildMatchPattern:DeprecationWarning")


def test_the_bundle_holds_every_file_of_the_app_and_nothing_else() -> None:
    with zipfile.ZipFile(io.BytesIO(bundle.build())) as archive:
        names = set(archive.namelist()) - {".info/CONTENT"}
    root = Path(__file__).parents[2]
    wanted = {
        path.relative_to(root).as_posix()
        for package in bundle.PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and path.name != "py.typed"
    }
    # Flower drops kinds of files that it does not know (say, .html or .j2) without a word.
    assert names == wanted | {"pyproject.toml"}


def test_a_wheels_own_settings_are_found_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "fedmend"
    inside.mkdir()
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.setattr(bundle, "_folder", lambda package: tmp_path / package)
    assert bundle.files()["pyproject.toml"] == tmp_path / "pyproject.toml"
    (inside / "pyproject.toml").touch()
    assert bundle.files()["pyproject.toml"] == inside / "pyproject.toml"


def test_an_incomplete_installation_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "PACKAGES", ("no_such_package",))
    with pytest.raises(RunError, match="lacks its package no_such_package; reinstall"):
        bundle.files()


def test_flowers_refusal_is_passed_on(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "pyproject.toml"
    broken.write_text("[project]\nname = 'x'\nversion = '1'\n")
    monkeypatch.setattr(bundle, "files", lambda: {"pyproject.toml": broken})
    with pytest.raises(RunError, match="the app cannot be bundled"):
        bundle.build()
