from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    LegacyConvertedEnhancedMRImageStorage,
    MRImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from client_app.mending.derived import Made, derive, swapped
from fedmend import __version__

MADE = Made("ab" * 32, "detector residual(), scale both")


def source(**own: object) -> Dataset:
    made = Dataset()
    values = {
        "SOPClassUID": CTImageStorage, "SOPInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2",
        "StudyInstanceUID": "1.1", "FrameOfReferenceUID": "1.9", "PatientID": "P",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"], "BurnedInAnnotation": "YES",
        "ImagePositionPatient": [1, 2, 3], "ContentDate": "20200101", "SeriesNumber": 3,
        "SeriesDescription": "chest", "InstanceCreationDate": "20200101", "Rows": 2, "Columns": 4,
        "SamplesPerPixel": 1, "BitsStored": 8, "PixelData": b"12345678",
    }  # fmt: skip
    for keyword, value in (values | own).items():
        if value is not None:
            setattr(made, keyword, value)
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def derived(made: Dataset, digest: str = "d", how: Made = MADE) -> Dataset:
    derive(made, how, digest, [0])
    return made


def test_a_derived_image_says_what_it_comes_from_and_how() -> None:
    image = derived(source())
    assert image.ImageType == ["DERIVED", "PRIMARY", "AXIAL"]
    assert image.DerivationDescription == (
        f"Noise removed by fedmend {__version__}, imputer abababababababab, "
        "detector residual(), scale both"
    )
    (item,) = image.SourceImageSequence
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (CTImageStorage, "1.2.3")
    assert "ReferencedFrameNumber" not in item
    assert item.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (program,) = image.ContributingEquipmentSequence
    assert program.PurposeOfReferenceCodeSequence[0].CodeValue == "109102"
    assert image.SeriesDescription == "chest (mended)"
    assert image.SeriesNumber == 9003
    assert image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID


def test_patient_study_geometry_and_annotation_stay() -> None:
    image, before = derived(source()), source()
    for keyword in (
        "StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "BurnedInAnnotation",
        "ImagePositionPatient", "ContentDate", "SOPClassUID",
    ):  # fmt: skip
        assert image[keyword] == before[keyword]


def test_instances_and_series_are_new_and_follow_from_what_they_are_made_of() -> None:
    images = [
        derived(source()),
        derived(source(), digest="e"),
        derived(source(), how=Made("cd" * 32, MADE.how)),
        derived(source(SOPInstanceUID="1.2.4")),
    ]
    assert derived(source()).SOPInstanceUID == images[0].SOPInstanceUID
    assert len({image.SOPInstanceUID for image in images}) == 4
    # What was one series is one series again; another imputer makes another.
    assert len({image.SeriesInstanceUID for image in images}) == 2
    assert all(image.SOPInstanceUID.is_valid for image in images)


def test_what_was_true_of_the_source_alone_is_gone() -> None:
    icon = Sequence([Dataset()])
    image = derived(
        source(IconImageSequence=icon, DigitalSignaturesSequence=icon, MACParametersSequence=icon)
    )
    for keyword in ("IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence",
                    "InstanceCreationDate"):  # fmt: skip
        assert keyword not in image


def test_earlier_sources_and_equipment_stay_behind_and_before() -> None:
    earlier = Dataset()
    earlier.ReferencedSOPInstanceUID = "1.2.9"
    scanner = Dataset()
    scanner.Manufacturer = "Maker"
    image = derived(
        source(
            SourceImageSequence=Sequence([earlier]),
            ContributingEquipmentSequence=Sequence([scanner]),
        )
    )
    assert [item.ReferencedSOPInstanceUID for item in image.SourceImageSequence] == [
        "1.2.3",
        "1.2.9",
    ]
    assert [item.Manufacturer for item in image.ContributingEquipmentSequence] == [
        "Maker",
        "fedmend",
    ]


@pytest.mark.parametrize(("kind", "told"), [(["ORIGINAL"], "SECONDARY"), (None, "SECONDARY")])
def test_an_image_type_is_completed(kind: list[str] | None, told: str) -> None:
    assert derived(source(ImageType=kind)).ImageType == ["DERIVED", told]


def test_an_empty_third_value_stays() -> None:
    image = derived(source(ImageType=["ORIGINAL", "PRIMARY", ""]))
    assert image.ImageType == ["DERIVED", "PRIMARY", ""]


def test_a_reference_names_frames_where_it_is_not_about_all_of_them() -> None:
    many = {"NumberOfFrames": 3, "SOPClassUID": EnhancedCTImageStorage}
    some, every, wrong = source(**many), source(**many), source(NumberOfFrames=3)
    derive(wrong, MADE, "d", [0, 2])
    assert "ReferencedFrameNumber" not in wrong.SourceImageSequence[0]  # a class of one frame
    derive(some, MADE, "d", [0, 2])
    derive(every, MADE, "d", [0, 1, 2])
    assert some.SourceImageSequence[0].ReferencedFrameNumber == [1, 3]
    assert "ReferencedFrameNumber" not in every.SourceImageSequence[0]
    assert some.SOPInstanceUID != every.SOPInstanceUID


def test_the_source_is_listed_among_the_instances_of_its_series() -> None:
    image = derived(source())
    (series,) = image.ReferencedSeriesSequence
    (item,) = series.ReferencedInstanceSequence
    assert series.SeriesInstanceUID == "1.2"
    assert (item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID) == (CTImageStorage, "1.2.3")


