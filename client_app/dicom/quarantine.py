"""The site's own list of the files that it cannot use, and why. It never leaves the site."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable
from pathlib import Path

from client_app import listing
from fedmend.errors import DataError
from fedmend.records import Rejected

NAME = "quarantine.csv"
COLUMNS = ("file", "reason", "detail")


def write(folder: Path, rejected: Iterable[Rejected]) -> Path:
    """Write ``quarantine.csv``, mode 0600, where it does not say the same already.

    Args:
        folder: private to the site; made, with mode 0700, where it does not exist.
        rejected: what cannot be used.

    Returns:
        The file's path; one without rows says that nothing was refused.

    Raises:
        DataError: it cannot be written.
    """
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A file with many frames that all fail alike is one bad file.
        listing.write(path, COLUMNS, dict.fromkeys(rejected))
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO).lower()
        raise DataError(f"{NAME} cannot be written: {reason}", local=str(error)) from error
    return path
