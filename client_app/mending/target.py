"""The folder that mended images go to: private, apart from the originals, whole files only."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from client_app import locks
from fedmend.errors import DataError, RunError

_ABOUT = ".fedmend-impute.json"
_LOCK = ".lock"
_PARTIAL = ".partial-"
_SCHEMA = 1
_START = 16


class Target:
    """A folder for the mended images of one source.

    Args:
        folder: to be made, empty as yet, or one that mended images of this source are in.
        source: the folder of the originals.

    Raises:
        DataError: the folders overlap, or this one holds something else.
    """

    def __init__(self, folder: Path, source: Path) -> None:
        self.root = Path(os.path.realpath(folder.expanduser()))
        originals = Path(os.path.realpath(source))
        _check_apart(self.root, originals)
        self._about = {"schema": _SCHEMA, "mends": str(originals)}
        self._check_own()

    def _check_own(self) -> None:
        """Refuse a folder that holds something else, or mended images of something else."""
        try:
            found = (each.name for each in self.root.iterdir())
            names = sorted(name for name in found if not name.startswith(_PARTIAL))
        except FileNotFoundError:
            return
        except NotADirectoryError as error:
            raise DataError("DIR is no folder", local=str(self.root)) from error
        if not names or names == [_LOCK]:
            return
        try:
            about = json.loads((self.root / _ABOUT).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError) as error:
            raise DataError(
                "DIR must be empty, or hold what an earlier impute of the same PATH wrote",
                local=f"{self.root} holds {names[0]}",
            ) from error
        if about != self._about:
            raise DataError(
                "DIR holds the mended images of another PATH; give another DIR",
                local=f"of {about.get('mends')}" if isinstance(about, dict) else "",
            )

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder, and keep others from writing to it.

        Raises:
            RunError: somebody else is writing to it.
        """
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locks.held(self.root / _LOCK, wait=False) as mine:
            if not mine:
                raise RunError("another fedmend impute is writing to DIR", local=str(self.root))
            self._check_own()
            self._sweep()
            if not (self.root / _ABOUT).exists():
                self.write(_ABOUT, json.dumps(self._about).encode())
            yield

    def _sweep(self) -> None:
        """Delete what a call that was killed had not written to its end: it shows a patient.

        Only of a folder that is known to be one of mended images.
        """
        if not (self.root / _ABOUT).exists():
            return
        for left in self.root.rglob(f"{_PARTIAL}*"):
            with contextlib.suppress(OSError):
                left.unlink()

    def write(self, name: str, data: bytes) -> None:
        """Write a file beside its place, mode 0600, and rename it there.

        Args:
            name: relative to the folder.
            data: the whole file.

        Raises:
            RunError: a folder on the way is a link, the disk is full, or the system refuses.
        """
        path = self.root / name
        with _explained(name):
            self._make_folders(path.parent)
            handle, beside = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                Path(beside).replace(path)  # of a link, its name: what it points to stays
            finally:
                Path(beside).unlink(missing_ok=True)

    def _make_folders(self, folder: Path) -> None:
        """Make a folder below the root, none of it by way of a link."""
        if Path(os.path.realpath(folder)) != folder:
            raise RunError("a folder in DIR is a link to elsewhere", local=str(folder))
        missing = [each for each in (folder, *folder.parents) if not each.exists()]
        for each in reversed(missing):
            each.mkdir(mode=0o700)

    def digest(self, name: str) -> str:
        """Return the SHA-256 (hex) of a file; empty where there is none."""
        try:
            with (self.root / name).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return ""

    def read(self, name: str) -> bytes:
        """Return a file's bytes; none where it cannot be read."""
        try:
            return (self.root / name).read_bytes()
        except OSError:
            return b""

    def start(self, name: str) -> bytes:
        """Return a file's first bytes, by which its kind is known.

        Raises:
            RunError: it cannot be read.
        """
        try:
            with (self.root / name).open("rb") as file:
                return file.read(_START)
        except OSError as error:
            reason = os.strerror(error.errno or errno.EIO).lower()
            raise RunError(f"a mended image cannot be read: {reason}", local=name) from error

    def move(self, before: str, after: str) -> None:
        """Give a file another name, in place of what may be there.

        Raises:
            RunError: as :meth:`write`.
        """
        with _explained(before):
            data = (self.root / before).read_bytes()
        # First, as a folder may take its place, or a name that differs in case alone be the same.
        self.remove(before)
        self.write(after, data)

    def remove(self, name: str) -> None:
        """Delete a file, and the folders that it leaves empty."""
        with _explained(name):
            (self.root / name).unlink(missing_ok=True)
        for folder in (self.root / name).parents:
            if folder == self.root:
                return
            with contextlib.suppress(OSError):
                folder.rmdir()


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise RunError(
                "no room is left for the mended images; make some, and call again", local=name
            ) from error
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise RunError(f"a mended image cannot be written: {reason}", local=name) from error


def _check_apart(target: Path, originals: Path) -> None:
    """Refuse a folder whose files would be read as originals, or written over some.

    Raises:
        DataError: one lies within the other.
    """
    for inner, outer, how in (
        (target, originals, "inside PATH's folder: mended images would be read as originals"),
        (originals, target, "around PATH's folder: mended images would lie among originals"),
    ):
        if inner.is_relative_to(outer):
            raise DataError(f"DIR must not be PATH's folder, nor {how}", local=f"DIR is {target}")
