"""Files as they are found in every export, and of no use: each kind spoils a good one."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import BasicTextSRStorage

from client_app.synth import modules, writer
from client_app.synth.markers import MARKER, STUDY_DATE, STUDY_TIME

_CLAIMED = 60_000
_FROM_PATIENT_AND_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate",
    "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName", "Manufacturer",
)  # fmt: skip


_FIRST_RECORD = "OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity"
_LAST_RECORD = "OffsetOfTheLastDirectoryRecordOfTheRootDirectoryEntity"
_ITEM = b"\xfe\xff\x00\xe0"


class Victim(NamedTuple):
    """What a broken file is made of."""

    image: Dataset
    """An image object with a SOP Instance UID of its own, not yet encoded."""
    good: bytes
    """One of the site's good files."""


def _empty(victim: Victim) -> bytes:
    del victim
    return b""


def _truncated(victim: Victim) -> bytes:
    """Cut the file in the middle of its pixel data, which is the last element."""
    whole = writer.encoded(victim.image)
    return whole[: len(whole) - len(victim.image.PixelData) // 2]


def _text(victim: Victim) -> bytes:
    del victim
    return f"<html><body>{MARKER}: the archive did not answer in time</body></html>\n".encode()


def _report(victim: Victim) -> bytes:
    """Write a Basic Text SR (PS3.3 A.35.1) about the patient: a DICOM file without pixels."""
    image = victim.image
    about = {name: image.get(name, "") for name in _FROM_PATIENT_AND_STUDY}
    observation = {
        "RelationshipType": "CONTAINS",
        "ValueType": "TEXT",
        "ConceptNameCodeSequence": modules.code(("121071", "DCM", "Finding")),
        "TextValue": f"{MARKER} finding",
    }
    report = {
        "Modality": "SR",
        "SeriesInstanceUID": image.SeriesInstanceUID,
        "SeriesNumber": 2,
        "ReferencedPerformedProcedureStepSequence": Items([]),
        "InstanceNumber": 1,
        "ContentDate": STUDY_DATE,
        "ContentTime": STUDY_TIME,
        "PerformedProcedureCodeSequence": Items([]),
        "CompletionFlag": "COMPLETE",
        "VerificationFlag": "UNVERIFIED",
        "ValueType": "CONTAINER",
        "ConceptNameCodeSequence": modules.code(("18782-3", "LN", "Radiology Study observation")),
        "ContinuityOfContent": "SEPARATE",
        "ContentSequence": Items([modules.item(observation)]),
    }
    common = writer.sop_common(BasicTextSRStorage, image.SOPInstanceUID, image.SpecificCharacterSet)
    return writer.encoded(modules.item({**common, **about, **report}))


def _oversized(victim: Victim) -> bytes:
    victim.image.Rows = victim.image.Columns = _CLAIMED
    return writer.encoded(victim.image)


def _duplicate(victim: Victim) -> bytes:
    return victim.good


def _directory(victim: Victim) -> bytes:
    """Write a Media Storage Directory (PS3.3 F) with one patient record and nothing below it."""
    image = victim.image
    record = {
        "OffsetOfTheNextDirectoryRecord": 0,
        "RecordInUseFlag": 0xFFFF,
        "OffsetOfReferencedLowerLevelDirectoryEntity": 0,
        "DirectoryRecordType": "PATIENT",
        "SpecificCharacterSet": image.SpecificCharacterSet,
        "PatientName": image.PatientName,
        "PatientID": image.PatientID,
    }
    directory = {
        "FileSetID": f"{MARKER}_SET",
        _FIRST_RECORD: 0,
        _LAST_RECORD: 0,
        "FileSetConsistencyFlag": 0,
        "DirectoryRecordSequence": Items([modules.item(record)]),
    }
    blank = writer.directory(modules.item(directory), image.SOPInstanceUID)
    start = blank.index(_ITEM)  # an offset counts from the first byte of the file
    placed = directory | {_FIRST_RECORD: start, _LAST_RECORD: start}
    return writer.directory(modules.item(placed), image.SOPInstanceUID)


class Kind(NamedTuple):
    """One way to be broken."""

    name: str
    words: str
    spoil: Callable[[Victim], bytes]


KINDS = (
    Kind("empty", "the file has no bytes", _empty),
    Kind("truncated", "the file ends in the middle of its pixel data", _truncated),
    Kind("text", "a web page under the name of an image", _text),
    Kind("report", "a structured report: no pixel data", _report),
    Kind("oversized", "the header claims 60000 x 60000 pixels; the data are short", _oversized),
    Kind("duplicate", "a copy of another file, under another name", _duplicate),
    Kind("directory", "a DICOMDIR", _directory),
)
"""They are taken in turn."""


def kind(number: int) -> Kind:
    """Return the kind of a site's ``number``-th broken file, from 0."""
    return KINDS[number % len(KINDS)]
