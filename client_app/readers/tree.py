"""A folder that belongs to somebody else: listed and read, never left and never written to."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from fedmend.errors import DataError, RunError

_FORBIDDEN = {errno.EACCES, errno.EPERM}
_NO_FILE = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}
_LARGEST = 2 * 1024**3


class Tree:
    """Files below one folder, by their paths relative to it.

    Args:
        root: the folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def _inside(self) -> str:
        """Where the folder really is, as the beginning of all that lies in it."""
        return os.path.join(os.path.realpath(self.root), "")  # noqa: PTH118

    def names(self) -> Iterator[str]:
        """List all files but those whose name, or whose folder's, starts with a dot.

        Linked folders count as files: following them could run in circles.

        Raises:
            DataError: a folder cannot be listed.
        """
        waiting = [""]
        while waiting:
            below = waiting.pop()
            for entry in self._listed(below):
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(f"{below}{entry.name}/")
                else:
                    yield f"{below}{entry.name}"

    def _listed(self, below: str) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(self.root / below) as entries:
                return list(entries)
        except OSError as error:
            raise _refused("the images' folder cannot be listed", error) from error

    def status(self, name: str) -> tuple[int, int, int]:
        """Return a file's size, time of change in ns and mode; -1 each where there is no file."""
        try:
            status = (self.root / name).stat()
        except (OSError, ValueError):
            return -1, -1, -1
        return status.st_size, status.st_mtime_ns, status.st_mode

    def table(self, name: str) -> bytes:
        """Return the label table's bytes.

        Raises:
            DataError: it cannot be read.
        """
        try:
            return (self.root / name).read_bytes()
        except (OSError, ValueError) as error:
            raise _refused("the labels cannot be read", error) from error

    def read(self, name: str) -> bytes:
        """Return an image file's bytes.

        Raises:
            DataError: there is no such file, it may not be read, or it lies outside the folder.
            RunError: the disk fails; another try may succeed.
        """
        with _explained(name):
            return self._file(name).read_bytes()

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator[BinaryIO]:
        """Open an image file, for a ``with`` that reads it piece by piece.

        Raises:
            DataError: there is no such file, it may not be read, or it lies outside the folder.
            RunError: the disk fails, also within the ``with``; another try may succeed.
        """
        with _explained(name), self._file(name).open("rb") as file:
            yield file

    def _file(self, name: str) -> Path:
        """Return where a file really is, once it is known to be one of the folder's."""
        if "\0" in name:
            raise DataError("there is no such file")
        path = os.path.join(self.root, name)  # noqa: PTH118 (a Path takes as long as to open it)
        real = os.path.realpath(path)
        if not os.path.join(real, "").startswith(self._inside):  # noqa: PTH118
            raise DataError("the file lies outside the images' folder")
        try:
            status = os.stat(real)  # noqa: PTH116
        except OSError as error:
            if error.errno in _NO_FILE and Path(path).is_symlink():
                raise DataError("the link leads nowhere") from error
            raise
        if not stat.S_ISREG(status.st_mode):  # a pipe would wait for ever
            raise DataError("it is a folder, a pipe or a device, not a file")
        if status.st_size > _LARGEST:
            raise DataError("the file is larger than 2 GiB")
        return Path(real)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Tell a file that cannot be used from a disk that fails."""
    try:
        yield
    except OSError as error:
        if error.errno in _FORBIDDEN:
            raise DataError("the file may not be read") from error
        if error.errno in _NO_FILE:
            raise DataError("there is no such file") from error
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise RunError(f"the images cannot be read: {reason}", local=name) from error


def _refused(what: str, error: OSError | ValueError) -> DataError:
    reason = os.strerror(getattr(error, "errno", None) or errno.EINVAL).lower()
    return DataError(f"{what}: {reason}", local=str(error))
