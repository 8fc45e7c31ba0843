"""A file that is parsed for so long and no longer: what parsing costs is elements, not bytes.

pydicom makes an object of each, of some hundred bytes; an empty one takes 8 bytes of a file.
"""

from __future__ import annotations

import io
import struct

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from client_app.dicom.limits import MAX_ELEMENTS, MAX_HEADER, MAX_OUTERMOST
from client_app.dicom.untrusted import TOO_LARGE, Untrusted

_ELEMENT = 8
"""Bytes that pydicom reads of each element, and of each item, before it knows the length."""
_WIDE_LENGTH = 4
_UNDEFINED = 0xFFFFFFFF
_DELIMITERS = 0xFFFE
_LONG_VRS = frozenset(b"OB OD OF OL OV OW SQ SV UC UN UR UT UV".split())
_SMALL = MAX_HEADER // MAX_OUTERMOST
"""Bytes of an element: as many as there may be of them are no header that is too large."""
_MOST_UNCOUNTED = 2**19
"""Bytes of a sequence that need not be counted: they hold 65,536 elements at most."""


class Bounded(io.BytesIO):
    """A file's bytes, which pydicom reads until there are too many elements.

    Elements outside of sequences are counted as pydicom asks whether to stop; reading each through
    Python would cost half as much again as parsing the header.

    Args:
        data: the bytes.
        pixels: tags of pixel data; up to the first of them, bytes are bounded too.
    """

    def __init__(self, data: bytes, pixels: frozenset[BaseTag]) -> None:
        super().__init__(data)
        self.size = len(data)
        self.tags = pixels
        self.at_pixels = False
        self.outermost = 0
        self.elements = 0
        """Within sequences without length, which are parsed at once."""
        self.over = ""
        """What there is too much of; empty: nothing."""

    def goes_on(self, tag: BaseTag, vr: str | None, length: int) -> bool:
        """Look at an element outside of sequences, before its value is read; return False.

        It is what pydicom calls ``stop_when``.

        Raises:
            Untrusted: too many elements, or bytes.
        """
        del vr
        self.outermost += 1
        if self.outermost > MAX_OUTERMOST:
            self._refuse(f"over {MAX_OUTERMOST} elements outside of sequences")
        if length > _SMALL:
            if tag in self.tags:
                self.at_pixels = True
            elif length == _UNDEFINED:
                # What is nested in it asks nobody, but looks up anew how to read.
                self.__dict__["read"] = self._counted
            else:
                self._check_place(length)
        return False

    def _counted(self, size: int | None = -1, /) -> bytes:
        """Read, and count.

        Raises:
            Untrusted: too many elements, or bytes; pydicom may turn it into an error of its own.
        """
        if size == _ELEMENT:
            self.elements += 1
            if self.elements > MAX_ELEMENTS:
                self._refuse(f"over {MAX_ELEMENTS} elements")
            self._check_place(0)
        return super().read(size)

    def _check_place(self, length: int) -> None:
        if not self.at_pixels and min(self.tell() + length, self.size) > MAX_HEADER:
            self._refuse(f"over {MAX_HEADER} bytes before the pixel data")

    def _refuse(self, what: str) -> None:
        self.over = what
        raise Untrusted(TOO_LARGE, local=what)


class Ending(io.BytesIO):
    """A file's bytes, whose end pydicom is watched to reach.

    Slow: for a file that is refused, to say why.
    """

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.cut = False
        """Whether an element was begun there, and no more of it than its tag or length."""
        self._begun = False

    def read(self, size: int | None = -1, /) -> bytes:
        """Return bytes as any file does."""
        got = super().read(size)
        if size in (_ELEMENT, _WIDE_LENGTH):
            if len(got) < size and (got or (size == _WIDE_LENGTH and self._begun)):
                self.cut = True
            self._begun = size == len(got) == _ELEMENT
        return got


def check_sequences(dataset: Dataset, tags: frozenset[BaseTag]) -> None:
    """Refuse sequences with too many elements: pydicom parses them when they are first asked for.

    Args:
        dataset: just parsed.
        tags: of the sequences that are going to be asked for.

    Raises:
        Untrusted: the elements of all of them are too many.
    """
    there = dataset.keys()
    found = [dataset.get_item(tag) for tag in tags if tag in there]
    left = MAX_ELEMENTS
    while found:
        element = found.pop()
        if not isinstance(element, RawDataElement):
            if element.VR == "SQ":  # pydicom has parsed the outer one
                for item in element.value:
                    found.extend(item.get_item(tag) for tag in item.keys())  # noqa: SIM118
        elif isinstance(element.value, bytes) and len(element.value) > _MOST_UNCOUNTED:
            order = "<" if element.is_little_endian else ">"
            left -= _count(element.value, order, implicit=element.is_implicit_VR, most=left)
            if left < 0:
                raise Untrusted(TOO_LARGE, local=f"over {MAX_ELEMENTS} elements in sequences")


def _count(data: bytes, order: str, *, implicit: bool, most: int) -> int:
    """Return how many elements and items are in a sequence's value, of all depths, up to a limit.

    Items, and what has no length, are entered; so is what has one and begins with an item.
    """
    head = struct.Struct(f"{order}HHL").unpack_from
    short = struct.Struct(f"{order}H").unpack_from
    wide = struct.Struct(f"{order}L").unpack_from
    first = b"\xfe\xff\x00\xe0" if order == "<" else b"\xff\xfe\xe0\x00"
    at, end, count = 0, len(data) - 12, 0
    while at <= end and count <= most:
        group, _, length = head(data, at)
        count += 1
        if group == _DELIMITERS:
            at += 8
            continue
        start = at + 8
        if not implicit:
            vr = data[at + 4 : at + 6]
            if vr in _LONG_VRS:
                start, (length,) = at + 12, wide(data, at + 8)
            elif vr.isalpha():
                (length,) = short(data, at + 6)
        entered = length == _UNDEFINED or data.startswith(first, start)
        at = start if entered else start + length
    return count
