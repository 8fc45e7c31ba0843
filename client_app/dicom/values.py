"""Header values, read so that a broken one is absent and never an error or a warning.

pydicom converts a value when it is first asked for; that is when a broken one raises.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from client_app.dicom.quiet import quiet


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


def text(dataset: Dataset, keyword: str) -> str:
    """Return a value as one stripped line of text, several joined by a backslash; "" if absent."""
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
    found = value(dataset, keyword)
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
