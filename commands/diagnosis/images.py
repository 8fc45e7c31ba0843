"""A site's images, counted without decoding any, and the folder of what is derived from them."""

from __future__ import annotations

import os
import shutil
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from client_app.folders import private_folder
from commands.diagnosis.finding import Finding, ok, problem, warning
from fedmend import plugins
from fedmend.records import SPLITS, Record

_GIB = 1024**3
_ROOM, _TIGHT = 5, 1
"""GiB that should be free for what is derived, and without which there is no use in starting."""


def listed(data: str) -> Iterator[Finding]:
    """List the images as a run would, and count them.

    Args:
        data: spec of the reader.

    Raises:
        DataError: they cannot be used as asked.
    """
    index = plugins.READERS.build(data).index()
    if not index.records:
        yield problem("images", f"none of {len(index.rejected)} files can be used")
    else:
        yield ok("images", f"{len(index.records)} in {_patients(index.records)}")
        yield ok("images", f"classes: {_counted(_labels(index.records))}")
        yield ok("images", f"splits: {_counted(_splits(index.records))}")
    for reason, number in Counter(each.reason for each in index.rejected).most_common():
        yield warning("images", f"{number} files are set aside: {reason}")


def _patients(records: Sequence[Record]) -> str:
    groups = len({record.group for record in records})
    return f"{groups} group{'s' if groups != 1 else ''} that no split divides (patients)"


def _labels(records: Sequence[Record]) -> Counter[str]:
    return Counter(record.label or "(unlabelled)" for record in records)


def _splits(records: Sequence[Record]) -> Counter[str]:
    return Counter(record.split or "left to the run" for record in records)


def _counted(numbers: Counter[str]) -> str:
    order = {name: place for place, name in enumerate(SPLITS)}
    names = sorted(numbers, key=lambda name: (order.get(name, len(order)), name))
    return ", ".join(f"{name} {numbers[name]}" for name in names)


def cache(cache_dir: str) -> Iterator[Finding]:
    """Look at the folder of what is derived: it holds patients' pixels.

    Args:
        cache_dir: as in ``site.toml``; empty: the usual one.

    Raises:
        OSError: the system refuses to look.
    """
    folder = private_folder(cache_dir)
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield problem("cache", f"nothing can be written to {there}: it belongs to another user")
        return
    mode = stat.S_IMODE(folder.stat().st_mode) if folder.exists() else 0o700
    if mode & 0o077:
        yield problem("cache", f"others may look into it (mode {mode:04o}): chmod 700 {folder}")
    else:
        yield ok("cache", f"{folder}, " + ("mode 0700" if folder.exists() else "to be made"))
    yield _room(there)


def _room(folder: Path) -> Finding:
    free = shutil.disk_usage(folder).free / _GIB
    words = f"{free:.1f} GiB free"
    if free < _TIGHT:
        return problem("disk", f"{words}: too little for what is derived from the images")
    if free < _ROOM:
        return warning("disk", f"{words}: {_ROOM} or more are better; see cache-quota")
    return ok("disk", words)
