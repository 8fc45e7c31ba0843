from __future__ import annotations

import errno
import multiprocessing
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from client_app import locks
from client_app.cache import Cache
from client_app.entries import Arrays, Writer
from fedmend.errors import DataError

MIB = 1024**2


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "private" / "images"


@pytest.fixture
def cache(root: Path) -> Cache:
    return Cache(root, 10 * MIB)


def block(value: int, size: int = MIB) -> dict[str, np.ndarray]:
    return {"x": np.full(size, value, np.uint8)}


def never() -> Arrays:
    raise AssertionError("made again")


def entries(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def size_of(folder: Path) -> int:
    """Return a folder's size; 0 where another process deletes it meanwhile."""
    try:
        return sum(path.stat().st_size for path in folder.iterdir())
    except FileNotFoundError:
        return 0


def age(root: Path, cache: Cache, keys: str) -> None:
    """Make the entries' last use lie in the past, the first key's furthest."""
    for seconds, key in zip(range(len(keys), 0, -1), keys, strict=True):
        assert cache.find(key) is not None
        stamp = time.time() - 100 * seconds
        newest = max(entries(root), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (stamp, stamp))


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.uint16).reshape(3, 4),
        np.zeros((0, 1, 4, 4), np.uint16),
        np.array(["a", "größer"]),
        np.array([], dtype="U"),
        np.array(3.5),
        np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        np.arange(10)[::2],
        np.array([True, False]),
    ],
    ids=str,
)
def test_arrays_come_back_as_they_were_and_read_only(cache: Cache, array: np.ndarray) -> None:
    first = cache.arrays("key", lambda: {"x": array})["x"]
    again = cache.arrays("key", never)["x"]
    for kept in (first, again):
        np.testing.assert_array_equal(kept, array)
        assert kept.dtype == array.dtype
        assert not kept.flags.writeable


def test_keys_are_apart_and_another_process_finds_them(cache: Cache, root: Path) -> None:
    cache.keep("a", block(1))
    cache.keep("b", block(2))
    other = Cache(root, MIB)
    found = other.find("a")
    assert found is not None
    assert found["x"][0] == 1
    assert other.find("c") is None


def test_keep_replaces_and_what_was_mapped_stays_readable(cache: Cache) -> None:
    old = cache.arrays("a", lambda: block(1))["x"]
    cache.keep("a", block(2))
    assert cache.arrays("a", never)["x"][0] == 2
    assert old[-1] == 1


def test_rows_may_be_fewer_than_were_planned(cache: Cache) -> None:
    def fill(writer: Writer) -> None:
        with writer.rows("x", np.uint16, (2, 2)) as write:
            for value in range(3):
                write(np.full((2, 2), value, np.uint16))

    kept = cache.entry("a", MIB, fill)["x"]
    assert kept.shape == (3, 2, 2)
    assert kept[:, 0, 0].tolist() == [0, 1, 2]


