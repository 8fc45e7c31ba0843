"""Why a file's pixels are not taken: a small fixed set of reasons, fit to be counted."""

from __future__ import annotations

from fedmend.errors import DataError

NOT_DICOM = "not a DICOM file"
TRUNCATED = "truncated"
EMPTY = "the data set is empty"
NOT_IMAGE = "not an image (for example a structured report)"
NO_PIXELS = "no pixel data"
UNKNOWN_SYNTAX = "unknown transfer syntax"
SHORT = "pixel data too short"
INCONSISTENT = "inconsistent header"
TOO_LARGE = "larger than the limit"
UNDECODABLE = "cannot be decoded"
TRAILING = "unreadable bytes after the pixel data"

REASONS = (
    NOT_DICOM, TRUNCATED, EMPTY, NOT_IMAGE, NO_PIXELS,
    UNKNOWN_SYNTAX, SHORT, INCONSISTENT, TOO_LARGE, UNDECODABLE, TRAILING,
)  # fmt: skip


class Untrusted(DataError):  # noqa: N818 (what the file is)
    """A file whose pixels cannot be trusted.

    Args:
        reason: one of :data:`REASONS`; it may leave the site, as a count.
        local: detail (tags, values, a codec's words) that stays on this machine.
    """

    def __init__(self, reason: str, *, local: str = "") -> None:
        if reason not in REASONS:
            raise TypeError(f"{reason!r} is no reason that is counted")
        super().__init__(reason, local=local)

    @property
    def reason(self) -> str:
        """Return the reason, one of :data:`REASONS`."""
        return str(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the local detail when the error crosses to another process."""
        return _again, (self.reason, self.local)


def _again(reason: str, local: str) -> Untrusted:
    return Untrusted(reason, local=local)
