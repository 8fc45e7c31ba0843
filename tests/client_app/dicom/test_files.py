from __future__ import annotations

import pickle
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from pydicom import Dataset, Sequence
from pydicom.data import get_testdata_file
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit

from client_app.dicom import untrusted
from client_app.dicom.files import looks_like_dicom, read
from client_app.dicom.stored import stored
from client_app.dicom.untrusted import Untrusted

AsFile = Callable[[Dataset], bytes]
Make = Callable[..., Dataset]
_PIXELS = np.arange(64, dtype=np.uint16).reshape(8, 8)


def _bundled(name: str) -> bytes:
    with open(str(get_testdata_file(name)), "rb") as file:  # noqa: PTH123
        return file.read()


@pytest.mark.parametrize("cut", [0, 128])
def test_a_file_is_read_with_and_without_its_preamble(
    make: Make, as_file: AsFile, cut: int
) -> None:
    data = as_file(make(_PIXELS))
    data = data[132:] if cut else data
    assert looks_like_dicom(data[:132])
    assert np.array_equal(stored(read(data)), _PIXELS)


@pytest.mark.parametrize("name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm"])
def test_a_data_set_without_meta_information_looks_like_one(name: str) -> None:
    assert looks_like_dicom(_bundled(name)[:132])


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_without_meta_information_nobody_says_how_pixels_are_stored(
    make: Make, as_file: AsFile, syntax: str
) -> None:
    data = as_file(make(_PIXELS, syntax))
    with pytest.raises(Untrusted, match=untrusted.UNKNOWN_SYNTAX) as caught:
        read(data[data.index(b"\x08\x00\x16\x00") :])
    assert caught.value.local == "no transfer syntax is given"


@pytest.mark.parametrize(
    ("tail", "reason"),
    [
        (b"", None),
        (bytes(1000), None),
        (b"\n", None),
        (b"\xfc\xff\xfc\xffOB\0\0\x08\0\0\0" + bytes(8), None),  # as the standard pads
        (b"\xff" * 1000, untrusted.TRAILING),  # an element of undefined length, without end
        (b"\x09\x00\x01\x00OB\0\0\xff\xff\0\0" + bytes(8), untrusted.TRAILING),
    ],
)
def test_what_follows_the_pixels_must_be_elements_or_nothing(
    make: Make, as_file: AsFile, tail: bytes, reason: str | None
) -> None:
    data = as_file(make(_PIXELS)) + tail
    if reason is None:
        assert np.array_equal(stored(read(data)), _PIXELS)
    else:
        with pytest.raises(Untrusted, match=reason):
            read(data)


def test_an_end_that_comes_too_early_is_no_empty_data_set(make: Make, as_file: AsFile) -> None:
    data = as_file(make(_PIXELS))
    at = data.rindex(b"\xe0\x7f\x10\x00")
    endless = data[: at + 8] + b"\xff" * 4 + data[at + 12 :]
    with pytest.raises(Untrusted, match=untrusted.TRUNCATED):
        read(endless)


@pytest.mark.parametrize("stray", [b"\xfe\xff\xdd\xe0", b"\xfe\xff\x00\xe0"])
def test_a_delimiter_left_over_does_no_harm(make: Make, as_file: AsFile, stray: bytes) -> None:
    data = as_file(make(_PIXELS))
    at = data.index(b"\x28\x00\x10\x00")
    assert np.array_equal(stored(read(data[:at] + stray + bytes(4) + data[at:])), _PIXELS)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x08", b"\x89PNG\r\n\x1a\n" + bytes(200), b"image,label\na.png,1\n" * 20, bytes(400)],
)
def test_what_is_not_dicom_is_told_apart(data: bytes) -> None:
    assert not looks_like_dicom(data)
    with pytest.raises(Untrusted) as caught:
        read(data)
    assert caught.value.reason == untrusted.NOT_DICOM


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", untrusted.TRUNCATED),
        ("rtplan_truncated.dcm", untrusted.TRUNCATED),
        ("reportsi.dcm", untrusted.NOT_IMAGE),
        ("waveform_ecg.dcm", untrusted.NOT_IMAGE),
    ],
)
def test_pydicoms_own_broken_files_have_their_reasons(name: str, reason: str) -> None:
    with pytest.raises(Untrusted) as caught:
        read(_bundled(name))
    assert caught.value.reason == reason


def test_a_preamble_alone_is_an_empty_data_set() -> None:
    with pytest.raises(Untrusted, match=untrusted.EMPTY):
        read(bytes(128) + b"DICM")


