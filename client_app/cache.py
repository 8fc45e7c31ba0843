"""The site's private cache: what was once decoded or derived is mapped from disk ever after.

An entry is a folder of ``.npy`` files that is written beside, flushed and renamed, so that no
process ever sees half of one; one process makes it while others wait. Its name is a hash. It
holds patients' pixels: folders have mode 0700, files 0600, and the whole is bounded by a quota.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedmend.errors import DataError

_MARKER = "fedmend-cache"
_LISTING = "entry.json"
_PARTIAL = "partial-"
_STALE = 3600.0  # seconds after which a partial entry's writer is taken for dead
_GIB = 1024**3

Arrays = dict[str, npt.NDArray[Any]]
Fill = Callable[[Path], None]
"""Writes an entry's ``.npy`` files into a folder."""


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
        with clear_when_full():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not (root / _MARKER).exists():
                if any(root.iterdir()):
                    raise DataError(
                        "the cache's folder holds something else; choose an empty cache-dir",
                        local=str(root),
                    )
                root.chmod(0o700)
                (root / _MARKER).touch(mode=0o600)

    def entry(self, key: str, size: int, fill: Fill) -> Arrays:
        """Return the entry of this key, read-only; made first where it is missing or damaged.

        Args:
            key: what the entry is made of; only its hash is kept.
            size: in bytes, about.
            fill: writes its files; called in one process at a time.

        Raises:
            DataError: the entry exceeds the quota, or the disk is full.
        """
        found = self.find(key)
        if found is not None:
            return found
        with self._locked(key):
            found = self.find(key)  # another process may have made it meanwhile
            if found is None:
                self._write(key, size, fill)
                found = self.find(key)
        if found is None:
            raise DataError("a cache entry vanished as it was written; another program deletes it")
        return found

    def arrays(self, key: str, make: Callable[[], Mapping[str, npt.NDArray[Any]]]) -> Arrays:
        """Return the entry of this key, made of arrays in memory where it does not exist.

        Raises:
            DataError: the entry exceeds the quota, or the disk is full.
        """
        found = self.find(key)
        if found is not None:
            return found
        with self._locked(key):
            if self.find(key) is None:
                self._keep(key, make())
        found = self.find(key)
        if found is None:
            raise DataError("a cache entry vanished as it was written; another program deletes it")
        return found

    def keep(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Write an entry, in place of one that may be there.

        Raises:
            DataError: it exceeds the quota, or the disk is full.
        """
        with self._locked(key):
            self._keep(key, arrays)

    def find(self, key: str) -> Arrays | None:
        """Return the entry of this key, memory-mapped read-only; None if missing or damaged."""
        folder = self.root / _name(key)
        try:
            listed = json.loads((folder / _LISTING).read_text(encoding="utf-8"))
            arrays = {name: _mapped(folder / f"{name}.npy", size) for name, size in listed.items()}
            os.utime(folder)  # the stamp that eviction goes by
        except (OSError, ValueError, AttributeError):
            return None
        self._used.add(folder.name)
        return arrays

    def purge(self) -> int:
        """Delete every entry; return the bytes freed. Nothing but entries is touched."""
        freed = 0
        for folder in self._folders():
            freed += _size(folder)
            shutil.rmtree(folder, ignore_errors=True)
        for lock in self.root.glob("*.lock"):
            lock.unlink(missing_ok=True)
        self._used.clear()
        return freed

    def _keep(self, key: str, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        def fill(folder: Path) -> None:
            for name, array in arrays.items():
                np.save(folder / f"{name}.npy", array, allow_pickle=False)

        self._write(key, sum(array.nbytes for array in arrays.values()), fill)

    def _write(self, key: str, size: int, fill: Fill) -> None:
        """Make an entry; the caller holds its lock."""
        folder = self.root / _name(key)
        beside = self.root / (_PARTIAL + folder.name)
        self._make_room(size)
        with clear_when_full():
            shutil.rmtree(beside, ignore_errors=True)  # of a writer that was killed
            beside.mkdir(mode=0o700)
            try:
                fill(beside)
                _seal(beside)
                if folder.exists():  # damaged, or to be replaced
                    shutil.rmtree(folder)
                beside.rename(folder)
            finally:
                shutil.rmtree(beside, ignore_errors=True)
        self._used.add(folder.name)

    def _make_room(self, size: int) -> None:
        """Evict least recently used entries, none that this process uses, until ``size`` fits."""
        if size > self.quota:
            raise DataError(
                f"the images need {size / _GIB:.2f} GiB, and cache-quota allows "
                f"{self.quota / _GIB:.2f} GiB; raise cache-quota or lower image-size"
            )
        sizes = {folder: _size(folder) for folder in self._folders()}
        total = sum(sizes.values())
        for folder in sorted(sizes, key=_stamp):
            if total + size <= self.quota:
                return
            fresh = folder.name.startswith(_PARTIAL) and time.time() - _stamp(folder) < _STALE
            if folder.name not in self._used and not fresh:
                shutil.rmtree(folder, ignore_errors=True)
                total -= sizes[folder]

    def _folders(self) -> list[Path]:
        return [path for path in self.root.iterdir() if path.is_dir()]

    @contextlib.contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        """Hold the key's lock; the kernel releases it even when the process is killed."""
        handle = os.open(self.root / f"{_name(key)}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def _mapped(path: Path, size: int) -> npt.NDArray[Any]:
    """Return a file's array, mapped; a file of another size than was written is damaged."""
    if path.stat().st_size != size:
        raise ValueError("the file is not as it was written")
    try:
        mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError:  # an empty array cannot be mapped
        mapped = np.load(path, allow_pickle=False)
    return mapped


def _seal(folder: Path) -> None:
    """Make the files private and durable, and list their sizes: the entry is then complete."""
    sizes = {}
    for path in folder.glob("*.npy"):
        path.chmod(0o600)
        _flush(path)
        sizes[path.stem] = path.stat().st_size
    listing = folder / _LISTING
    listing.touch(mode=0o600)
    listing.write_text(json.dumps(sizes), encoding="utf-8")
    _flush(listing)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _size(folder: Path) -> int:
    with contextlib.suppress(OSError):
        return sum(path.stat().st_size for path in folder.iterdir())
    return 0  # evicted by another process meanwhile


def _stamp(folder: Path) -> float:
    with contextlib.suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


@contextlib.contextmanager
def clear_when_full() -> Iterator[None]:
    """Turn a full or read-only disk into a sentence."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES}:
            raise
        reason = os.strerror(error.errno).lower()
        raise DataError(f"the cache cannot be written: {reason}", local=str(error)) from error
