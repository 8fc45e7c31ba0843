"""From elements and pixels to the bytes of a DICOM file (PS3.10)."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MediaStorageDirectoryStorage

from client_app.synth import modules
from client_app.synth.acquisition import Scanner
from client_app.synth.grey import Stored
from client_app.synth.markers import MARKER
from client_app.synth.patients import uid

_PRIVATE_GROUP = 0x0009
_IMPLEMENTATION = uid("fedmend synth")


def instance(sop_uid: UID, device: Scanner, elements: Mapping[str, Any], pixels: Stored) -> Dataset:
    """Return an image object, not yet encoded.

    Args:
        sop_uid: SOP Instance UID.
        device: says class, character set and grey scale.
        elements: of every module but SOP Common and Image Pixel.
        pixels: (H, W) as stored.
    """
    made = modules.item(
        {
            **sop_common(device.sop_class, sop_uid, device.charset),
            **elements,
            **modules.image_pixel(pixels, device.grey),
        }
    )
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    data = little.tobytes()
    made.PixelData = data + b"\0" * (len(data) % 2)
    made["PixelData"].VR = "OB" if device.grey.allocated == 8 else "OW"
    return made


def sop_common(sop_class: UID, sop_uid: UID, charset: str) -> dict[str, Any]:
    """SOP Common (C.12.1)."""
    return {
        "SpecificCharacterSet": charset,
        "SOPClassUID": sop_class,
        "SOPInstanceUID": sop_uid,
        "SyntheticData": "YES",
    }


def mark_privately(data: Dataset) -> None:
    """Add a private element with a marker, as makers of scanners do with patients' data."""
    block = data.private_block(_PRIVATE_GROUP, f"{MARKER} PRIVATE", create=True)
    block.add_new(0x01, "LO", f"{MARKER} private")


def encoded(data: Dataset, syntax: UID = ExplicitVRLittleEndian) -> bytes:
    """Return the file of an object in a transfer syntax; its pixels are compressed losslessly.

    The data set itself is left encoded in that syntax.
    """
    data.file_meta = _meta(data.SOPClassUID, data.SOPInstanceUID)
    if syntax.is_compressed and not syntax.is_deflated:
        data.compress(syntax, encoding_plugin="pylibjpeg", generate_instance_uid=False)
    data.file_meta.TransferSyntaxUID = syntax
    return _saved(data)


def directory(data: Dataset, instance_uid: UID) -> bytes:
    """Return a DICOMDIR: only its file meta information says of what class it is (PS3.10 8.6)."""
    data.file_meta = _meta(MediaStorageDirectoryStorage, instance_uid)
    return _saved(data)


def _meta(sop_class: UID, sop_uid: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop_class
    meta.MediaStorageSOPInstanceUID = sop_uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = "FEDMEND_SYNTH"
    return meta


def _saved(data: Dataset) -> bytes:
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()
