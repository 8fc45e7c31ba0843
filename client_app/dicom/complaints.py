"""What a codec says of a frame that it makes something of nevertheless."""

from __future__ import annotations

import re

from client_app.dicom.untrusted import TRUNCATED, UNDECODABLE, Untrusted

_MISSING = re.compile(r"premature end", re.IGNORECASE)
_BROKEN = re.compile(
    r"bad Huffman code|bad arithmetic code|instead of RST|Inconsistent progression"
    r"|extraneous bytes before marker 0xd[0-7]",
    re.IGNORECASE,
)
"""Bytes left over at the picture's end may be padding. Between restart markers they are not: the
decoder has lost its place, and libjpeg, which gives its first warning only, says no more."""


def check_words(words: str) -> None:
    """Refuse a picture if its codec said that data are missing from it, or make no sense.

    Grey or the last colour stands in for what libjpeg misses, and its caller is not told. The words
    are those of its ``jerror.h``; those that are of no harm (unknown JFIF revisions, bytes before
    the end marker) are passed over.

    Args:
        words: what was written to stderr while the frame was decoded.

    Raises:
        Untrusted: the reason.
    """
    if _MISSING.search(words):
        raise Untrusted(TRUNCATED, local=words.strip())
    if _BROKEN.search(words):
        raise Untrusted(UNDECODABLE, local=words.strip())
