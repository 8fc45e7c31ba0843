"""Where a command may write what it was asked for; looked at before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from fedmend.errors import SettingsError


def vacant(option: str, path: Path, *, force: bool) -> Path:
    """Return the absolute path of a file to be written.

    Args:
        option: that names it.
        path: as given.
        force: whether a file that is there may be replaced.

    Raises:
        SettingsError: its folder is not there or cannot be written to, it is a folder itself, or
            there is such a file already.
    """
    whole = path.expanduser().absolute()
    local = str(whole)
    if not whole.parent.is_dir():
        raise SettingsError(f"{option} names a folder that does not exist", local=local)
    if not os.access(whole.parent, os.W_OK | os.X_OK):
        raise SettingsError(f"{option} names a folder that may not be written to", local=local)
    if whole.is_dir():
        raise SettingsError(f"{option} must name a file, and this is a folder", local=local)
    if os.path.lexists(whole) and not force:
        raise SettingsError(
            f"{option} names a file that is there already: choose another name, or add --force",
            local=local,
        )
    return whole
