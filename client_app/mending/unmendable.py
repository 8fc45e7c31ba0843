"""Why an image that is flagged stays as it is: a small fixed set of reasons, fit to be counted."""

from __future__ import annotations

from fedmend.errors import DataError

PALETTE = "its colours come from a palette"
SINGLE_BITS = "its pixels are single bits"
OVERLAY = "an overlay lies within its pixels"
NOT_MONOTONE = "its grey scale cannot be inverted"
TOO_LARGE = "it is too large to be written uncompressed"
HEADER = "its header cannot be written again"
NO_BETTER = "the detector finds it no less noisy when mended"
NOT_FINITE = "what the detector or the imputer makes of it is no finite number"
NOT_THE_SAME = "what was written does not read as it should"

REASONS = (
    PALETTE, SINGLE_BITS, OVERLAY, NOT_MONOTONE, TOO_LARGE, HEADER, NO_BETTER, NOT_FINITE,
    NOT_THE_SAME,
)  # fmt: skip


class Unmendable(DataError):  # noqa: N818 (what the image is)
    """An image that cannot be mended without guessing.

    Args:
        reason: one of :data:`REASONS`.
        local: detail that stays on this machine.
    """

    def __init__(self, reason: str, *, local: str = "") -> None:
        if reason not in REASONS:
            raise TypeError(f"{reason!r} is no reason that is counted")
        super().__init__(reason, local=local)
