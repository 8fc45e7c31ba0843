from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    UID,
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from client_app.dicom import files, headers
from client_app.dicom.headers import Header
from client_app.dicom.images import Images
from client_app.dicom.parsed import parse
from client_app.dicom.reading import Reading
from client_app.dicom.untrusted import (
    EMPTY,
    INCONSISTENT,
    NOT_DICOM,
    NOT_IMAGE,
    SHORT,
    TOO_LARGE,
    TRUNCATED,
    UNKNOWN_SYNTAX,
    Untrusted,
)
from client_app.readers.dicom import dicom
from fedmend.errors import RunError
from tests.dicom_files import encoded, pixels, uid

_SYNTAXES = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)


def read(data: bytes) -> Header:
    return headers.header(parse(data))


def test_a_header_says_who_what_and_how() -> None:
    data = encoded(
        3, KVP="120.5", Exposure="7", PixelSpacing=["0.5", "0.25"], SliceThickness="",
        Manufacturer=" Maker & Sons ", ConvolutionKernel="B30f", ViewPosition=None,
    )  # fmt: skip
    header = read(data)
    assert (header.patient, header.instance) == ("P3", uid("instance 3"))
    assert (header.series, header.study) == (uid("series 3"), uid("study 3"))
    assert header.frames == 1
    assert header.facts == {
        "Modality": "CT", "Manufacturer": "Maker & Sons", "ConvolutionKernel": "B30f",
        "PhotometricInterpretation": "MONOCHROME2", "KVP": 120.5, "Exposure": 7.0, "Rows": 8.0,
        "Columns": 6.0, "BitsStored": 12.0, "PixelSpacingRow": 0.5, "PixelSpacingColumn": 0.25,
        "NumberOfFrames": 1.0, "TransferSyntaxUID": "1.2.840.10008.1.2.1",
        "StudyInstanceUID": uid("study 3"),
    }  # fmt: skip


def test_enhanced_files_keep_their_spacing_in_functional_groups() -> None:
    measures, group = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [2, 3], 4
    group.PixelMeasuresSequence = Sequence([measures])
    data = encoded(1, shape=(2, 8, 6), SharedFunctionalGroupsSequence=Sequence([group]))
    facts = read(data).facts
    spacing = facts["PixelSpacingRow"], facts["PixelSpacingColumn"], facts["SliceThickness"]
    assert spacing == (2.0, 3.0, 4.0)


def _item(**elements: Any) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _groups(exposure: float, **more: Any) -> Dataset:
    """Return functional groups of CT."""
    current = _item(
        ExposureInmAs=exposure, ExposureTimeInms=500.0, XRayTubeCurrentInmA=2 * exposure
    )
    return _item(
        PixelMeasuresSequence=Sequence([_item(SliceThickness=1.25, PixelSpacing=[0.5, 0.25])]),
        CTXRayDetailsSequence=Sequence([_item(KVP=100)]),
        CTExposureSequence=Sequence([current]),
        CTReconstructionSequence=Sequence([_item(ConvolutionKernel="B30f")]),
        **more,
    )


_FACTS = {
    "SliceThickness": 1.25, "PixelSpacingRow": 0.5, "PixelSpacingColumn": 0.25, "KVP": 100.0,
    "Exposure": 50.0, "ExposureTime": 500.0, "XRayTubeCurrent": 100.0, "ConvolutionKernel": "B30f",
}  # fmt: skip


def _enhanced(**sequences: list[Dataset]) -> bytes:
    made: dict[str, Any] = {
        f"{name}FunctionalGroupsSequence": Sequence(each) for name, each in sequences.items()
    }
    return encoded(1, shape=(2, 8, 6), KVP=None, **made)


def test_enhanced_files_keep_their_acquisition_in_functional_groups() -> None:
    header = read(_enhanced(Shared=[_groups(50)], PerFrame=[_item(), _item()]))
    assert _FACTS.items() <= header.facts.items()
    assert header.own == ()


def test_frames_have_an_acquisition_of_their_own(tmp_path: Path) -> None:
    data = _enhanced(Shared=[_item()], PerFrame=[_groups(50), _groups(60)])
    header = read(data)
    assert not set(_FACTS) & set(header.facts)
    assert [dict(own) for own in header.own] == [
        _FACTS, _FACTS | {"Exposure": 60.0, "XRayTubeCurrent": 120.0},
    ]  # fmt: skip
    (tmp_path / "a").write_bytes(data)
    records = dicom(path=tmp_path).index().records
    assert [record.facts["Exposure"] for record in records] == [50.0, 60.0]
    assert [record.facts["Manufacturer"] for record in records] == ["Maker"] * 2


@pytest.mark.parametrize(
    "groups",
    [
        [],  # fewer than frames
        [_item(CTExposureSequence=Sequence([]))],
        [_item(CTExposureSequence=Sequence([_item(ExposureInmAs=None)]))],
    ],
)
def test_groups_that_say_nothing_leave_facts_out(groups: list[Dataset]) -> None:
    header = read(_enhanced(PerFrame=groups))
    assert header.own == ()
    assert "Exposure" not in header.facts


def test_a_broken_fact_is_absent() -> None:
    data = encoded(1, KVP="120").replace(b"120 ", b"12x ")
    assert "KVP" not in read(data).facts