@pytest.mark.parametrize(("series", "expected"), [("1.2", [2]), ("1.8", [1, 1])])
def test_what_was_referred_to_before_stays(series: str, expected: list[int]) -> None:
    item, known = Dataset(), Dataset()
    item.ReferencedSOPInstanceUID = "1.2.8"
    known.SeriesInstanceUID = series
    known.ReferencedInstanceSequence = Sequence([item])
    image = derived(source(ReferencedSeriesSequence=Sequence([known])))
    listed = image.ReferencedSeriesSequence
    assert [len(each.ReferencedInstanceSequence) for each in listed] == expected
    assert listed[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == "1.2.8"


def typed(value: str) -> Dataset:
    """Return a functional group with a frame type."""
    frame, group = Dataset(), Dataset()
    frame.FrameType = [value, "PRIMARY", "VOLUME", "NONE"]
    group.MRImageFrameTypeSequence = Sequence([frame])
    return group


def enhanced(sop_class: str, *, shared: str = "", own: tuple[str, ...] = ()) -> Dataset:
    groups = [typed(value) if value else Dataset() for value in own]
    return source(
        SOPClassUID=sop_class, NumberOfFrames=3, PulseSequenceName="SE", MRAcquisitionType="3D",
        SharedFunctionalGroupsSequence=Sequence([typed(shared) if shared else Dataset()]),
        PerFrameFunctionalGroupsSequence=Sequence(groups),
    )  # fmt: skip


def types(image: Dataset) -> tuple[str, list[str], list[str]]:
    """Return the first values of the image's type, the shared frame types and the frames' own."""
    shared, own = (
        [
            item.FrameType[0]
            for group in image[keyword].value
            for item in group.get("MRImageFrameTypeSequence", [])
        ]
        for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
    )
    return image.ImageType[0], shared, own


NEW, OLD = "DERIVED", "ORIGINAL"


def test_only_frames_that_were_mended_become_derived() -> None:
    image = enhanced(EnhancedMRImageStorage, own=(OLD, OLD, OLD))
    derive(image, MADE, "d", [1])
    assert types(image) == ("MIXED", [], [OLD, NEW, OLD])
    assert image.PulseSequenceName == "SE"  # as one frame is as acquired


@pytest.mark.parametrize(("kind", "told"), [(OLD, "MIXED"), ("MIXED", "MIXED"), (NEW, NEW)])
def test_an_image_without_frame_types_speaks_for_its_frames(kind: str, told: str) -> None:
    image = enhanced(EnhancedMRImageStorage, own=("", "", ""))
    image.ImageType = [kind, "PRIMARY", "T1", "NONE"]
    derive(image, MADE, "d", [1])
    assert image.ImageType == [told, "PRIMARY", "T1", "NONE"]
    assert ("PulseSequenceName" in image) == (told == "MIXED")


def test_a_frame_type_that_all_share_is_given_to_each() -> None:
    image = enhanced(EnhancedMRImageStorage, shared=OLD, own=("", "", ""))
    derive(image, MADE, "d", [0, 2])
    assert types(image) == ("MIXED", [], [NEW, OLD, NEW])
    assert image.PerFrameFunctionalGroupsSequence[1].MRImageFrameTypeSequence[0].FrameType == [
        OLD, "PRIMARY", "VOLUME", "NONE",
    ]  # fmt: skip


def test_an_image_all_of_whose_frames_are_derived_says_so_and_nothing_of_an_acquisition() -> None:
    images = [
        (enhanced(EnhancedMRImageStorage, shared=OLD, own=("", "", "")), [0, 1, 2]),
        (enhanced(EnhancedMRImageStorage, own=(OLD, NEW, OLD)), [0, 2]),
    ]
    for image, frames in images:
        derive(image, MADE, "d", frames)
        first, shared, own = types(image)
        assert (first, set(shared + own)) == (NEW, {NEW})
        assert "PulseSequenceName" not in image
        assert "MRAcquisitionType" not in image
    for other in (MRImageStorage, LegacyConvertedEnhancedMRImageStorage):
        plain = source(SOPClassUID=other, MRAcquisitionType="3D")
        assert derived(plain).MRAcquisitionType == "3D"


@pytest.mark.parametrize("own", [(), ("", "")])
def test_classes_and_files_that_know_no_mixture_are_derived_as_a_whole(
    own: tuple[str, ...],
) -> None:
    slide = enhanced(VLWholeSlideMicroscopyImageStorage, shared=OLD, own=own)
    odd = enhanced(EnhancedMRImageStorage, shared=OLD, own=own)
    for image in (slide, odd):
        derive(image, MADE, "d", [1])
        assert types(image) == (NEW, [NEW], [])


def test_texts_stay_within_what_the_standard_allows() -> None:
    image = derived(source(SeriesDescription="x" * 64), how=Made("ab" * 32, "y" * 3000))
    assert len(image.SeriesDescription) == 64
    assert len(image.DerivationDescription) == 1024


def test_loss_is_told_where_only_the_transfer_syntax_told_it() -> None:
    lossy = source(PixelData=b"1234")
    lossy.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    image = derived(lossy)
    assert image.LossyImageCompression == "01"
    assert image.LossyImageCompressionRatio == 2
    assert image.LossyImageCompressionMethod == "ISO_10918_1"
    told = source(LossyImageCompression="01", LossyImageCompressionRatio="9")
    assert derived(told).LossyImageCompressionRatio == 9
    assert "LossyImageCompression" not in derived(source())


def test_words_are_turned_wherever_they_stand() -> None:
    item = Dataset()
    item.add_new("LUTData", "OW", b"\1\2\3\4")
    image = source(VOILUTSequence=Sequence([item]), PatientName="ab")
    swapped(image)
    assert image.VOILUTSequence[0].LUTData == b"\2\1\4\3"
    assert image.PatientName == "ab"
