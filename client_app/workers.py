"""Work divided over processes: in order, a bounded number of items ahead of whoever asks.

Decoding is mostly Python's own work, which threads of one process cannot share. The calling
process works too, and alone where others would start too late to be of use. What comes out does
not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import queue
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np

from client_app.worker_process import DiedError, Process
from fedmend.errors import RunError

PATIENCE = 1.0
"""Seconds of work in the calling process after which others are started in any case."""
_GLANCE = 0.1
"""Of that time, after which they are started if what is left would take:"""
_LONG = 3.0
"""Times as long."""
_AT_ONCE = 8
"""Items of a batch: enough that sending them costs nothing, few enough to end together."""
_QUOTA = Path("/sys/fs/cgroup/cpu.max")

Item = TypeVar("Item")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)


class Work(Protocol[Item_contra, Result_co]):
    """What is done with each item; it, the items and the results can be pickled."""

    def __call__(self, item: Item_contra, /) -> Result_co:
        """Return what an item comes to."""
        ...

    def lost(self, item: Item_contra, /) -> Result_co:
        """Return what an item comes to over which a process died, twice."""
        ...


class Mapped(Protocol):
    """Does a piece of work with each item, and returns the results in the items' order."""

    def __call__(self, work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
        """Return the results, one by one."""
        ...


def here(work: Work[Item, Result], items: Sequence[Item]) -> Iterator[Result]:
    """Do the work in this process alone."""
    return map(work, items)


def cores() -> int:
    """Return how many cores this process may use, by its affinity and its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with contextlib.suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text(encoding="ascii").split()
        if quota != "max":
            count = min(count or 1, int(quota) // int(period))
    return max(1, count or 1)


class _Batch:
    """Some items; whoever gets its future running does them."""

    def __init__(self, work: Work[Any, Any], packed: bytes, items: Sequence[Any]) -> None:
        self.work = work
        self.packed = packed
        self.items = items
        self.future: Future[list[Any]] = Future()

    def do(self) -> list[Any]:
        """Return the items' results, worked out in this process."""
        return [self.work(item) for item in self.items]


class Workers:
    """This process and others, which are started when work takes long, and end with the context.

    Args:
        count: of all processes, this one included.
        patience: seconds before others are started.
    """

    def __init__(self, count: int, patience: float = PATIENCE) -> None:
        self.count = count
        self.patience = patience
        self._lock = threading.Lock()
        self._batches: queue.SimpleQueue[_Batch | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._processes: set[Process] = set()
        self._closed = False
        self._failure: BaseException | None = None

    def __enter__(self) -> Workers:
        _keep_memory()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._lock:
            self._closed = True
            for process in self._processes:
                process.process.kill()  # a thread that waits for its answer then gets none
        for _ in self._threads:
            self._batches.put(None)
        for thread in self._threads:
            thread.join()
        for process in tuple(self._processes):
            self._end(process)

    def map(self, work: Work[Item, Result], items: Iterable[Item]) -> Iterator[Result]:
        """Do a piece of work with each item; yield the results in the items' order.

        What the work raises is raised here.

        Raises:
            RunError: a process cannot be started.
        """
        waiting = iter(items)
        total = len(items) if isinstance(items, Sized) else 0
        taken = 0.0
        for done, item in enumerate(waiting, 1):
            begun = time.monotonic()
            result = work(item)
            taken += time.monotonic() - begun
            yield result
            if self.count > 1 and (self._threads or self._is_long(taken, done, total)):
                yield from self._divided(work, waiting)

    def _divided(self, work: Work[Item, Result], waiting: Iterator[Item]) -> Iterator[Result]:
        packed = pickle.dumps(work, pickle.HIGHEST_PROTOCOL)
        self._start(packed)
        ahead: deque[_Batch] = deque()
        while True:
            while len(ahead) < 3 * self.count and (items := list(islice(waiting, _AT_ONCE))):
                ahead.append(_Batch(work, packed, items))
                self._batches.put(ahead[-1])
            if not ahead:
                return
            if self._failure is not None:
                raise self._failure
            if ahead[0].future.done():
                yield from ahead.popleft().future.result()
            else:
                _help(ahead)

    def _is_long(self, taken: float, done: int, total: int) -> bool:
        """Say whether other processes are worth their start, by how long some items took."""
        if taken >= self.patience:
            return True
        left = taken / done * (total - done)
        return taken >= _GLANCE * self.patience and left >= _LONG * self.patience

    def _start(self, packed: bytes) -> None:
        while len(self._threads) < self.count - 1:
            thread = threading.Thread(target=self._serve, args=(packed,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, packed: bytes) -> None:
        """Keep one process busy; the body of a thread."""
        running: Future[list[Any]] | None = None
        process = None
        try:
            process = self._ready(packed)  # before a batch is taken that others could do
            while (batch := self._batches.get()) is not None:
                if batch.future.set_running_or_notify_cancel():
                    running = batch.future
                    process, results = self._done(process, batch)
                    running.set_result(results)
                    running = None
        except BaseException as error:  # noqa: BLE001 (raised where results are taken)
            self._failure = error
            if running is not None:
                running.set_exception(error)
        finally:
            if process is not None:
                self._end(process)

    def _done(self, process: Process, batch: _Batch) -> tuple[Process, list[Any]]:
        """Return the process that lives on, and the items' results."""
        results: list[Any] = []
        died_at = -1
        while len(results) < len(batch.items):
            try:
                process.take(batch.packed)
                process.ask(batch.items[len(results) :], results)
            except DiedError:
                self._end(process)
                # Once may be the system's doing; a second time it is the item's.
                if len(results) == died_at:
                    results.append(batch.work.lost(batch.items[died_at]))
                died_at = len(results)
                process = self._ready(batch.packed)
        return process, results

    def _ready(self, packed: bytes) -> Process:
        """Start a process.

        Raises:
            RunError: it cannot be started.
        """
        with self._lock:
            if self._closed:
                raise RunError("decoding was ended")
            try:
                process = Process()
            except OSError as error:
                raise _no_process(error) from error
            self._processes.add(process)
        try:
            process.take(packed)
        except DiedError as error:
            self._end(process)
            raise _no_process(error) from error
        return process

    def _end(self, process: Process) -> None:
        with self._lock:
            self._processes.discard(process)
        process.end()


def _keep_memory() -> None:
    """Let glibc keep what one image leaves free for the next, as it is told to elsewhere.

    It returns large blocks to the system until one of this size was freed, and then the system
    zeroes the same pages anew for each image, which takes as long as to show it.
    """
    np.empty(2**25 - 2**16, np.uint8)


def _no_process(error: Exception) -> RunError:
    return RunError("a process that decodes images cannot be started", local=str(error))


def _help(ahead: deque[_Batch]) -> None:
    """Do the first batch that no process has begun; where there is none, wait for the first."""
    for place, batch in enumerate(ahead):
        if batch.future.cancel():
            mine = _Batch(batch.work, batch.packed, batch.items)
            ahead[place] = mine
            mine.future.set_result(mine.do())
            return
    ahead[0].future.exception()
