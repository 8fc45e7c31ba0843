"""One original, of whatever kind: looked at, mended where it is flagged, encoded again."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from client_app.decoding import check
from client_app.dicom.parsed import parse
from client_app.dicom.window import Window
from client_app.mending import picture
from client_app.mending.derived import Made
from client_app.mending.dicom import Changed
from client_app.mending.mender import Mender
from client_app.mending.originals import frame_of
from client_app.mending.unmendable import NO_BETTER, NOT_FINITE, Unmendable
from client_app.readers import raster
from fedmend.errors import DataError, RunError, UserError
from fedmend.records import Record


class Verdict(NamedTuple):
    """What became of one image."""

    outcome: str
    """One of :data:`client_app.mending.ledger.OUTCOMES`."""
    flagged: bool | None = None
    """None where it could not be looked at."""
    score: float | None = None
    reason: str = ""
    detail: str = ""


class Mended(NamedTuple):
    """What became of one file."""

    verdicts: Sequence[Verdict]
    """One a record, in their order."""
    data: bytes | None
    """Of the mended file; None where nothing changes."""


CLEAN = Verdict("clean", flagged=False)
"""What the site itself vouches for is not even looked at."""


def mended(
    data: bytes, records: Sequence[Record], mender: Mender, made: Made, window: Window | None
) -> Mended:
    """Mend one file.

    Args:
        data: its bytes.
        records: of its images: one a frame of a DICOM file, one of a picture.
        mender: flags and mends.
        made: what to write into a derived DICOM file.
        window: by which DICOM files are shown; None: the file is a picture.

    Raises:
        RunError: the file is not what it was when it was indexed; a codec cannot be started; or
            the imputer's device fails.
    """
    try:
        _check_same(_digest(data, window), records)
        if window is None:
            return _picture(data, records[0], mender)
        return _dicom(data, records, mender, made, window)
    except DataError as error:
        return _lost(records, str(error), error.local)
    except UserError:
        raise
    except (torch.AcceleratorError, torch.OutOfMemoryError) as error:
        # The machine's fault, not the image's: another call may mend it.
        said = str(error).partition("\n")[0]
        raise RunError("the imputer's device failed; call again", local=said) from error
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        # Whatever a decoder or a detector trips over costs this image alone.
        return _lost(records, f"cannot be looked at ({type(error).__name__})", str(error))


def _lost(records: Sequence[Record], reason: str, detail: str) -> Mended:
    """Return that a file cannot be used; what the site vouches for is clean all the same."""
    lost = Verdict("unusable", reason=reason, detail=detail)
    return Mended([CLEAN if record.noisy is False else lost for record in records], None)


def _digest(data: bytes, window: Window | None) -> str:
    """Return what the reader hashes a file's bytes to; empty where it could not."""
    if window is None:
        return hashlib.sha256(data).hexdigest()
    try:
        return parse(data).digest
    except DataError:
        return ""


def _check_same(digest: str, records: Sequence[Record]) -> None:
    """Hold a hash to the records' uids: the same, but for the digits that number frames."""
    kept = 64 if records[0].facts.get("NumberOfFrames", 1) == 1 else 56
    if any(record.uid[:kept] != digest[:kept] for record in records):
        raise RunError("an image changed while it was being mended; call again")


def _picture(data: bytes, record: Record, mender: Mender) -> Mended:
    verdict, made = _judged(raster.decode(data), record, mender)
    if made is None:
        return Mended([verdict], None)
    try:
        written = picture.encoded(data, made)
    except Unmendable as error:
        return Mended([_refused(verdict, error)], None)
    return Mended([verdict if written else verdict._replace(outcome="unchanged")], written)


def _dicom(
    data: bytes, records: Sequence[Record], mender: Mender, made: Made, window: Window
) -> Mended:
    changed = Changed(data, window)
    verdicts = []
    for record in records:
        if record.noisy is False:
            verdicts.append(CLEAN)
            continue
        frame = frame_of(record)
        verdict, answer = _judged(changed.shown(frame), record, mender)
        if answer is not None:
            try:
                if not changed.mend(frame, answer):
                    verdict = verdict._replace(outcome="unchanged")
            except Unmendable as error:
                verdict = _refused(verdict, error)
        verdicts.append(verdict)
    if not changed.frames:
        return Mended(verdicts, None)
    try:
        return Mended(verdicts, changed.encoded(made))
    except Unmendable as error:
        refused = [_refused(each, error) if each.outcome == "mended" else each for each in verdicts]
        return Mended(refused, None)


def _judged(image: Tensor, record: Record, mender: Mender) -> tuple[Verdict, Tensor | None]:
    """Return what is thought of an image and, where it is flagged, the same mended.

    The site's own word counts before the detector's.
    """
    if record.noisy is False:
        return CLEAN, None
    try:
        check(image)
    except DataError as error:
        return Verdict("unusable", reason=str(error)), None
    seen = mender.seen(image)
    flagged = seen.flagged or bool(record.noisy)
    verdict = Verdict("mended" if flagged else "clean", flagged, seen.score)
    if not math.isfinite(seen.score):
        return _refused(verdict._replace(score=None), Unmendable(NOT_FINITE)), None
    if not flagged:
        return verdict, None
    try:
        made = mender.mended(image, seen)
    except Unmendable as error:
        return _refused(verdict, error), None
    if made is None:
        return _refused(verdict, Unmendable(NO_BETTER)), None
    return verdict, made


def _refused(verdict: Verdict, error: Unmendable) -> Verdict:
    return verdict._replace(outcome="not mended", reason=str(error), detail=error.local)
