"""Frames that codecs fill up where data are missing: what they say of it is listened to."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import JPEGBaseline8Bit, JPEGExtended12Bit

from client_app.dicom import codec, untrusted
from client_app.dicom.codestream import checked_frame
from client_app.dicom.complaints import check_words
from client_app.dicom.files import read
from client_app.dicom.layout import layout
from client_app.dicom.stored import stored
from client_app.dicom.untrusted import Untrusted

Make = Callable[..., Dataset]
_END = b"\xff\xd9"
_PICTURE = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)


def _jpeg(pixels: npt.NDArray[np.uint8], **how: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=90, **how)
    return stream.getvalue()


def _dataset(make: Make, frame: bytes, syntax: str = JPEGBaseline8Bit) -> Dataset:
    photometric = {"PhotometricInterpretation": "YBR_FULL_422"}
    dataset = make(_PICTURE, syntax, PixelData=encapsulate([frame]), **photometric)
    dataset["PixelData"].is_undefined_length = True
    return dataset


def _bundled(name: str) -> tuple[Dataset, bytes]:
    """Return a file of pydicom's and its frame, up to the end marker."""
    dataset = read(Path(str(get_testdata_file(name, download=False))).read_bytes())
    frame = checked_frame(dataset, layout(dataset), 0)
    return dataset, frame[: frame.rindex(_END)]


def _reason(dataset: Dataset) -> str:
    with pytest.raises(Untrusted) as caught:
        stored(dataset)
    return caught.value.reason


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, JPEGExtended12Bit])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_a_jpeg_cut_short_before_its_end_marker_is_refused(
    make: Make, syntax: str, share: float
) -> None:
    frame = _jpeg(_PICTURE)
    stored(_dataset(make, frame, syntax))
    cut = frame[: int(len(frame) * share)] + _END
    assert _reason(_dataset(make, cut, syntax)) == untrusted.TRUNCATED


def test_a_jpeg_with_a_hole_is_refused(make: Make) -> None:
    frame = _jpeg(_PICTURE)
    middle = len(frame) // 2
    holed = _dataset(make, frame[:middle] + frame[middle + 2000 :])
    assert _reason(holed) in (untrusted.TRUNCATED, untrusted.UNDECODABLE)


def test_a_lossless_jpeg_with_half_its_data_is_refused() -> None:
    dataset, frame = _bundled("SC_rgb_jpeg_gdcm.dcm")
    good = stored(dataset)
    dataset.PixelData = encapsulate([frame + _END])
    dataset["PixelData"].is_undefined_length = True
    assert np.array_equal(stored(dataset), good)
    dataset.PixelData = encapsulate([frame[: len(frame) // 2] + _END])
    dataset["PixelData"].is_undefined_length = True
    assert _reason(dataset) == untrusted.TRUNCATED


def test_a_frame_is_not_blamed_for_the_one_before(make: Make) -> None:
    frame = _jpeg(_PICTURE)
    good = stored(_dataset(make, frame))
    _reason(_dataset(make, frame[: len(frame) // 2] + _END))
    assert np.array_equal(stored(_dataset(make, frame)), good)


@pytest.mark.parametrize("padding", [b"\0", b"\xff" * 9, bytes(300)])
def test_padding_before_the_end_marker_does_no_harm(make: Make, padding: bytes) -> None:
    frame = _jpeg(_PICTURE)
    good = stored(_dataset(make, frame))
    padded = frame.removesuffix(_END) + padding + _END
    assert np.array_equal(stored(_dataset(make, padded)), good)


def test_a_lost_restart_interval_is_refused(make: Make) -> None:
    frame = _jpeg(_PICTURE, restart_marker_blocks=4)
    stored(_dataset(make, frame))
    start, end = frame.index(b"\xff\xd1"), frame.index(b"\xff\xd2")
    assert _reason(_dataset(make, frame[:start] + frame[end:])) == untrusted.UNDECODABLE


def test_a_lost_scan_is_refused(make: Make) -> None:
    # Without chroma samples libjpeg takes them for grey, and says nothing.
    whole, *less = (_scans(count) for count in (3, 2, 1))
    assert stored(_dataset(make, whole)).shape == _PICTURE.shape
    for frame in less:
        assert _reason(_dataset(make, frame)) == untrusted.TRUNCATED


def _scans(count: int) -> bytes:
    """Return a JPEG of three components, of which so many have a scan, each one of its own."""
    parts = [_jpeg(_PICTURE[..., at]) for at in range(3)]
    first = parts[0]
    frame, scan = first.index(b"\xff\xc0"), first.index(b"\xff\xda")
    components = b"".join(bytes((at, 0x11, 0)) for at in (1, 2, 3))
    head = first[:frame] + b"\xff\xc0\0\x11" + first[frame + 4 : frame + 9] + b"\3" + components
    head += first[frame + 13 : scan]
    for at, part in enumerate(parts[:count], start=1):
        scan = part.index(b"\xff\xda")
        head += b"\xff\xda\0\x08\1" + bytes((at,)) + part[scan + 6 : -2]
    return head + _END


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("", None),
        ("Corrupt JPEG data: 33 extraneous bytes before marker 0xd9\n", None),
        ("Warning: unknown JFIF revision number 2.05\n", None),
        ("Corrupt JPEG data: premature end of data segment\n", untrusted.TRUNCATED),
        ("Premature end of JPEG file\n", untrusted.TRUNCATED),
        ("Corrupt JPEG data: bad Huffman code\n", untrusted.UNDECODABLE),
        ("Corrupt JPEG data: found marker 0xd9 instead of RST3\n", untrusted.UNDECODABLE),
        ("Corrupt JPEG data: 9 extraneous bytes before marker 0xd3\n", untrusted.UNDECODABLE),
    ],
)
def test_words_that_mean_missing_data_are_told_from_others(words: str, reason: str | None) -> None:
    if reason is None:
        check_words(words)
    else:
        with pytest.raises(Untrusted) as caught:
            check_words(words)
        assert caught.value.reason == reason


_SAID = """
import os, sys
sys.path.insert(0, {folder!r})
import codec
stderr = codec._listening()
for _ in range(100):
    os.write(2, b"x" * 500)
try:
    os.write(2, bytes(2**20))
    os.write(2, b"x")
    full = False
except BlockingIOError:
    full = True
first, second = codec._words(stderr), codec._words(stderr)
os.write(2, b"again")
print(full, len(first), repr(second), codec._words(stderr))
"""


def test_a_codec_that_never_stops_talking_is_not_waited_for() -> None:
    script = _SAID.format(folder=str(Path(codec.__file__).parent))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == ["True", "400", "''", "again"]
