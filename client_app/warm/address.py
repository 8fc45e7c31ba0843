"""Where a site's worker listens: a socket in the site's private folder, for its own user alone."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
"""The app as it is installed."""
_PACKAGES = ("fedmend", "imputation", "classification", "client_app")
_CREDENTIALS = struct.Struct("3i")  # process, user, group
_WAITING = 8


class StrangerError(OSError):
    """What lies there belongs to another user, or others may reach it."""


class Address(NamedTuple):
    """Of one site's worker that runs one version of the app."""

    folder: Path
    site: str
    code: str
    """Hash of the app's source, so that a worker never answers for another version."""

    @property
    def path(self) -> Path:
        """The socket."""
        return self.folder / f"{self.site}-{self.code}.sock"

    @property
    def lock(self) -> Path:
        """Held by whoever starts the site's worker, or lets it end."""
        return self.folder / f"{self.site}.lock"

    @property
    def turn(self) -> Path:
        """Lock of whoever's message the worker works on."""
        return self.folder / f"{self.site}.turn"

    def others(self) -> list[Path]:
        """Return the sockets of the same site's workers that run other versions."""
        return [each for each in self.folder.glob(f"{self.site}-*.sock") if each != self.path]


def address(private: Path, node: int, reference: str) -> Address:
    """Return where a site's worker listens; its folder is made where it does not exist.

    Args:
        private: the site's private folder.
        node: the site's id in the federation, as several sites may share a machine.
        reference: of the ClientApp that the worker runs.

    Raises:
        StrangerError: the folder belongs to another user, or others may enter it.
        OSError: it cannot be made.
    """
    folder = private / "warm"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise StrangerError("its folder is not this user's alone")
    return Address(folder, _hash(str(node)), _hash(reference, fingerprint(ROOT)))


def fingerprint(root: Path) -> str:
    """Return a hash of what a worker would run: the app's source, Flower and the interpreter."""
    told = hashlib.sha256()
    for package in _PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            told.update(f"{path}\n".encode())
            told.update(hashlib.sha256(path.read_bytes()).digest())
    told.update(f"{version('flwr')} {sys.executable} {sys.version}".encode())
    return told.hexdigest()


def _hash(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at ``path``, which none but this user may connect to.

    Raises:
        OSError: the file system has no sockets, or something is there.
    """
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            listener.bind(name)
        path.chmod(0o600)
        listener.listen(_WAITING)
    except BaseException:
        listener.close()
        raise
    return listener


def connected(path: Path) -> socket.socket:
    """Return a connection to the worker at ``path``.

    Raises:
        StrangerError: another user's process listens there.
        OSError: none does.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short(path) as name:
            connection.connect(name)
        check_peer(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def check_peer(connection: socket.socket) -> None:
    """Check, with the kernel, that the other end is a process of this user.

    Raises:
        StrangerError: it is not.
    """
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    if user != os.geteuid():
        raise StrangerError("the other end is another user's process")


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of ``path`` that fits into the 108 bytes that a socket's may have."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
