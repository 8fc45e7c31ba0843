"""One cache entry on disk: a folder of ``.npy`` files and a list of their sizes.

Files are written through ordinary writes, not through a mapping: on a full disk a write fails
with a reason, while a store to a mapped page kills the process.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

_LISTING = "entry.json"

Arrays = dict[str, npt.NDArray[Any]]


class Writer:
    """Writes an entry's files, mode 0600 whatever the umask.

    Args:
        folder: of the entry; nobody else writes there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def array(self, name: str, array: npt.NDArray[Any]) -> None:
        """Write one array, of any shape and any type without Python objects."""
        if array.dtype.hasobject:
            raise TypeError(f"array {name!r} holds Python objects")
        whole = np.ascontiguousarray(array)
        with self._file(name) as file:
            _header(file, whole.dtype, array.shape)
            file.write(whole.reshape(-1).view(np.uint8).data)

    @contextlib.contextmanager
    def rows(
        self, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]
    ) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
        """Write an array row by row; it has as many rows as were written by the end.

        Args:
            name: of the array.
            dtype: of its values.
            shape: of one row.

        Yields:
            What writes one row.
        """
        kind = np.dtype(dtype)
        count = 0
        with self._file(name) as file:
            _header(file, kind, (0, *shape))
            start = file.tell()

            def write(row: npt.NDArray[Any]) -> None:
                nonlocal count
                if row.shape != shape or row.dtype != kind:
                    raise TypeError(f"a row of {name!r} is {row.dtype} {row.shape}")
                file.write(np.ascontiguousarray(row).tobytes())
                count += 1

            yield write
            file.seek(0)
            _header(file, kind, (count, *shape))
            assert file.tell() == start  # NumPy leaves room for the first axis to grow

    def seal(self) -> None:
        """Make everything durable and list the files' sizes: the entry is then complete."""
        sizes = {path.stem: path.stat().st_size for path in self.folder.glob("*.npy")}
        with self._opened(_LISTING) as file:
            file.write(json.dumps(sizes).encode())
        flush_folder(self.folder)

    @contextlib.contextmanager
    def _file(self, name: str) -> Iterator[BinaryIO]:
        with self._opened(f"{name}.npy") as file:
            yield file

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[BinaryIO]:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
        with os.fdopen(os.open(self.folder / name, flags, 0o600), "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())


def _header(file: BinaryIO, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    described = np.lib.format.dtype_to_descr(dtype)
    header = {"descr": described, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)


def read_entry(folder: Path) -> Arrays | None:
    """Return an entry's arrays, memory-mapped read-only; None if it is missing or damaged."""
    try:
        listed = json.loads((folder / _LISTING).read_bytes())
        return {name: _mapped(folder / f"{name}.npy", size) for name, size in listed.items()}
    except (OSError, ValueError, AttributeError, EOFError):
        return None


def _mapped(path: Path, size: int) -> npt.NDArray[Any]:
    """Return a file's array; a file of another size than was written is damaged."""
    if path.stat().st_size != size:
        raise ValueError("the file is not as it was written")
    mapped: npt.NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return mapped


def flush_folder(folder: Path) -> None:
    """Make a folder's list of files durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
