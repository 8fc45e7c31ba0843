from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from client_app import worker_process, workers
from client_app.workers import Workers, cores
from fedmend import plugins
from fedmend.errors import DataError, RunError


class Squared:
    """Squares numbers; some are special."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.parent = os.getpid()

    def __call__(self, item: int) -> int:
        time.sleep(0.002)
        here = os.getpid() == self.parent
        if not here:
            (self.folder / f"pid-{os.getpid()}").touch()
        if item == -1 and not here:
            os.kill(os.getpid(), signal.SIGKILL)
        if item == -2 and not here and not (self.folder / "once").exists():
            (self.folder / "once").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if item == -3 and not here:
            time.sleep(60)
        if item == -4:
            raise DataError("the folder is gone", local="/data/doe")
        if item == -5:
            raise OSError(5, "the disk")
        return item * item

    def lost(self, item: int) -> int:
        return 0


class Unfit:
    def __call__(self, item: int) -> int:
        return item

    def lost(self, item: int) -> int:
        return item

    def __setstate__(self, state: object) -> None:
        raise ValueError("not here")

    def __getstate__(self) -> object:
        return {"a": 1}


def pids(folder: Path) -> set[int]:
    return {int(path.name.partition("-")[2]) for path in folder.glob("pid-*")}


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("count", [1, 2, 4])
def test_results_come_in_order_whoever_did_the_work(tmp_path: Path, count: int) -> None:
    items = list(range(700))
    with Workers(count, patience=0) as crew:
        assert list(crew.map(Squared(tmp_path), items)) == [n * n for n in items]
        assert list(crew.map(Squared(tmp_path), items[:50])) == [n * n for n in items[:50]]
        assert list(crew.map(Squared(tmp_path), [])) == []
    helped = pids(tmp_path)
    assert (len(helped) > 0) == (count > 1)
    assert len(helped) <= count - 1
    assert not any(alive(pid) for pid in helped)


def test_a_small_job_starts_no_process(tmp_path: Path) -> None:
    with Workers(4) as crew:
        assert list(crew.map(Squared(tmp_path), range(20))) == [n * n for n in range(20)]
    assert not pids(tmp_path)


def test_no_more_items_are_taken_than_are_in_flight(tmp_path: Path) -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(2000):
            taken += 1
            yield item

    with Workers(2, patience=0) as crew:
        for done, _ in enumerate(crew.map(Squared(tmp_path), items()), 1):
            assert taken - done <= 8 * (3 * 2 + 1)
            if done == 300:
                break


def test_a_process_that_dies_over_an_item_costs_that_item_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "_help", lambda ahead: ahead[0].future.exception())
    items = [*range(1, 20), -1, *range(20, 40), -1, 5]
    with Workers(2, patience=0) as crew:
        assert list(crew.map(Squared(tmp_path), items)) == [max(n, 0) ** 2 for n in items]
    assert len(pids(tmp_path)) == 5  # two tries each, and the first process


def test_an_item_has_a_second_try(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_help", lambda ahead: ahead[0].future.exception())
    with Workers(2, patience=0) as crew:
        assert list(crew.map(Squared(tmp_path), [1, -2, 3])) == [1, 4, 9]


def test_a_process_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_help", lambda ahead: ahead[0].future.exception())
    monkeypatch.setattr(worker_process, "SECONDS", 0.5)
    with Workers(2, patience=0) as crew:
        assert list(crew.map(Squared(tmp_path), [1, -3, 3])) == [1, 0, 9]
    assert not any(alive(pid) for pid in pids(tmp_path))


@pytest.mark.parametrize(("item", "kind"), [(-4, DataError), (-5, OSError)])
def test_what_the_work_raises_is_raised_here_with_its_local_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, item: int, kind: type[Exception]
) -> None:
    monkeypatch.setattr(workers, "_help", lambda ahead: ahead[0].future.exception())
    with pytest.raises(kind) as caught, Workers(2, patience=0) as crew:
        list(crew.map(Squared(tmp_path), [1, 2, item, 3]))
    if kind is DataError:
        assert getattr(caught.value, "local", "") == "/data/doe"
    assert not any(alive(pid) for pid in pids(tmp_path))


def test_work_that_cannot_be_unpacked_there_ends_the_call() -> None:
    with pytest.raises(ValueError, match="not here"), Workers(2, patience=0) as crew:
        list(crew.map(Unfit(), iter(int, 1)))


def test_a_process_that_cannot_be_started_ends_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_SCRIPT", tmp_path / "gone.py")
    with pytest.raises(RunError, match="cannot be started"), Workers(2, patience=0) as crew:
        list(crew.map(Squared(tmp_path), iter(int, 1)))


def test_a_caller_that_stops_early_leaves_no_process(tmp_path: Path) -> None:
    with Workers(3, patience=0) as crew:
        for _ in crew.map(Squared(tmp_path), iter(int, 1)):
            if pids(tmp_path):
                break
    assert not any(alive(pid) for pid in pids(tmp_path))


_PARENT = """
import os, sys
from pathlib import Path
from client_app.workers import Workers
from tests.client_app.test_workers import Squared
folder = Path(sys.argv[1])
with Workers(3, patience=0) as crew:
    for _ in crew.map(Squared(folder), iter(int, 1)):
        if any(folder.glob("pid-*")):
            os.kill(os.getpid(), 9)
"""


def test_processes_die_with_their_parent_and_are_told_nothing_in_the_open(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", _PARENT, str(tmp_path)], env=environment, cwd=root)
    helped = pids(tmp_path)
    assert helped
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in helped) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in helped)


def test_nothing_but_the_script_is_on_the_command_line(tmp_path: Path) -> None:
    process = worker_process.Process()
    try:
        process.take(pickle.dumps(Squared(tmp_path)))
        told = Path(f"/proc/{process.process.pid}/cmdline").read_bytes().split(b"\0")
        assert [Path(part.decode()).name for part in told[1:] if part] == ["-P", "worker.py"]
    finally:
        process.end()


def test_cores_are_those_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3, 4, 5})
    for quota, expected in (("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1)):
        (tmp_path / "cpu.max").write_text(quota)
        monkeypatch.setattr(workers, "_QUOTA", tmp_path / "cpu.max")
        assert cores() == expected
    monkeypatch.setattr(workers, "_QUOTA", tmp_path / "none")
    assert cores() == 6


def test_every_reader_can_be_sent_to_another_process(tmp_path: Path) -> None:
    built = {
        "dicom": f"dicom(path='{tmp_path}')",
        "folder": f"folder(path='{tmp_path}')",
        "medmnist": f"medmnist(path='{tmp_path}/x.npz')",
        "phantom": "phantom(count=3)",
        "rsna": f"rsna(path='{tmp_path}')",
    }
    assert set(built) == set(plugins.READERS.names())
    for spec in built.values():
        reader = plugins.READERS.build(spec)
        if getattr(reader, "whole", False):
            continue  # no process but this one decodes its images
        again = pickle.loads(pickle.dumps(reader))
        assert getattr(again, "decoding", "") == getattr(reader, "decoding", "")
