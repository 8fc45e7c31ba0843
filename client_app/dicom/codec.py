"""The process that decodes compressed frames: a codec may abort, hang or print, and it does.

GDCM ends the process over some broken JPEG-LS frames (an uncaught C++ exception), and the C
libraries write what they find to stderr. So they run here, out of the way of the site's process,
which :mod:`client_app.dicom.isolated` starts and talks to. This file runs as a script and imports
nothing of fedmend: the site's code need not be on the path of a fresh interpreter.

It says that it is ready with one byte. A request is two lengths (8 bytes each, little endian), a
JSON header and a frame; the answer is two lengths, a JSON header and the pixels. The header has
what the libraries wrote to stderr meanwhile: libjpeg fills up a frame whose data are missing, and
says so nowhere else.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import os
import resource
import struct
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

LENGTHS = struct.Struct("<QQ")
READY = b"+"
_BASELINE = "1.2.840.10008.1.2.4.50"
_EXTENDED = "1.2.840.10008.1.2.4.51"
_MOST_WORDS = 400
"""Characters of what a codec says of one frame that are kept: libjpeg says one line."""
MAX_MEMORY = 2**30
"""Bytes that decoding one frame may allocate: the largest frame allowed takes 0.7 of it."""


def main() -> None:
    """Answer requests until the site's process closes its end."""
    # Codecs print to the process's own stdout and stderr, under Python's feet.
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    stderr = _listening()
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)

    answers.write(READY)
    answers.flush()
    requests = sys.stdin.buffer
    while lengths := requests.read(LENGTHS.size):
        head, size = LENGTHS.unpack(lengths)
        _answer(json.loads(requests.read(head)), requests.read(size), answers, stderr)


def _listening() -> int:
    """Take this process's stderr, whoever writes to it; return where it is read.

    Neither end waits: a codec that says more than a pipe holds is not heard out, and goes on.
    """
    heard, written = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(written, False)
    os.dup2(written, 2)
    os.close(written)
    return heard


def _words(stderr: int) -> str:
    """Return the beginning of what was said since the last time, and forget the rest."""
    words = b""
    with contextlib.suppress(BlockingIOError):  # all has been read
        while part := os.read(stderr, 2**16):
            words = (words + part)[:_MOST_WORDS]
    return words.decode("ascii", "replace")


def _answer(header: Mapping[str, Any], frame: bytes, answers: BinaryIO, stderr: int) -> None:
    pixels = b""
    try:
        decoded = decode(header, frame)
        said = {"shape": decoded.shape, "dtype": decoded.dtype.str}
        pixels = decoded.tobytes()
    except BaseException as error:  # noqa: BLE001 (a panic of a Rust codec is no Exception)
        said = {"error": f"{type(error).__name__}: {error}"[:400]}
    said["words"] = _words(stderr)
    text = json.dumps(said).encode()
    answers.write(LENGTHS.pack(len(text), len(pixels)) + text)
    answers.write(pixels)
    answers.flush()


def decode(header: Mapping[str, Any], frame: bytes) -> Any:
    """Decode one frame as pydicom does: GDCM for JPEG, JPEG-LS and JPEG 2000, OpenJPEG for HTJ2K.

    CharLS reads the JPEG-LS, and :mod:`client_app.dicom.extended` the 12-bit JPEG that GDCM cannot.
    JPEG that GDCM refuses is not tried again with Pillow, which says nothing of missing data.

    Args:
        header: elements of the Image Pixel module by keyword, and the transfer syntax.
        frame: the codestream.

    Returns:
        (H, W) or (H, W, 3), as pydicom's ``pixel_array`` gives it.
    """
    if header["TransferSyntaxUID"] == _EXTENDED and header["BitsStored"] > 8:
        return _extended(header, frame)
    from pydicom import Dataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.encaps import encapsulate
    from pydicom.pixels.utils import pixel_array

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    for keyword, value in header.items():
        setattr(dataset.file_meta if keyword == "TransferSyntaxUID" else dataset, keyword, value)
    dataset.PixelData = encapsulate([frame])
    plugin = "gdcm" if header["TransferSyntaxUID"] in (_BASELINE, _EXTENDED) else ""
    return pixel_array(dataset, index=0, decoding_plugin=plugin)


def _extended(header: Mapping[str, Any], frame: bytes) -> Any:
    # By its path: this folder's names, on the path, would hide those of packages.
    path = Path(__file__).with_name("extended.py")
    spec = importlib.util.spec_from_file_location("fedmend_extended", path)
    if spec is None or spec.loader is None:
        raise ImportError("extended.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pixels = module.decode(frame).astype("<u2")
    unused = 16 - header["BitsStored"]
    if header["PixelRepresentation"] == 1:
        return (pixels << unused).view("<i2") >> unused
    return pixels


if __name__ == "__main__":
    main()
