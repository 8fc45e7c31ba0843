"""Mistakes that a user can mend.

Such an error is shown as one sentence, never as a traceback. Its text may leave a site, so it
names settings and counts but never a path, a file or a patient; those go into ``local``, which
only the terminal of the person at that machine shows.
"""

from __future__ import annotations

import errno


class UserError(ValueError):
    """What was given, what was expected and what to do, in words fit for any reader.

    Args:
        message: may travel to the coordinator and into logs.
        local: further detail (a path, a file's name) that stays on this machine.
    """

    def __init__(self, message: str, *, local: str = "") -> None:
        super().__init__(message)
        self.local = local

    def full(self) -> str:
        """Return the message with its local detail, for a terminal on this machine.

        >>> UserError("path must be absolute", local="got 'x'").full()
        "path must be absolute (got 'x')"
        """
        return f"{self} ({self.local})" if self.local else str(self)


class SpecError(UserError):
    """A spec that cannot be read, or that names or sets something that does not exist."""


class SettingsError(UserError):
    """A setting that is unknown, of the wrong type or out of range."""


class DataError(UserError):
    """Images or labels that cannot be used as asked."""


class RunError(UserError):
    """A run that cannot go on, with the reason."""


def disk_full(error: BaseException) -> bool:
    """Say whether an error means that no byte could be written any more.

    Libraries that write files themselves (safetensors) raise errors of their own, of which only
    the text tells.

    >>> disk_full(OSError(28, "No space left on device")), disk_full(OSError(2, "No such file"))
    (True, False)
    """
    number = error.errno if isinstance(error, OSError) else None
    return number in {errno.ENOSPC, errno.EDQUOT} or f"os error {errno.ENOSPC})" in str(error)


WORKER_DIED = "a worker process of the simulation died"
"""How the coordinator begins to say so: the run can go on from its last round."""
