from __future__ import annotations

from pathlib import Path

import pytest

from client_app.synth.staging import staged
from fedmend.errors import DataError


@pytest.mark.parametrize("there", [True, False])
def test_the_folder_appears_as_a_whole(tmp_path: Path, there: bool) -> None:
    target = tmp_path / "sites"
    if there:
        target.mkdir()
    with staged(target) as root:
        (root / "a").mkdir()
        (root / "a" / "b").touch()
        assert target.exists() is there
        assert not (target / "a").exists()
    assert [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*"))] == [
        "sites", "sites/a", "sites/a/b",
    ]  # fmt: skip


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_nothing_half_written_stays(
    tmp_path: Path, there: bool, error: type[BaseException]
) -> None:
    target = tmp_path / "sites"
    if there:
        target.mkdir()

    def interrupted() -> None:
        with staged(target) as root:
            (root / "a").touch()
            raise error

    with pytest.raises(error):
        interrupted()
    assert list(tmp_path.rglob("*")) == ([target] if there else [])


def test_anyone_may_read_what_the_system_lets_them(tmp_path: Path) -> None:
    """A container reads the sites as another user; the folder is no more private than others."""
    with staged(tmp_path / "sites"):
        pass
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "sites").stat().st_mode == (tmp_path / "plain").stat().st_mode


def _full(target: Path) -> None:
    target.mkdir()
    (target / "x").touch()


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (Path.touch, "a file of that name"),
        (_full, "the folder is not empty"),
    ],
)
def test_what_is_there_is_never_touched(tmp_path: Path, prepare: object, sentence: str) -> None:
    target = tmp_path / "sites"
    assert callable(prepare)
    prepare(target)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=sentence) as caught, staged(target):
        pytest.fail("the block ran")
    assert sorted(tmp_path.rglob("*")) == before
    assert str(tmp_path) not in str(caught.value)
    assert str(target) in caught.value.local


def test_a_folder_in_no_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"), staged(tmp_path / "a" / "b"):
        pytest.fail("the block ran")
    assert list(tmp_path.iterdir()) == []
