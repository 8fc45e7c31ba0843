"""A folder that is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from fedmend.errors import DataError


@contextlib.contextmanager
def staged(target: Path) -> Iterator[Path]:
    """Yield a new folder beside ``target`` that takes its name when the block ends well.

    Where ``target`` is an empty folder already (a mounted volume cannot be renamed over), the new
    one lies hidden inside, and what is in it moves up in the end. If the block fails, whatever
    was written is deleted.

    Args:
        target: absolute.

    Raises:
        DataError: ``target`` exists and is no empty folder, or lies in no folder.
        OSError: the system refuses.
    """
    there = target.exists()
    if there and not target.is_dir():
        raise DataError("there is a file of that name already", local=str(target))
    if there and any(target.iterdir()):
        raise DataError("the folder is not empty; nothing was written", local=str(target))
    if not target.parent.is_dir():
        raise DataError("the folder that is to hold it does not exist", local=str(target.parent))
    partial = (target if there else target.parent) / f".{target.name}.partial-{os.getpid()}"
    partial.mkdir()
    try:
        yield partial
        if there:
            for child in sorted(partial.iterdir()):
                child.rename(target / child.name)
            partial.rmdir()
        else:
            partial.rename(target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
