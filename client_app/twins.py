"""Pictures that turn out to be the same once they are decoded.

Copies are mostly found by their bytes and identifiers (:mod:`client_app.dicom.copies`). One that
was compressed anew and given other identifiers shows only when both are pictures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from client_app.dicom.copies import CONTRADICTING, TWICE
from fedmend.records import Reader, Record, Rejected


class Judged(NamedTuple):
    """What becomes of a picture, and of the one it equals."""

    kept: bool
    withdrawn: int | None = None
    """The place of the earlier one, where the two contradict each other and neither is used."""
    rejected: Sequence[Rejected] = ()


class Twins:
    """Judges pictures one after the other.

    Only of readers with a true attribute ``distinct`` are twins looked for; frames of one file
    may well be alike.

    Args:
        reader: of the pictures.
    """

    def __init__(self, reader: Reader) -> None:
        self._looking = bool(getattr(reader, "distinct", False))
        self._seen: dict[bytes, tuple[int, Record]] = {}

    def judge(self, place: int, record: Record, pixels: npt.NDArray[np.uint16]) -> Judged:
        """Say what becomes of a picture.

        Args:
            place: whatever the caller knows it by.
            record: of the picture.
            pixels: (C, H, W), fitted.
        """
        if not self._looking:
            return Judged(kept=True)
        key = hashlib.sha256(pixels.tobytes()).digest()
        first_place, first = self._seen.setdefault(key, (place, record))
        if first_place == place or _source(first) == _source(record):
            return Judged(kept=True)
        if _claims(first) == _claims(record):
            twice = Rejected(_source(record), TWICE, _source(first))
            return Judged(kept=False, rejected=[twice])
        both = [Rejected(_source(each), CONTRADICTING) for each in (first, record)]
        return Judged(kept=False, withdrawn=first_place, rejected=both)


def _source(record: Record) -> str:
    return str(record.facts.get("path", record.uid))


def _claims(record: Record) -> tuple[object, ...]:
    """Return what copies must agree on; who the patient is, a new pseudonym may hide."""
    return record.label, record.split, record.noisy
