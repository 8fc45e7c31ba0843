"""Headers that claim what no machine holds must cost neither memory nor time."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

from client_app.dicom import bounded, headers, untrusted
from client_app.dicom.parsed import parse
from client_app.dicom.untrusted import Untrusted

AsFile = Callable[[Dataset], bytes]
Make = Callable[..., Dataset]
_PICTURE = np.zeros((16, 16), np.uint8)
_SIDE = 60000
_ALLOWED = 8192
"""The side of the largest grey picture that is not refused for its size alone."""

_SITE = """
import io, json, resource, sys, time
from pathlib import Path
from typing import NamedTuple
from client_app.dicom import display, files, headers, isolated
from client_app.dicom.parsed import parse
from fedmend.errors import DataError

def peak(whose=resource.RUSAGE_SELF):
    return resource.getrusage(whose).ru_maxrss // 1024

def outcome(path):
    try:
        path()
    except DataError as error:
        return str(error)
    return "read"

good, *bombs = [Path(name).read_bytes() for name in sys.argv[1:]]
display.image(files.read(good))
costs = []
for data in bombs:
    before, start = peak(), time.perf_counter()
    found = [outcome(lambda: headers.header(parse(data))),
             outcome(lambda: display.image(files.read(data)))]
    costs.append([found, time.perf_counter() - start, peak() - before])
