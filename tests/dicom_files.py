"""Tiny DICOM files for tests."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.2.826.0.1.3680043.8.498."


def uid(name: str) -> str:
    """Return a UID that is the same in every test of this name."""
    return ROOT + str(int(hashlib.sha256(name.encode()).hexdigest()[:12], 16))


def pixels(seed: int, shape: tuple[int, ...] = (8, 6)) -> npt.NDArray[np.uint16]:
    """Return (H, W) or (frames, H, W) values of 12 bits."""
    return np.random.default_rng(seed).integers(0, 4096, shape, dtype=np.uint16)


def encoded(
    seed: int, *, shape: tuple[int, ...] = (8, 6), syntax: UID = ExplicitVRLittleEndian, **own: Any
) -> bytes:
    """Return a file's bytes; elements given by keyword replace its own, None leaves one out."""
    dataset = Dataset()
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": uid(f"instance {seed}"),
        "SeriesInstanceUID": uid(f"series {seed}"), "StudyInstanceUID": uid(f"study {seed}"),
        "PatientID": f"P{seed}", "Modality": "CT", "Manufacturer": "Maker", "KVP": "120",
        "Rows": shape[-2], "Columns": shape[-1], "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 12,
        "HighBit": 11, "PixelRepresentation": 0, "WindowCenter": "2048", "WindowWidth": "4096",
        "PixelData": pixels(seed, shape).astype("<u2").tobytes(),
    }  # fmt: skip
    if len(shape) == 3:
        values["NumberOfFrames"] = shape[0]
    for keyword, value in (values | own).items():
        if value is not None:
            setattr(dataset, keyword, value)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dataset.save_as(file, enforce_file_format="SOPInstanceUID" in dataset)
    return file.getvalue()


def write(path: Path, seed: int, **own: Any) -> Path:
    """Write a file, and its folder where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(seed, **own))
    return path
