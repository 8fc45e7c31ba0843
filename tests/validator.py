"""What a validator of DICOM files holds to be wrong."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian

needs_validator = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not here"
)


def errors(path: Path) -> set[str]:
    """Return what dciodvfy holds to be wrong in a file, where it says so."""
    said = subprocess.run(
        ["dciodvfy", str(path)], capture_output=True, text=True, check=False, errors="replace"
    )
    lines = (said.stdout + said.stderr).splitlines()
    assert lines
    return {line for line in lines if line.startswith("Error")}


def plain(data: bytes) -> bytes:
    """Return a file in the encoding of derived ones: the validator does not read every other."""
    source = pydicom.dcmread(io.BytesIO(data))
    if source.file_meta.TransferSyntaxUID.is_encapsulated:
        source.decompress(generate_instance_uid=False)
    source.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = io.BytesIO()
    pydicom.dcmwrite(file, source, enforce_file_format=True)
    return file.getvalue()