def test_a_file_cut_anywhere_is_never_read_as_whole(make: Make, as_file: AsFile) -> None:
    data = as_file(make(_PIXELS))
    for size in range(0, len(data), 7):
        with pytest.raises(Untrusted):
            read(data[:size])


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_header_that_ends_within_an_element_is_truncated(
    make: Make, as_file: AsFile, syntax: str
) -> None:
    dataset = make(_PIXELS, syntax)
    dataset.OtherPatientIDsSequence = Sequence([Dataset()])
    dataset.RedPaletteColorLookupTableData = bytes(20)
    data = as_file(dataset)
    pixels = data.rindex(b"\xe0\x7f\x10\x00")
    found = {}
    for size in range(133, pixels + 8):
        with pytest.raises(Untrusted) as caught:
            read(data[:size])
        found[size] = caught.value.reason
    # Between two elements nothing tells the end from a header that somebody wrote without pixels.
    between = [size for size, reason in found.items() if reason != untrusted.TRUNCATED]
    assert len(between) <= 2 + len(dataset)
    assert {found[size] for size in between} == {untrusted.NO_PIXELS, untrusted.EMPTY}
    assert found[between[0]] == untrusted.EMPTY  # after the file meta information
    assert between[0] == data.index(b"\x08\x00\x16\x00")
    assert [found[size] for size in between].count(untrusted.EMPTY) == 1


def test_an_image_without_rows_and_pixels_is_one_nevertheless(make: Make, as_file: AsFile) -> None:
    data = as_file(make(_PIXELS))
    meta = data[: data.index(b"\x08\x00\x16\x00")]
    with pytest.raises(Untrusted, match=untrusted.NO_PIXELS):
        read(meta + b"\x08\x00\x05\x00CS\0\0")


def test_an_unknown_transfer_syntax_is_named_as_such(make: Make, as_file: AsFile) -> None:
    dataset = make(_PIXELS)
    data = as_file(dataset).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.9.1\0")
    with pytest.raises(Untrusted, match=untrusted.UNKNOWN_SYNTAX):
        read(data)


def test_native_pixels_that_are_called_jpeg_are_refused(make: Make, as_file: AsFile) -> None:
    data = as_file(make(_PIXELS))
    old = b"\x02\x00\x10\x00UI\x14\x001.2.840.10008.1.2.1\0"
    assert old in data
    jpeg = JPEGBaseline8Bit.encode()
    data = data.replace(old, b"\x02\x00\x10\x00UI" + len(jpeg).to_bytes(2, "little") + jpeg)
    with pytest.raises(Untrusted, match=untrusted.INCONSISTENT):
        read(data)


def test_a_bomb_is_not_inflated(make: Make, as_file: AsFile) -> None:
    data = as_file(make(_PIXELS))
    start = data.index(b"\x08\x00\x16\x00")
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = b"".join(deflater.compress(bytes(2**20)) for _ in range(300)) + deflater.flush()
    uid = b"1.2.840.10008.1.2.1.99"
    meta = data[132:start].replace(b"\x14\x001.2.840.10008.1.2.1\0", b"\x16\x00" + uid)
    with pytest.raises(Untrusted, match=untrusted.TOO_LARGE):
        read(data[:132] + meta + body)


def test_sequences_without_end_are_refused(make: Make, as_file: AsFile) -> None:
    item = b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    deep = (b"\x08\x00\x15\x11SQ\0\0\xff\xff\xff\xff" + item) * 3000
    with pytest.raises(Untrusted):
        read(as_file(make(_PIXELS))[:132] + deep)


def test_an_error_keeps_its_detail_between_processes() -> None:
    error = pickle.loads(pickle.dumps(Untrusted(untrusted.SHORT, local="(7FE0,0010)")))
    assert (error.reason, error.local) == (untrusted.SHORT, "(7FE0,0010)")
    with pytest.raises(TypeError, match="no reason"):
        Untrusted("patient Doe")


def test_icons_do_not_stand_in_for_the_picture(make: Make, as_file: AsFile) -> None:
    dataset = make(_PIXELS)
    dataset.IconImageSequence = Sequence([make(_PIXELS)])
    data = as_file(dataset)
    assert np.array_equal(stored(read(data)), _PIXELS)
    cut = data[: data.rindex(b"\xe0\x7f\x10\x00")]
    with pytest.raises(Untrusted, match=untrusted.NO_PIXELS):
        read(cut)
