"""Header values, read so that a broken one is absent and never an error or a warning.

pydicom converts a value when it is first asked for; that is when a broken one raises. Most of what
is asked for is short printable ASCII or one number: that is read here, many times as fast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydicom import Dataset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from client_app.dicom.quiet import quiet

_TEXTS = frozenset({"CS", "DS", "IS", "LO", "SH", "UI"})


def value(dataset: Dataset, keyword: str) -> Any:
    """Return an element's value as pydicom gives it; None where absent, empty or broken."""
    tag = _tag(keyword)
    if tag not in dataset.keys():  # noqa: SIM118 (the data set itself would convert the tag)
        return None
    with quiet():
        try:
            found = dataset[tag].value
            return None if found is None or found == "" else found
        except Exception:  # noqa: BLE001 (pydicom raises nearly anything over a broken element)
            return None


@cache
def _tag(keyword: str) -> BaseTag:
    return Tag(keyword)


@cache
def _dictionary_vr(tag: BaseTag) -> str:
    return dictionary_VR(tag)


def _plain(dataset: Dataset, keyword: str) -> str | None:
    """Return a value as text where that needs no pydicom, "" where absent; None: it does."""
    tag = _tag(keyword)
    raw = dataset.get_item(tag, keep_deferred=True)
    if raw is None:
        return ""
    if not isinstance(raw, RawDataElement) or not isinstance(raw.value, bytes):
        return None
    vr = raw.VR or _dictionary_vr(tag)
    if vr == "US" and len(raw.value) == 2:
        return str(int.from_bytes(raw.value, "little" if raw.is_little_endian else "big"))
    return _printable(raw.value, vr) if vr in _TEXTS else None


def _printable(data: bytes, vr: str) -> str | None:
    """Return text that is the same in every character set, and in every way to split it."""
    if not data.isascii():
        return None
    found = data.rstrip(b" \0").decode("ascii")
    if not found.isprintable() or " \\" in found or "\\ " in found:
        return None
    return None if vr == "IS" and found and not found.isdecimal() else found


def text(dataset: Dataset, keyword: str) -> str:
    """Return a value as one stripped line of text, several joined by a backslash; "" if absent."""
    plain = _plain(dataset, keyword)
    if plain is not None:
        return " ".join(plain.split())
    found = value(dataset, keyword)
    parts = found if isinstance(found, MultiValue | list | tuple) else [found]
    with quiet():
        try:
            joined = "\\".join("" if part is None else str(part) for part in parts)
        except Exception:  # noqa: BLE001 (a person's name decodes itself only when printed)
            return ""
    return " ".join(joined.replace("\0", " ").split())


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return a value's finite numbers, in order; empty where absent or if one is not a number."""
    plain = _plain(dataset, keyword)
    found = value(dataset, keyword) if plain is None else plain.split("\\")
    parts = found if isinstance(found, MultiValue | list | tuple) else [found]
    try:
        read = tuple(float(part) for part in parts)
    except (TypeError, ValueError, OverflowError):
        return ()
    return read if all(math.isfinite(number) for number in read) else ()


def number(dataset: Dataset, keyword: str) -> float | None:
    """Return the first number of a value; None where there is none."""
    return next(iter(numbers(dataset, keyword)), None)


def items(dataset: Dataset, keyword: str) -> Sequence[Dataset]:
    """Return the items of a sequence; empty where absent or broken."""
    found = value(dataset, keyword)
    if isinstance(found, str | bytes) or not isinstance(found, Sequence):
        return ()
    with quiet():
        try:
            return [item for item in found if isinstance(item, Dataset)]
        except Exception:  # noqa: BLE001 (items parse when they are walked)
            return ()


def item(dataset: Dataset, keyword: str, at: int) -> Dataset | None:
    """Return one item of a sequence; None where it is absent or broken.

    It is as :func:`items` has it, and found in no time among thousands.
    """
    found = value(dataset, keyword)
    if isinstance(found, str | bytes) or not isinstance(found, Sequence):
        return None
    with quiet():
        try:
            picked = found[at] if at < len(found) else None
        except Exception:  # noqa: BLE001 (items parse when they are walked)
            return None
    return picked if isinstance(picked, Dataset) else None
