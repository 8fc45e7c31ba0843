"""Keep a SQLite file as small as what it holds, then become the command that follows.

compact.py FILE COMMAND …

Flower deletes a model's bytes as they are fetched, but SQLite keeps a file at its largest: one run
with a large model, and the SuperLink's stays at that size. With auto_vacuum, which SQLite
remembers in the file, it gives back what is free with every deletion.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

_FULL = 1
_PATIENCE = 30.0


def compact(path: Path) -> None:
    """Make the file give back what is free, from now on; what is free in it now, too.

    Raises:
        sqlite3.Error: it is no database, another process writes it, or there is no room to copy it.
    """
    with closing(sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None)) as database:
        (mode,) = database.execute("PRAGMA auto_vacuum").fetchone()
        (free,) = database.execute("PRAGMA freelist_count").fetchone()
        if mode != _FULL or free:
            database.execute("PRAGMA auto_vacuum = FULL")
            database.execute("VACUUM")


def main(path: str, *command: str) -> None:
    """Compact, and go on, whatever came of it: a large file is better than no coordinator."""
    try:
        compact(Path(path))
    except sqlite3.Error as error:
        sys.stderr.write(f"the database is not compacted: {error}\n")
    os.execvp(command[0], command)  # noqa: S606 - the compose file's own words


if __name__ == "__main__":
    main(*sys.argv[1:])
