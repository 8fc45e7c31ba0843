"""The site's own list of the files that it cannot use, and why. It never leaves the site."""

from __future__ import annotations

import csv
import errno
import io
import os
from collections.abc import Iterable
from pathlib import Path

from client_app.listing import legible
from fedmend.errors import DataError
from fedmend.files import write_atomically
from fedmend.records import Rejected

NAME = "quarantine.csv"
COLUMNS = ("file", "reason", "detail")


def write(folder: Path, rejected: Iterable[Rejected]) -> Path:
    """Write ``quarantine.csv``, mode 0600, in place of the one that may be there.

    Args:
        folder: private to the site; made, with mode 0700, where it does not exist.
        rejected: what cannot be used.

    Returns:
        The file's path; one without rows says that nothing was refused.

    Raises:
        DataError: it cannot be written.
    """
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    # A file with many frames that all fail alike is one bad file.
    rows.writerows([legible(cell) for cell in each] for each in dict.fromkeys(rejected))
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, text.getvalue())
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise DataError(f"{NAME} cannot be written: {reason}", local=str(error)) from error
    return path
