"""NPZ: NumPy arrays in a ZIP file, unpacked once and never unpickled.

A packed array cannot be read from the middle: fetching its images one by one would unpack half of
it for each. So it is unpacked once, into a temporary file without a name, and mapped from there:
memory holds what is being looked at, and the file goes when the last map of it does. Where that
file lies is the operating system's choice (``TMPDIR``); it takes the arrays' full size.
"""

from __future__ import annotations

import contextlib
import math
import mmap
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import numpy.typing as npt

from fedmend.errors import DataError, RunError

_AT_ONCE = 1 << 20
_DAMAGED = "the .npz file is damaged or truncated"
_BROKEN = (
    zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error,
)  # fmt: skip


class Header(NamedTuple):
    """What an array says of itself, before any of it is unpacked."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


class Archive:
    """An open ``.npz`` file.

    Args:
        file: the ZIP file.
    """

    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file

    def lacks(self, names: list[str]) -> list[str]:
        """Return which of these arrays are not there."""
        there = set(self.file.namelist())
        return [name for name in names if f"{name}.npy" not in there]

    def header(self, name: str) -> Header:
        """Return an array's shape and type.

        Raises:
            DataError: it is no array, or one of Python objects.
        """
        with self.file.open(f"{name}.npy") as stream:
            return _header(name, stream)

    def unpacked(self, name: str) -> npt.NDArray[np.generic]:
        """Return an array, read-only, mapped from a temporary file.

        Raises:
            DataError: the archive is damaged.
            RunError: there is no room for it.
        """
        with self.file.open(f"{name}.npy") as stream:
            header = _header(name, stream)
            size = math.prod(header.shape) * header.dtype.itemsize
            if size == 0:
                return np.zeros(header.shape, header.dtype)
            with _spooled(stream, size) as spool:
                mapped = mmap.mmap(spool.fileno(), size, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, header.dtype).reshape(header.shape)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive for the duration of a ``with``.

    Raises:
        DataError: it is not there, may not be read, or is damaged.
        RunError: the disk fails, or is too full to unpack an array.
    """
    try:
        with zipfile.ZipFile(path) as file:
            yield Archive(file)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        reason = os.strerror(error.errno or 0).lower()
        raise DataError(f"the .npz file cannot be read: {reason}", local=str(path)) from error
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise RunError(f"the .npz file cannot be unpacked: {reason}", local=str(path)) from error
    except _BROKEN as error:
        raise DataError(_DAMAGED, local=f"{path}: {error}") from error


def _header(name: str, stream: IO[bytes]) -> Header:
    try:
        version = np.lib.format.read_magic(stream)
        reads = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, columns_first, dtype = reads[version](stream)
    except (KeyError, ValueError) as error:
        raise DataError(f"{name} is not a NumPy array") from error
    if min(shape, default=0) < 0:
        raise DataError(f"{name} is not a NumPy array")
    if dtype.hasobject:
        raise DataError(f"{name} holds pickled Python objects, which are never read")
    if columns_first and len(shape) > 1:
        raise DataError(f"{name} is stored column by column; save it by np.ascontiguousarray")
    return Header(name, shape, dtype)


@contextlib.contextmanager
def _spooled(stream: IO[bytes], size: int) -> Iterator[IO[bytes]]:
    """Copy ``size`` bytes, neither fewer nor more, into a temporary file without a name."""
    with tempfile.TemporaryFile() as spool:
        left = size
        while left:
            part = stream.read(min(left, _AT_ONCE))
            if not part:
                raise DataError(_DAMAGED)
            spool.write(part)
            left -= len(part)
        if stream.read(1):  # also makes the ZIP file check its sum
            raise DataError(_DAMAGED)
        spool.flush()
        yield spool
