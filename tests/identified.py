"""A hospital whose files hold a marker in every element that identifies a patient.

The elements are those of PS3.15 table E.1-1 (basic profile), as the package dicom-anonymizer
lists them.
"""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as profile
from pydicom.datadict import dictionary_VR, keyword_dict
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import UID

from tests import dicom_files

TEXT = "MARKER"
DAY = "19010203"
TIME = "031415.926535"
AGE = "078Y"
NUMBER = 31415
UID_DIGITS = "271828182845"

_DIGITS = "|".join((DAY, TIME.replace(".", r"\."), str(NUMBER), UID_DIGITS, AGE))
LEAK = re.compile(
    # Digits alone also turn up in hashes by chance: there they have neighbours.
    f"{TEXT}|(?<![0-9a-f])(?:{_DIGITS})|{UID_DIGITS}".encode(),
    re.IGNORECASE,
)
"""What nothing may hold that leaves the site, or that is written about it."""

CLASSES = ("dim", "lit")
_FILED_BY = {keyword_dict[name] for name in ("SOPInstanceUID", "StudyInstanceUID", "PatientID",
                                             "SeriesInstanceUID", "SOPClassUID")}  # fmt: skip


def uid(number: int) -> str:
    """Return a UID that is recognised."""
    return f"1.2.826.0.1.3680043.{UID_DIGITS}.{number}"


def identify(dataset: Dataset, number: int) -> list[str]:
    """Fill in every identifying element that the dictionary knows; return their keywords."""
    filled = []
    for group, element, *_ in profile.ALL_TAGS:  # with masks for groups that repeat
        tag = Tag(group, element)
        try:
            kind = dictionary_VR(tag).partition(" or ")[0]
        except KeyError:
            continue  # newer than pydicom
        if tag in _FILED_BY or group in (0, 2):  # of a message, and of the file itself
            continue
        dataset.add_new(tag, kind, _value(kind, number))
        filled.append(dataset[tag].keyword)
    dataset.PatientID = f"{TEXT}-{number // 2}"
    dataset.StudyInstanceUID = uid(2_000_000 + number)
    dataset.SeriesInstanceUID = uid(3_000_000 + number)
    dataset.add_new(0x00090010, "LO", f"{TEXT} INC")
    dataset.add_new(0x00091001, "LT", f"{TEXT} of the maker")
    return filled


def _value(kind: str, number: int) -> Any:
    if kind == "SQ":
        item = Dataset()
        item.PatientName = f"{TEXT}^Within"
        item.ReferencedSOPInstanceUID = uid(4_000_000 + number)
        return Sequence([item])
    return {
        "DA": DAY, "TM": TIME, "DT": DAY + TIME, "AS": AGE, "UI": uid(5_000_000 + number),
        "DS": str(NUMBER), "IS": str(NUMBER), "US": NUMBER, "OB": TEXT.encode(),
        "UN": TEXT.encode(), "OW": TEXT.encode(), "UR": f"http://{TEXT}", "PN": f"{TEXT}^Jane",
    }.get(kind, TEXT)  # fmt: skip


def write_site(folder: Path, seed: int, count: int = 16, size: int = 24) -> None:
    """Write a hospital: ``count`` images of two classes, its labels, and files of no use.

    Args:
        folder: to be made; its own name and the files' may hold markers too.
        seed: of the pictures; other seeds are other patients.
        count: of the images.
        size: side of them in pixels.
    """
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = number % 2
        values = rng.normal(1200 + 1500 * label, 300, (size, size)).clip(0, 4095).astype("<u2")
        dataset = pydicom.dcmread(
            dicom_files.write(folder / "raw", number, shape=(size, size),
                              PixelData=values.tobytes())
        )  # fmt: skip
        identify(dataset, 1000 * seed + number)
        dataset.SOPInstanceUID = uid(1_000_000 + 1000 * seed + number)
        dataset.file_meta.MediaStorageSOPInstanceUID = UID(dataset.SOPInstanceUID)
        dataset.save_as(folder / f"{number}.dcm")
        rows.append({"SOPInstanceUID": dataset.SOPInstanceUID, "label": CLASSES[label]})
    (folder / "raw").unlink()
    _write_useless(folder, (folder / "0.dcm").read_bytes())
    rows.append({"SOPInstanceUID": uid(9_999_999), "label": CLASSES[0]})  # of no file
    with (folder / "labels.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["SOPInstanceUID", "label"])
        table.writeheader()
        table.writerows(rows)


def _write_useless(folder: Path, good: bytes) -> None:
    """Write files that are refused, each for another reason, each with markers inside."""
    whole = pydicom.dcmread(folder / "0.dcm")
    report = pydicom.dcmread(folder / "0.dcm")
    del report.PixelData
    wrong = pydicom.dcmread(folder / "0.dcm")
    wrong.Rows = 5 * whole.Rows
    (folder / "copy.dcm").write_bytes(good)
    (folder / "cut.dcm").write_bytes(good[: len(good) - 400])
    (folder / "early.dcm").write_bytes(good[: len(good) // 2])
    (folder / "page.dcm").write_bytes(f"<html>{TEXT}</html>".encode())
    report.save_as(folder / "report.dcm")
    wrong.save_as(folder / "wrong.dcm")
