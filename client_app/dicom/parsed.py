"""One file's bytes, parsed, checked as far as that goes without decoding them, and hashed."""

from __future__ import annotations

from typing import NamedTuple

from blake3 import blake3
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client_app.dicom import files
from client_app.dicom.layout import Layout, layout
from client_app.dicom.quiet import quiet
from client_app.dicom.untrusted import INCONSISTENT, SHORT, Untrusted


class Parsed(NamedTuple):
    """A file whose header can be trusted."""

    dataset: Dataset
    claimed: Layout
    digest: str
    """Hash (hex) of the whole file."""
    pixels: str
    """Hash (hex) of the stored pixel data and of what says how to read it."""


def parse(data: bytes) -> Parsed:
    """Parse and hash one file.

    The hashes are BLAKE3's: as hard to forge as SHA-256, and several times as fast. That of the
    file is made of where its pixel data are, their hash, and what is before and after them, so
    that pixels are hashed once.

    Args:
        data: the whole file.

    Raises:
        Untrusted: it is not a DICOM image, or its header and length contradict one another.
    """
    dataset = files.read(data)
    with quiet():
        claimed = layout(dataset)
    element = dataset[claimed.keyword]
    pixels = element.value
    if not isinstance(pixels, bytes):
        raise Untrusted(INCONSISTENT, local=f"{claimed.keyword} is no sequence of bytes")
    _check_length(claimed, len(pixels), encapsulated=bool(element.is_undefined_length))
    hashed = blake3(pixels).digest()
    return Parsed(
        dataset,
        claimed,
        _digest(data, element.file_tell or 0, pixels, hashed),
        blake3(_described(claimed) + hashed).hexdigest(),
    )


def _digest(data: bytes, start: int, pixels: bytes, hashed: bytes) -> str:
    # Deflated ones are not to be found there: then nothing is left out.
    end = start + len(pixels) if data.startswith(pixels, start) else start
    digest = blake3(b"%d %d " % (start, end) + hashed)
    digest.update(memoryview(data)[:start])
    digest.update(memoryview(data)[end:])
    return digest.hexdigest()


def _check_length(claimed: Layout, there: int, *, encapsulated: bool) -> None:
    """Refuse pixel data that end too early, so that a whole copy of them can be used instead."""
    if encapsulated:
        if there < 8 * claimed.frames:  # each frame is at least an item of its own
            raise Untrusted(SHORT, local=f"{claimed.frames} frames in {there} bytes")
    elif there < claimed.native_bytes:
        missing = claimed.native_bytes - there
        raise Untrusted(SHORT, local=f"{missing} of {claimed.native_bytes} bytes are missing")


def _described(claimed: Layout) -> bytes:
    """Say how stored pixels are to be read; the same where only their container differs."""
    native = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)
    syntax = "native" if claimed.syntax in native else str(claimed.syntax)
    return repr(claimed._asdict() | {"syntax": syntax}).encode()
