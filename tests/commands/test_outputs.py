from __future__ import annotations

from pathlib import Path

import pytest

from commands.outputs import vacant
from fedmend.errors import SettingsError


def test_a_vacant_place_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert vacant("--out", Path("p.csv"), force=False) == tmp_path / "p.csv"
    (tmp_path / "p.csv").touch()
    assert vacant("--out", Path("p.csv"), force=True) == tmp_path / "p.csv"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("there.csv", "--out names a file that is there already"),
        ("dangling.csv", "--out names a file that is there already"),
        ("folder", "--out must name a file, and this is a folder"),
        ("absent/p.csv", "--out names a folder that does not exist"),
    ],
)
def test_what_is_taken_is_refused_without_its_path(
    tmp_path: Path, name: str, sentence: str
) -> None:
    (tmp_path / "there.csv").touch()
    (tmp_path / "dangling.csv").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").mkdir()
    with pytest.raises(SettingsError, match=sentence) as caught:
        vacant("--out", tmp_path / name, force=False)
    assert str(tmp_path) not in str(caught.value)
    assert caught.value.local == str(tmp_path / name)