isolated.close()
print(json.dumps([costs, peak(resource.RUSAGE_CHILDREN)]))
"""


def _codestream(kind: str, rows: int, columns: int) -> bytes:
    """Return a frame of 16 x 16 whose own header claims another size."""
    stream = io.BytesIO()
    if kind == "JPEG2000":
        Image.fromarray(_PICTURE).save(stream, kind, no_jp2=True)
        data, at = stream.getvalue(), 8
        return data[:at] + struct.pack(">II", columns, rows) + data[at + 8 :]
    Image.fromarray(_PICTURE).save(stream, "JPEG")
    data = stream.getvalue()
    at = data.index(b"\xff\xc0")
    marker = {"JPEG": b"\xff\xc0", "JPEG 12": b"\xff\xc1", "JPEG-LS": b"\xff\xf7"}[kind]
    return (
        data[:at]
        + marker
        + data[at + 2 : at + 5]
        + struct.pack(">HH", rows, columns)
        + data[at + 9 :]
    )


def _file(make: Make, as_file: AsFile, kind: str, side: int) -> bytes:
    syntax = _SYNTAXES[kind]
    made = make(_PICTURE, syntax, Rows=side, Columns=side)
    if kind == "JPEG 12":
        made.BitsAllocated, made.BitsStored, made.HighBit = 16, 12, 11
    if kind == "RLE":
        made.PixelData = encapsulate([struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\0" * 8])
    elif syntax.is_encapsulated:
        made.PixelData = encapsulate([_codestream(kind, side, side)])
    if syntax.is_encapsulated:
        made["PixelData"].is_undefined_length = True
    return as_file(made)


_SYNTAXES: dict[str, UID] = {
    "native": ExplicitVRLittleEndian,
    "RLE": RLELossless,
    "JPEG": JPEGBaseline8Bit,
    "JPEG 12": JPEGExtended12Bit,
    "JPEG-LS": JPEGLSLossless,
    "JPEG2000": JPEG2000Lossless,
}


class _Cost(NamedTuple):
    """What reading one file took."""

    found: list[str]
    """What became of it, as a header and as a picture."""
    seconds: float
    more: int
    """MiB on top of what the process had held at most before."""


def _costs(tmp_path: Path, good: bytes, bombs: list[bytes]) -> tuple[list[_Cost], int]:
    """Read files in a fresh process; return what they took, and the MiB of its codec."""
    names = [tmp_path / f"{at}.dcm" for at in range(len(bombs) + 1)]
    for name, content in zip(names, (good, *bombs), strict=True):
        name.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-c", _SITE, *map(str, names)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[3],
    )
    costs, codec = json.loads(done.stdout)
    return [_Cost(*cost) for cost in costs], int(codec)


def test_a_claim_of_60000_by_60000_costs_nothing(
    make: Make, as_file: AsFile, tmp_path: Path
) -> None:
    bombs = [_file(make, as_file, kind, _SIDE) for kind in _SYNTAXES]
    costs, _ = _costs(tmp_path, as_file(make(_PICTURE)), bombs)
    assert [cost.found for cost in costs] == [[untrusted.TOO_LARGE] * 2] * len(_SYNTAXES)
    assert max(cost.seconds for cost in costs) < 5
    assert sum(cost.more for cost in costs) < 32


def test_the_largest_claims_that_are_tried_stay_within_a_gibibyte(
    make: Make, as_file: AsFile, tmp_path: Path
) -> None:
    kinds = [kind for kind in _SYNTAXES if kind != "native"]
    bombs = [_file(make, as_file, kind, _ALLOWED) for kind in kinds]
    costs, codec = _costs(tmp_path, as_file(make(_PICTURE)), bombs)
    for kind, cost in zip(kinds, costs, strict=True):
        assert cost.found[0] == "read", kind  # nothing is wrong with the header
        assert cost.seconds < 60, kind
    assert sum(cost.more for cost in costs) < 700
    assert 10 < codec < 1024


def test_what_unfolds_when_it_is_read_is_bounded(
    make: Make, as_file: AsFile, tmp_path: Path
) -> None:
    good = as_file(make(_PICTURE))
    (deflated, items), _ = _costs(tmp_path, good, [_deflated(good), _many_items(good)])
    assert deflated.found == [untrusted.TOO_LARGE] * 2
    assert items.found == ["read", "read"]
    assert max(deflated.seconds, items.seconds) < 60
    assert max(deflated.more, items.more) < 256


def _many(count: int) -> bytes:
    """Return empty private elements, of which each is an object when it is parsed."""
    tags = ((0x11 + 2 * (at >> 16), at & 0xFFFF) for at in range(count))
    return b"".join(struct.pack("<HH2sH", *tag, b"LO", 0) for tag in tags)


def _with(good: bytes, elements: bytes) -> bytes:
    at = good.index(b"\x28\x00\x02\x00")
    return good[:at] + elements + good[at:]


def _sequence(tag: bytes, item: bytes, *, measured: bool = True) -> bytes:
    """Return a sequence of one item, with its length or without."""
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
    if measured:
        return tag + b"SQ\0\0" + struct.pack("<I", len(item)) + item
    return tag + b"SQ\0\0" + b"\xff" * 4 + item + b"\xfe\xff\xdd\xe0" + bytes(4)


_SOURCES, _GROUPS, _MEASURES = b"\x08\x00\x12\x21", b"\x00\x52\x30\x92", b"\x28\x00\x10\x91"


def test_a_header_of_too_many_elements_is_refused(
    make: Make, as_file: AsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MAX_ELEMENTS", 70_000)
    many = _many(80_000)
    inner = _sequence(_MEASURES, many)
    good = as_file(make(_PICTURE))
    for elements in (
        many,
        _sequence(_SOURCES, many, measured=False),
        _sequence(_GROUPS, many),
        _sequence(_GROUPS, inner),
        _sequence(_GROUPS, inner, measured=False),
        _GROUPS + b"SQ\0\0" + struct.pack("<I", 640_000) + b"\xfe\xff\x00\xe0\0\0\0\0" * 80_000,
    ):
        for bomb in (_with(good, elements), _repacked(_with(good, elements))):
            with pytest.raises(Untrusted) as caught:
                parse(bomb)
            assert caught.value.reason == untrusted.TOO_LARGE


def test_a_header_of_too_many_bytes_is_refused(
    make: Make, as_file: AsFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded, "MAX_HEADER", 2**20)
    blob = b"\x29\x00\x10\x10OB\0\0" + struct.pack("<I", 2**20) + bytes(2**20)
    good = as_file(make(_PICTURE))
    nested = _sequence(_SOURCES, blob * 2 + b"\x29\x00\x11\x10LO\0\0", measured=False)
    for elements in (blob, nested):
        with pytest.raises(Untrusted, match=untrusted.TOO_LARGE):
            parse(_with(good, elements))
    large = make(np.zeros((1024, 1024), np.uint16))
    assert parse(as_file(large)).claimed.rows == 1024
    # What a cut file claims is not there.
    with pytest.raises(Untrusted, match=untrusted.TRUNCATED):
        parse(good[: good.index(b"\x28\x00\x02\x00")] + blob[:100])


def test_thousands_of_frames_have_groups_of_their_own(make: Make, as_file: AsFile) -> None:
    frames = 2000
    private = b"".join(struct.pack("<HH2sHI", 0x29, at, b"UL", 4, at) for at in range(80))
    inner = _sequence(_MEASURES, b"\x18\x00\x50\x00DS\x02\x001 ", measured=False)
    item = inner + private
    item = b"\xfe\xff\x00\xe0" + struct.pack("<I", len(item)) + item
    made = make(np.zeros((1, 1), np.uint8), NumberOfFrames=frames, PixelData=bytes(frames))
    data = as_file(made)
    at = data.rindex(b"\xe0\x7f\x10\x00")
    groups = _GROUPS + b"SQ\0\0" + struct.pack("<I", frames * len(item)) + item * frames
    header = headers.header(parse(data[:at] + groups + data[at:]))
    assert [own["SliceThickness"] for own in header.own] == [1.0] * frames


def _repacked(explicit: bytes) -> bytes:
    """Return a file, deflated."""
    start = explicit.index(b"\x08\x00\x16\x00")
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflater.compress(explicit[start:]) + deflater.flush()
    uid = DeflatedExplicitVRLittleEndian.encode()
    meta = explicit[132:start].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x00" + uid)
    return explicit[:132] + meta + body


def _deflated(good: bytes) -> bytes:
    """Return a file of a megabyte that would inflate to a gibibyte."""
    start = good.index(b"\x08\x00\x16\x00")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(deflater.compress(bytes(2**20)) for _ in range(1024)) + deflater.flush()
    uid = DeflatedExplicitVRLittleEndian.encode()
    meta = good[132:start].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x00" + uid)
    return good[:132] + meta + body


def _many_items(good: bytes) -> bytes:
    """Return a file with a sequence of a hundred thousand empty items, each an object."""
    at = good.index(b"\x28\x00\x02\x00")
    items = b"\xfe\xff\x00\xe0\0\0\0\0" * 100_000
    return good[:at] + b"\x08\x00\x15\x11SQ\0\0" + struct.pack("<I", len(items)) + items + good[at:]
