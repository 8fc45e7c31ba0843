"""The site's private cache: what was once decoded or derived is mapped from disk ever after.

An entry is written beside, flushed and renamed, so that no process ever sees half of one; one
process makes it while others wait. Its name is a hash. It holds patients' pixels: folders have
mode 0700, files 0600, and the whole is bounded by a quota.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

import numpy.typing as npt

from client_app.entries import Arrays, Writer, flush_folder, read_entry
from client_app.locks import held
from fedmend.errors import DataError

_MARKER = "fedmend-cache"
_ROOM = "room.lock"
_RESERVED = "reserved"
_PARTIAL, _GONE = "partial-", "gone-"
_ENTRY = re.compile(r"[0-9a-f]{40}")
_LOCK = re.compile(r"[0-9a-f]{40}\.lock")
_GIB = 1024**3
_OVERHEAD = 4096  # bytes of headers and listing, at most

Fill = Callable[[Writer], None]
"""Writes an entry's arrays."""


class Cache:
    """A folder of entries by key.

    Args:
        root: made, with mode 0700, where it does not exist; an existing one must be a cache.
        quota: largest size of all entries in bytes.

    Raises:
        DataError: ``root`` is a folder of something else.
    """

    def __init__(self, root: Path, quota: int) -> None:
        self.root = root
        self.quota = quota
        self._used: set[str] = set()
        with _told():
            for folder in (*reversed(root.parents), root):
                if not folder.exists():
                    folder.mkdir(mode=0o700, exist_ok=True)
            # The marker is the first file of every cache, so one that lacks it is none.
            if any(root.iterdir()) and not (root / _MARKER).exists():
                raise DataError(
                    "the cache's folder holds something else; choose an empty cache-dir",
                    local=str(root),
                )
            if root.stat().st_mode & 0o777 != 0o700:
                root.chmod(0o700)
            (root / _MARKER).touch(mode=0o600)

    def entry(self, key: str, size: int, fill: Fill) -> Arrays:
        """Return the entry of this key, read-only; made first where it is missing or damaged.

        Args:
            key: what the entry is made of; only its hash is kept.
            size: of its arrays in bytes, at most.
            fill: writes its arrays; called in one process at a time.

        Raises:
            DataError: the entry exceeds the quota, or the disk is full.
        """
        return self._found_or_made(key, lambda: (size, fill))

    def arrays(self, key: str, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> Arrays:
        """Return the entry of this key, made of arrays in memory where it does not exist.

        Raises:
            DataError: the entry exceeds the quota, or the disk is full.
        """
        return self._found_or_made(key, lambda: _filling(make()))

    def keep(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write an entry, in place of one that may be there.

        Raises:
            DataError: it exceeds the quota, or the disk is full.
        """
        with self._locked(key):
            self._write(key, *_filling(arrays))

    def find(self, key: str) -> Arrays | None:
        """Return the entry of this key, memory-mapped read-only; None if missing or damaged."""
        folder = self.root / _name(key)
        arrays = read_entry(folder)
        if arrays is not None:
            self._used.add(folder.name)
            with contextlib.suppress(FileNotFoundError):  # evicted since; what is mapped stays
                os.utime(folder)  # the stamp that eviction goes by
        return arrays

    def scratch(self) -> BinaryIO:
        """Return a file without a name on the cache's disk; it is gone once it is closed.

        Raises:
            DataError: it cannot be made.
        """
        with _told():
            return tempfile.TemporaryFile(dir=self.root)

    def write(self, file: BinaryIO, data: bytes) -> None:
        """Write into a file of :meth:`scratch`.

        Raises:
            DataError: the disk is full.
        """
        with _told():
            file.write(data)

    def purge(self) -> int:
        """Delete every entry; return the bytes freed.

        What another process is just writing stays, and so does all that is not the cache's own.
        """
        freed = 0
        with _told(), held(self.root / _ROOM):
            for folder in self._entries():
                freed += _size(folder)
                self._discard(folder)
            freed += self._swept()
            for path in self.root.iterdir():
                if _LOCK.fullmatch(path.name):
                    with held(path, wait=False) as free:
                        if free:
                            path.unlink()
        self._used.clear()
        return freed

    def _found_or_made(self, key: str, prepare: Callable[[], tuple[int, Fill]]) -> Arrays:
        found = self.find(key)
        if found is None:
            with self._locked(key):
                found = self.find(key)  # another process may have made it meanwhile
                if found is None:
                    self._write(key, *prepare())
                    found = self.find(key)
        if found is None:
            raise DataError("a cache entry vanished as it was written; another program deletes it")
        return found

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock."""
        with contextlib.ExitStack() as stack:
            with _told():
                stack.enter_context(held(self.root / f"{_name(key)}.lock"))
            yield

    def _write(self, key: str, size: int, fill: Fill) -> None:
        """Make an entry; the caller holds its lock."""
        folder = self.root / _name(key)
        beside = self.root / (_PARTIAL + folder.name)
        with _told():
            try:
                self._reserve(beside, folder, size + _OVERHEAD)
                fill(Writer(beside))
                Writer(beside).seal()
                with held(self.root / _ROOM):  # else who counts may see neither claim nor entry
                    (beside / _RESERVED).unlink()
                    beside.rename(folder)
                flush_folder(self.root)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        self._used.add(folder.name)

    def _reserve(self, beside: Path, replaced: Path, size: int) -> None:
        """Make room and claim it, so that processes that write at once keep the quota together."""
        with held(self.root / _ROOM):
            if replaced.exists():  # damaged, or to be written anew
                self._discard(replaced)
            self._make_room(size)
            beside.mkdir(mode=0o700)
            (beside / _RESERVED).touch(mode=0o600)
            (beside / _RESERVED).write_text(str(size), encoding="ascii")

    def _make_room(self, size: int) -> None:
        """Evict least recently used entries, none that this process uses, until ``size`` fits."""
        self._swept()
        sizes = {folder: _size(folder) for folder in self._entries()}
        claimed = sum(_claim(folder) for folder in self._folders(_PARTIAL))
        total = claimed + size + sum(sizes.values())
        idle = [folder for folder in sizes if folder.name not in self._used]
        for folder in sorted(idle, key=_stamp):
            if total <= self.quota:
                break
            with held(self.root / f"{folder.name}.lock", wait=False) as free:
                if free:  # else another process has just made it, and is about to map it
                    self._discard(folder)
                    total -= sizes[folder]
        if total > self.quota:
            raise DataError(
                f"the images need {total / _GIB:.3g} GiB, and cache-quota allows "
                f"{self.quota / _GIB:.3g} GiB; raise cache-quota or lower image-size"
            )

    def _discard(self, folder: Path) -> None:
        """Delete an entry, out of sight first; what other processes have mapped stays readable."""
        gone = self.root / f"{_GONE}{folder.name}-{os.getpid()}-{time.monotonic_ns()}"
        with contextlib.suppress(FileNotFoundError):
            folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _swept(self) -> int:
        """Delete what processes that were killed left behind; return the bytes."""
        freed = 0
        for folder in self._folders(_GONE):
            freed += _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
        for folder in self._folders(_PARTIAL):
            lock = self.root / f"{folder.name.removeprefix(_PARTIAL)}.lock"
            with held(lock, wait=False) as free:  # else its writer is alive
                if free:
                    freed += _size(folder)
                    shutil.rmtree(folder, ignore_errors=True)
        return freed

    def _entries(self) -> list[Path]:
        return [path for path in self._folders("") if _ENTRY.fullmatch(path.name)]

    def _folders(self, start: str) -> list[Path]:
        with os.scandir(self.root) as found:
            return [
                Path(each.path)
                for each in found
                if each.name.startswith(start) and each.is_dir(follow_symlinks=False)
            ]


def _filling(arrays: Mapping[str, npt.NDArray[Any]]) -> tuple[int, Fill]:
    def fill(writer: Writer) -> None:
        for name, array in arrays.items():
            writer.array(name, array)

    return sum(array.nbytes for array in arrays.values()), fill


def _name(key: str) -> str:
    return sha256(key.encode()).hexdigest()[:40]


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0  # deleted by another process meanwhile


def _claim(folder: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((folder / _RESERVED).read_text(encoding="ascii"))
    return _size(folder)


def _stamp(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime_ns
    return 0


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """Turn a full, read-only or failing disk into a sentence."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise DataError(f"the cache cannot be written: {reason}", local=str(error)) from error