def test_objects_are_never_written(cache: Cache, root: Path) -> None:
    with pytest.raises(TypeError, match="objects"):
        cache.keep("a", {"x": np.array([None])})
    assert not entries(root)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_may_look(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        Cache(tmp_path / "a" / "b", MIB).keep("key", block(1, 10))
    finally:
        os.umask(before)
    found = [tmp_path / "a", *(tmp_path / "a").rglob("*")]
    assert {path.stat().st_mode & 0o777 for path in found if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in found if path.is_file()} == {0o600}


def test_a_cache_that_was_opened_up_is_closed_again(cache: Cache, root: Path) -> None:
    root.chmod(0o755)
    Cache(root, MIB)
    assert root.stat().st_mode & 0o777 == 0o700


def test_names_tell_nothing(cache: Cache, root: Path) -> None:
    cache.keep("patient Doe /data/x.png", block(1, 10))
    known = re.compile(r"fedmend-cache|room\.lock|[0-9a-f]{40}(\.lock)?|x\.npy|entry\.json")
    assert all(known.fullmatch(path.name) for path in root.rglob("*"))
    assert not any(b"Doe" in path.read_bytes() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("file", ["x.npy", "entry.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes() + b"x"),
        lambda path: path.write_bytes(b"\0" * path.stat().st_size),
        lambda path: path.write_bytes(b"[]" + b" " * (path.stat().st_size - 2)),
    ],
    ids=["missing", "empty", "short", "long", "zeros", "other"],
)
def test_damaged_entries_are_made_again(
    cache: Cache, root: Path, file: str, damage: Callable[[Path], object]
) -> None:
    cache.keep("a", block(1, 1000))
    damage(entries(root)[0] / file)
    assert cache.find("a") is None
    assert cache.arrays("a", lambda: block(7, 1000))["x"][0] == 7
    assert cache.arrays("a", never)["x"][0] == 7


@pytest.mark.parametrize("oldest_first", ["abcd", "dcba", "cbda", "bdac"])
def test_the_least_recently_used_go_first(cache: Cache, root: Path, oldest_first: str) -> None:
    for key in "abcd":
        cache.keep(key, block(1, 2 * MIB))
    age(root, cache, oldest_first)
    fresh = Cache(root, 10 * MIB)
    assert fresh.find(oldest_first[0]) is not None  # used just now
    fresh.keep("e", block(1, 5 * MIB))
    left = {key for key in "abcde" if fresh.find(key) is not None}
    assert left == {oldest_first[0], oldest_first[3], "e"}


def test_what_a_call_uses_is_not_evicted_and_more_is_refused(root: Path) -> None:
    cache = Cache(root, 3 * MIB)
    cache.keep("a", block(1))
    cache.keep("b", block(1))
    with pytest.raises(
        DataError, match=r"need 0\.00391 GiB, .* allows 0\.00293 GiB; .*cache-quota"
    ):
        cache.keep("c", block(1, 2 * MIB))
    assert [key for key in "abc" if cache.find(key) is not None] == ["a", "b"]
    Cache(root, 3 * MIB).keep("c", block(1, 2 * MIB))


def test_what_exceeds_the_quota_alone_is_refused_and_evicts_nothing_it_made(root: Path) -> None:
    with pytest.raises(DataError, match="cache-quota"):
        Cache(root, MIB).arrays("a", lambda: block(1, 2 * MIB))
    assert not entries(root)


def test_replacing_does_not_count_twice(root: Path) -> None:
    cache = Cache(root, 3 * MIB)
    for value in range(3):
        cache.keep("a", block(value, 2 * MIB))
    assert cache.arrays("a", never)["x"][0] == 2


def test_a_failed_entry_leaves_nothing(cache: Cache, root: Path) -> None:
    def fill(writer: Writer) -> None:
        writer.array("x", np.zeros(10))
        raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        cache.entry("a", MIB, fill)
    assert not entries(root)
    assert cache.find("a") is None


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_said_without_paths_and_leaves_nothing(
    cache: Cache, root: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def full(handle: int) -> None:
        raise OSError(code, os.strerror(code), str(root))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="cache cannot be written: ") as caught:
        cache.keep("a", block(1))
    assert str(root) not in str(caught.value)
    assert str(root) in caught.value.local
    monkeypatch.undo()
    assert not entries(root)
    assert cache.arrays("a", lambda: block(3))["x"][0] == 3


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_disk_that_fills_up_while_rows_are_written(
    cache: Cache, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def opened(path: Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        if Path(path).suffix == ".npy":
            return real("/dev/full", os.O_WRONLY)
        return real(path, flags, mode, dir_fd=dir_fd)

    def fill(writer: Writer) -> None:
        with writer.rows("x", np.uint8, (MIB,)) as write:
            for _ in range(3):
                write(np.zeros(MIB, np.uint8))

    monkeypatch.setattr(os, "open", opened)
    monkeypatch.setattr(os, "fchmod", lambda handle, mode: None)
    with pytest.raises(DataError, match="no space left on device"):
        cache.entry("a", 4 * MIB, fill)
    assert not entries(root)


def test_purging_frees_everything_and_can_be_repeated(cache: Cache, root: Path) -> None:
    cache.keep("a", block(1))
    cache.keep("b", block(1))
    freed = cache.purge()
    assert 2 * MIB < freed < 2 * MIB + 4096
    assert {path.name for path in root.iterdir()} == {"fedmend-cache", "room.lock"}
    assert cache.purge() == 0
    assert cache.arrays("a", lambda: block(5))["x"][0] == 5


def test_purging_touches_nothing_else(cache: Cache, root: Path, tmp_path: Path) -> None:
    cache.keep("a", block(1))
    outside = tmp_path / "mine"
    outside.mkdir()
    (outside / "keep.txt").write_text("x")
    (root / ("0" * 40)).symlink_to(outside)
    (root / "thesis").mkdir()
    (root / "notes.lock").touch()
    cache.purge()
    assert (outside / "keep.txt").exists()
    left = {"fedmend-cache", "room.lock", "0" * 40, "thesis", "notes.lock"}
    assert {path.name for path in root.iterdir()} == left


def test_another_folder_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("x")
    mode = tmp_path.stat().st_mode
    with pytest.raises(DataError, match="something else") as caught:
        Cache(tmp_path, MIB)
    assert str(tmp_path) in caught.value.local
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
    assert tmp_path.stat().st_mode == mode


def test_a_file_in_the_folders_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cache cannot be written"):
        Cache(tmp_path / "file" / "images", MIB)


def test_what_a_killed_writer_left_is_swept_up(cache: Cache, root: Path) -> None:
    left = root / f"partial-{'0' * 40}"
    left.mkdir()
    (left / "x.npy").write_bytes(b"\0" * MIB)
    cache.keep("a", block(1))
    assert not left.exists()


def test_a_living_writers_entry_is_not_swept_up(cache: Cache, root: Path) -> None:
    left = root / f"partial-{'0' * 40}"
    left.mkdir()
    (left / "reserved").write_text(str(8 * MIB))
    with locks.held(root / f"{'0' * 40}.lock"):
        cache.keep("a", block(1))
        cache.purge()
        assert left.exists()
        with pytest.raises(DataError, match="cache-quota"):  # its claim counts
            cache.keep("b", block(1, 3 * MIB))


def test_what_another_process_has_just_made_is_not_evicted(cache: Cache, root: Path) -> None:
    cache.keep("a", block(1, 6 * MIB))
    (entry,) = entries(root)
    other = Cache(root, 10 * MIB)
    with locks.held(root / f"{entry.name}.lock"), pytest.raises(DataError, match="cache-quota"):
        other.keep("b", block(1, 6 * MIB))
    assert entry.exists()
    other.keep("b", block(1, 6 * MIB))
    assert not entry.exists()


def test_a_lock_is_held_by_one_and_may_be_deleted_by_its_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locks.held(path) as first:
        assert first
        with locks.held(path, wait=False) as second:
            assert not second
        path.unlink()
        with locks.held(path, wait=False) as third:  # a new file, a new lock
            assert third
    with locks.held(path, wait=False) as fourth:
        assert fourth


def _in_processes(work: Callable[[int], None], count: int) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(number,)) for number in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * count


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made.txt"
    path.touch()
    return path


def test_of_several_processes_one_makes_an_entry(root: Path, made: Path) -> None:
    """All start without even the cache's folder, and ask for three keys in different orders."""

    def make(key: int) -> dict[str, np.ndarray]:
        with made.open("a") as file:
            file.write(f"{key}\n")
        time.sleep(0.05)
        return block(key, 1000)

    def work(number: int) -> None:
        cache = Cache(root, MIB)
        for step in range(3):
            key = (number + step) % 3
            kept = cache.arrays(str(key), lambda: make(key))["x"]  # noqa: B023 - called at once
            assert (kept == key).all()

    _in_processes(work, 6)
    assert sorted(made.read_text().split()) == ["0", "1", "2"]


def test_processes_that_write_at_once_keep_the_quota_together(root: Path) -> None:
    quota = 4 * MIB

    def work(number: int) -> None:
        for step in range(8):
            cache = Cache(root, quota)
            key = f"{number} {step % 4}"
            kept = cache.arrays(key, lambda: block(number, MIB // 2))["x"]
            assert (kept == number).all()
            total = sum(map(size_of, entries(root)))
            assert total <= quota + MIB  # what was evicted while it was counted

    _in_processes(work, 3)
    total = sum(map(size_of, entries(root)))
    assert total <= quota
    assert not [path for path in entries(root) if path.name.startswith(("partial-", "gone-"))]
