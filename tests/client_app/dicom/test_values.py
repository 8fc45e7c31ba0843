"""Values that are read quickly are what pydicom makes of them, whatever their bytes."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from client_app.dicom import values
from client_app.dicom.values import numbers, text
from tests.dicom_files import encoded

_KEYWORDS = ("Modality", "KVP", "NumberOfFrames", "Manufacturer", "StationName", "Rows",
             "StudyInstanceUID", "SmallestImagePixelValue", "PatientOrientation")  # fmt: skip
_LIKELY = st.lists(
    st.sampled_from([b"1", b"12.5", b"-3e2", b"_", b" ", b"\\", b"\0", b"A", b"nan", b"\x1b$B",
                     b"1e999", b"\xc3\xa9", b"\n", b"+4", b"L", b"1.2.840"])
).map(b"".join)  # fmt: skip


def _read(keyword: str, data: bytes, *, implicit: bool, little: bool) -> list[object]:
    tag = Tag(tag_for_keyword(keyword) or 0)
    vr = None if implicit else dictionary_VR(tag)[:2]
    dataset = Dataset({tag: RawDataElement(tag, vr, len(data), data, 0, implicit, little)})
    return [text(dataset, keyword), numbers(dataset, keyword)]


@given(st.sampled_from(_KEYWORDS), _LIKELY | st.binary(max_size=6), st.booleans(), st.booleans())
def test_a_value_is_what_pydicom_makes_of_it(
    keyword: str, data: bytes, implicit: bool, little: bool
) -> None:
    quickly = _read(keyword, data, implicit=implicit, little=little)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(values, "_plain", lambda *_: None)
        assert _read(keyword, data, implicit=implicit, little=little) == quickly


def test_most_of_a_header_is_read_without_pydicom(monkeypatch: pytest.MonkeyPatch) -> None:
    import pydicom

    dataset = pydicom.dcmread(io.BytesIO(encoded(1, PatientOrientation=["L", "F"])))
    monkeypatch.setattr(values, "value", lambda *_: pytest.fail("pydicom is asked"))
    assert text(dataset, "PatientOrientation") == "L\\F"
    assert text(dataset, "SOPInstanceUID").startswith("1.2.")
    assert text(dataset, "Laterality") == ""
    assert numbers(dataset, "Rows") == (8.0,)
    assert numbers(dataset, "WindowCenter") == (2048.0,)