def test_the_same_pixels_have_the_same_hash_in_another_container() -> None:
    plain = read(encoded(1))
    assert plain.pixels == read(encoded(1, syntax=ImplicitVRLittleEndian)).pixels
    assert plain.pixels == read(encoded(1, syntax=DeflatedExplicitVRLittleEndian)).pixels
    assert plain.pixels == read(encoded(1, PatientID="other", SOPInstanceUID="1.2.3")).pixels
    assert plain.pixels == read(encoded(1) + b"\0" * 50).pixels


@pytest.mark.parametrize(
    "change",
    [{"PhotometricInterpretation": "MONOCHROME1"}, {"shape": (6, 8)}, {"BitsStored": 16,
     "HighBit": 15}, {"PixelRepresentation": 1}],
)  # fmt: skip
def test_the_same_bytes_read_otherwise_are_other_pixels(change: dict[str, Any]) -> None:
    data = pixels(1).tobytes()
    assert read(encoded(1, **change, PixelData=data)).pixels != read(encoded(1)).pixels


def test_a_very_long_header_is_read_too() -> None:
    long = read(encoded(1, TextValue="x" * 500_000))
    short = read(encoded(1))
    assert (long.pixels, long.facts, long.instance) == (short.pixels, short.facts, short.instance)


def test_the_last_of_many_pixels_counts() -> None:
    large = np.zeros((700, 700), np.uint16)
    one = read(encoded(1, shape=(700, 700), PixelData=large.tobytes()))
    large[-1, -1] = 1
    other = read(encoded(1, shape=(700, 700), PixelData=large.tobytes()))
    assert one.pixels != other.pixels


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"x" * 300, NOT_DICOM),
        (encoded(1)[:-10], TRUNCATED),
        (encoded(1, Rows=80), SHORT),
        (encoded(1, PixelData=None), "no pixel data"),
        (encoded(1, PixelData=None, Rows=None), "no pixel data"),
        (encoded(1, PixelData=None, Rows=None, SOPClassUID=BasicTextSRStorage), NOT_IMAGE),
        (encoded(1, BitsStored=None), INCONSISTENT),
        (encoded(1, Rows=60000, Columns=60000), TOO_LARGE),
        (encoded(1, shape=(1, 8, 6), NumberOfFrames=70000), TOO_LARGE),
        (encoded(1)[:132], EMPTY),
        (encoded(1).replace(b"1.2.840.10008.1.2.1\0", b"1.2.840.10008.1.2.9\0"), UNKNOWN_SYNTAX),
    ],
)
def test_what_cannot_be_trusted_is_refused_with_a_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Untrusted) as caught:
        read(data)
    assert caught.value.reason == reason


def test_a_deflated_bomb_is_inflated_only_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_INFLATED", 1000)
    data = encoded(
        1, syntax=DeflatedExplicitVRLittleEndian, shape=(64, 64), PixelData=b"\0" * 64 * 64 * 2
    )
    with pytest.raises(Untrusted) as caught:
        read(data)
    assert caught.value.reason == TOO_LARGE


def _reading(folder: Path) -> Reading:
    images = dicom(path=folder)
    assert isinstance(images, Images)
    return Reading(images, None)


def test_a_failing_disk_is_not_the_files_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_bytes(encoded(1))

    def failing(*_: int) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(RunError, match="input/output error"):
        _reading(tmp_path)("a")


def test_of_what_is_no_dicom_file_only_the_beginning_is_read(tmp_path: Path) -> None:
    for name, reason in (("empty", EMPTY), ("large", NOT_DICOM)):
        (tmp_path / name).touch()
        if name == "large":
            os.truncate(tmp_path / name, 2**31)
        found = _reading(tmp_path)(name).header
        assert isinstance(found, Untrusted)
        assert found.reason == reason


@given(st.integers(0, 2**31), st.binary(min_size=1, max_size=4), st.sampled_from(_SYNTAXES))
def test_every_byte_of_a_file_counts_for_its_hash(at: int, other: bytes, syntax: UID) -> None:
    data = encoded(7, syntax=syntax)
    start = at % len(data)
    changed = data[:start] + other + data[start + len(other) :]
    try:
        same = read(changed).digest == read(data).digest
    except Untrusted:
        return
    assert same == (changed == data)


GOOD = encoded(7)


@given(st.integers(0, len(GOOD) - 1), st.binary(min_size=1, max_size=8))
def test_any_bytes_are_a_header_or_refused(at: int, change: bytes) -> None:
    data = GOOD[:at] + change + GOOD[at + len(change) :]
    try:
        header = read(data)
    except Untrusted:  # nothing else may be raised
        return
    assert len(header.digest) == len(header.pixels) == 64
    assert header.frames >= 1


def test_a_header_that_misnames_its_encoding_is_read_as_its_pixels_are() -> None:
    explicit = encoded(1)
    named = b"1.2.840.10008.1.2.1\0"
    wrong = explicit.replace(named, b"1.2.840.10008.1.2\0\0\0", 1)
    assert wrong != explicit
    files.read(wrong)
    assert read(wrong).facts["Rows"] == read(explicit).facts["Rows"]


def test_elements_after_the_pixels_count() -> None:
    """The order of elements is the standard's, and not every writer's."""
    dataset = files.read(encoded(1))
    late = io.BytesIO()
    del dataset.SamplesPerPixel
    dataset.save_as(late)
    tail = b"\x28\x00\x02\x00US\x02\x00\x01\x00"
    assert read(late.getvalue() + tail).frames == 1
