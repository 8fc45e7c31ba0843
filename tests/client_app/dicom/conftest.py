from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

Make = Callable[..., Dataset]


def dataset_of(
    pixels: npt.NDArray[Any], syntax: str = ExplicitVRLittleEndian, **header: Any
) -> Dataset:
    """Return a data set of one frame; header elements by keyword go on top of what pixels say."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = UID(syntax)
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID = "1.2.3"
    bits = pixels.dtype.itemsize * 8
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    made.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    if pixels.ndim == 3:
        made.PlanarConfiguration = 0
    made.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    for keyword, value in header.items():
        setattr(made, keyword, value)
    if "BitsStored" in header:
        made.HighBit = header["BitsStored"] - 1
    return made


def bytes_of(dataset: Dataset) -> bytes:
    """Return the data set as a file."""
    stream = io.BytesIO()
    dataset["PixelData"].VR = "OW"
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


@pytest.fixture
def make() -> Make:
    return dataset_of


@pytest.fixture
def as_file() -> Callable[[Dataset], bytes]:
    return bytes_of


@pytest.fixture
def ramp() -> npt.NDArray[np.uint16]:
    """Return 0 to 255, 16 rows of 16."""
    return np.arange(256, dtype=np.uint16).reshape(16, 16)
