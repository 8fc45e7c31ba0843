from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    BasicTextSRStorage,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    MediaStorageDirectoryStorage,
    RLELossless,
)

from client_app.synth import tree
from client_app.synth.acquisition import scanner
from client_app.synth.markers import BIRTH_DATE, MARKER, MARKERS, STUDY_DATE
from client_app.synth.order import Order
from client_app.synth.pictures import Pictures
from fedmend.errors import DataError, UserError
from tests.client_app.synth.standard import IODS, faults
from tests.client_app.synth.test_grey import shown
from tests.validator import errors, needs_validator, plain

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of bytes of compressed pixel data matches"  # as luck will have it
)

SITES, IMAGES, BROKEN = 6, 9, 8
ORDER = Order(sites=SITES, images=IMAGES, size=36, noise="gaussian(std=0.3)", broken=BROKEN)
BROKEN_KINDS = (
    "empty", "truncated", "text", "report", "oversized", "duplicate", "directory", "empty",
)  # fmt: skip

IDENTIFYING = (
    "AccessionNumber", "AdditionalPatientHistory", "AdmissionID",
    "CommentsOnThePerformedProcedureStep", "DeviceSerialNumber", "ImageComments",
    "InstitutionAddress", "InstitutionName", "InstitutionalDepartmentName",
    "NameOfPhysiciansReadingStudy", "Occupation", "OperatorsName", "OtherPatientNames",
    "PatientComments", "PatientID", "PatientName", "PerformedProcedureStepDescription",
    "PerformingPhysicianName", "PhysiciansOfRecord", "ProtocolName", "ReferringPhysicianName",
    "RequestingService", "SeriesDescription", "StationName", "StudyDescription", "StudyID",
)  # fmt: skip
"""Of PS3.15 table E.1-1, what every file of the layout has."""


def hashes(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "sites"
    tree.write(ORDER, root, lambda: None)
    return root


@pytest.fixture(scope="module")
def images(written: Path) -> list[list[Dataset]]:
    """Return the good images of each site, in the order of its table."""
    return [
        [pydicom.dcmread(site / row["path"]) for row in rows(site / "labels.csv")]
        for site in (written / f"site-{number}" for number in range(SITES))
    ]


def test_every_file_is_valid(images: list[list[Dataset]]) -> None:
    assert {image.SOPClassUID for site in images for image in site} <= set(IODS)
    for site in images:
        for image in site:
            assert faults(image) == []


@needs_validator
def test_a_validator_finds_no_error(images: list[list[Dataset]], tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    for image in (site[0] for site in images):
        path.write_bytes(plain(_bytes(image)))
        found = errors(path)
        assert not {line for line in found if "(0x0008,0x001c)" not in line}  # newer than it is


def test_the_checks_find_what_is_wrong(images: list[list[Dataset]]) -> None:
    spoiled = pydicom.dcmread(io.BytesIO(_bytes(images[0][0])))
    del spoiled.PatientID, spoiled.DetectorType
    spoiled.ImageType = None
    spoiled.SliceThickness = 1
    spoiled.PresentationLUTShape = "INVERSE"
    spoiled.AnatomicRegionSequence[0].CodeMeaning = None
    assert sorted(faults(spoiled)) == [
        "CodeMeaning is empty",
        "DetectorType lacks",
        "ImageType is empty",
        "PatientID lacks",
        "SliceThickness is in no module",
        "shape of the presentation LUT is wrong",
    ]


def _bytes(image: Dataset) -> bytes:
    file = io.BytesIO()
    image.save_as(file)
    return file.getvalue()


@pytest.mark.parametrize("number", range(SITES))
def test_stored_values_and_pictures_come_back(images: list[list[Dataset]], number: int) -> None:
    grey = scanner(number).grey
    pictures = Pictures(ORDER, number, count=IMAGES, classes=tree.CLASSES)
    for at, (image, record) in enumerate(zip(images[number], pictures.records, strict=True)):
        picture, _ = pictures.draw(record, at)
        stored = image.pixel_array
        np.testing.assert_array_equal(stored, grey.stored(picture))
        assert stored.dtype == grey.stored(picture).dtype
        back = shown(stored.astype(np.float64), grey)
        assert np.abs(back - picture).max() <= grey.step / 2 + 1e-6


def test_the_header_says_how_to_show_the_pixels(images: list[list[Dataset]]) -> None:
    for number, site in enumerate(images):
        grey = scanner(number).grey
        for image in site:
            assert image.PhotometricInterpretation == grey.photometric
            assert float(image.get("RescaleSlope", 1)) == grey.slope
            assert float(image.get("RescaleIntercept", 0)) == grey.intercept
            centres, widths = image.get("WindowCenter", []), image.get("WindowWidth", [])
            pairs = np.column_stack([np.atleast_1d(centres), np.atleast_1d(widths)]).tolist()
            assert [tuple(pair) for pair in pairs] == grey.windows()


def test_same_seed_same_bytes(written: Path, tmp_path: Path) -> None:
    tree.write(ORDER, tmp_path / "again", lambda: None)
    assert hashes(tmp_path / "again") == hashes(written)


def test_another_seed_is_another_tree(tmp_path: Path) -> None:
    for seed in (0, 1):
        tree.write(Order(sites=1, images=3, size=36, seed=seed), tmp_path / str(seed), lambda: None)
    labels = [rows(tmp_path / str(seed) / "site-0" / "labels.csv") for seed in (0, 1)]
    uids = [{row["SOPInstanceUID"] for row in table} for table in labels]
    assert not uids[0] & uids[1]


def test_hospitals_differ(images: list[list[Dataset]]) -> None:
    first = [site[0] for site in images[:3]]
    for keyword in ("Manufacturer", "ManufacturerModelName", "ImagerPixelSpacing", "KVP"):
        assert len({str(image[keyword].value) for image in first}) == 3, keyword
    assert {image.BitsStored for image in first} == {12, 16}
    assert [image.PhotometricInterpretation for image in first].count("MONOCHROME1") == 1
    assert {image.file_meta.TransferSyntaxUID for site in images[:3] for image in site} == {
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
        DeflatedExplicitVRLittleEndian,
        RLELossless,
        JPEG2000Lossless,
    }
    assert {image.BitsStored for site in images for image in site} == {8, 12, 14, 16}
    assert {image.PixelRepresentation for site in images for image in site} == {0, 1}
    assert {image.BurnedInAnnotation for site in images for image in site} == {"YES", "NO"}
    assert {image.get("ViewPosition") for site in images for image in site} == {"PA", "AP", None}
    shapes = Counter((image.Rows, image.Columns) for image in images[0])
    assert shapes == {(36, 36): 7, (32, 36): 2}


def test_the_label_table_fits_the_files(written: Path, images: list[list[Dataset]]) -> None:
    uids = set()
    for number, site in enumerate(images):
        table = rows(written / f"site-{number}" / "labels.csv")
        assert tuple(table[0]) == tree.COLUMNS
        assert [row["SOPInstanceUID"] for row in table] == [image.SOPInstanceUID for image in site]
        assert [row["patient"] for row in table] == [image.PatientID for image in site]
        assert {row["label"] for row in table} == {"normal", "nodule", "consolidation"}
        assert {row["split"] for row in table} == {""}
        uids |= {row["SOPInstanceUID"] for row in table}
    assert len(uids) == SITES * IMAGES
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_images_lie_as_an_archive_exports_them(written: Path, images: list[list[Dataset]]) -> None:
    """A folder is a patient, in it a study, in it a series; some patients come back."""
    folders: dict[Path, set[tuple[str, str, str]]] = {}
    for number, site in enumerate(images):
        for row, image in zip(rows(written / f"site-{number}" / "labels.csv"), site, strict=True):
            path = Path(row["path"])
            assert path.parts[:2] == ("images", image.PatientID)
            assert path.suffix == (".dcm" if number in (1, 3) else "")
            ids = (image.PatientID, image.StudyInstanceUID, image.SeriesInstanceUID)
            folders.setdefault(written / f"site-{number}" / path.parent, set()).add(ids)
    assert all(len(ids) == 1 for ids in folders.values())
    series = [next(iter(ids)) for ids in folders.values()]
    assert len(set(series)) == len(series) < SITES * IMAGES
    assert len({study for _, study, _ in series}) > len({patient for patient, _, _ in series})


def test_the_ordered_share_is_noisy(written: Path) -> None:
    clean = Pictures(
        Order(sites=SITES, images=IMAGES, size=36), 0, count=IMAGES, classes=tree.CLASSES
    )
    noisy = Pictures(ORDER, 0, count=IMAGES, classes=tree.CLASSES)
    for at, row in enumerate(rows(written / "site-0" / "labels.csv")):
        before, touched = clean.draw(clean.records[at], at)
        assert not touched
        after, _ = noisy.draw(noisy.records[at], at)
        assert float(np.abs(after - before).mean() > 0.1) == int(row["noisy"])
    for number in range(SITES):
        table = rows(written / f"site-{number}" / "labels.csv")
        assert sum(int(row["noisy"]) for row in table) == round(IMAGES * ORDER.noise_share)


def test_whatever_identifies_is_marked(images: list[list[Dataset]]) -> None:
    for site in images:
        for image in site:
            for keyword in IDENTIFYING:
                assert MARKER in str(image[keyword].value), keyword
            for element in image.iterall():
                if element.VR == "PN" or element.tag.is_private:
                    assert MARKER in str(element.value), element.tag
                if element.VR == "DA":
                    assert element.value in (BIRTH_DATE, STUDY_DATE), element.tag
    assert {MARKER, BIRTH_DATE, STUDY_DATE} == set(MARKERS)


def test_names_are_written_in_the_files_character_set(images: list[list[Dataset]]) -> None:
    assert {site[0].SpecificCharacterSet for site in images} == {"ISO_IR 100", "ISO_IR 192"}
    names = {str(image.PatientName) for site in images for image in site}
    assert any("Jürgen" in name for name in names)


@pytest.fixture(scope="module")
def spoiled(written: Path) -> dict[str, Path]:
    """Return the broken files of the first site by kind."""
    table = rows(written / "broken.csv")
    assert [row["kind"] for row in table] == list(BROKEN_KINDS) * SITES
    assert all((written / row["path"]).is_file() for row in table)
    return {row["kind"]: written / row["path"] for row in table[:BROKEN]}


def test_every_broken_file_is_in_the_table_and_every_other_in_the_labels(written: Path) -> None:
    for number in range(SITES):
        site = written / f"site-{number}"
        found = {path for path in (site / "images").rglob("*") if path.is_file()}
        good = {site / row["path"] for row in rows(site / "labels.csv")}
        bad = {written / row["path"] for row in rows(written / "broken.csv")}
        assert found - bad == good
        assert len(found) == IMAGES + BROKEN


def test_broken_files_are_broken_as_the_table_says(spoiled: dict[str, Path], written: Path) -> None:
    assert spoiled["empty"].read_bytes() == b""
    with pytest.raises(InvalidDicomError):
        pydicom.dcmread(spoiled["text"])
    cut = pydicom.dcmread(spoiled["truncated"])
    assert len(cut.PixelData) < cut.Rows * cut.Columns * cut.BitsAllocated // 8
    report = pydicom.dcmread(spoiled["report"])
    assert report.SOPClassUID == BasicTextSRStorage
    assert "PixelData" not in report
    huge = pydicom.dcmread(spoiled["oversized"])
    assert (huge.Rows, huge.Columns) == (60000, 60000)
    assert spoiled["oversized"].stat().st_size < 100_000
    copy = spoiled["duplicate"].read_bytes()
    same = [path for path in written.rglob("IM0*") if path.read_bytes() == copy]
    assert len(same) == 1


def test_the_directory_points_at_its_record(spoiled: dict[str, Path]) -> None:
    directory = pydicom.dcmread(spoiled["directory"])
    assert directory.file_meta.MediaStorageSOPClassUID == MediaStorageDirectoryStorage
    first = directory.OffsetOfTheFirstDirectoryRecordOfTheRootDirectoryEntity
    assert spoiled["directory"].read_bytes()[first : first + 4] == b"\xfe\xff\x00\xe0"
    assert MARKER in directory.DirectoryRecordSequence[0].PatientID


def test_each_image_is_told(tmp_path: Path) -> None:
    told: list[None] = []
    tree.write(Order(sites=2, images=3, size=36), tmp_path / "a", lambda: told.append(None))
    assert len(told) == 6
    assert not (tmp_path / "a" / "broken.csv").exists()


def test_one_image_is_enough(tmp_path: Path) -> None:
    tree.write(Order(sites=1, images=1, size=36, broken=2), tmp_path / "a", lambda: None)
    assert len(rows(tmp_path / "a" / "site-0" / "labels.csv")) == 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sites": 0}, "sites must be from 1 to 10000; got 0"),
        ({"images": 0}, "images must be"),
        ({"size": 35}, "size must be"),
        ({"seed": -1}, "seed must be"),
        ({"noise_share": 1.5}, "noise-share must be from 0 to 1; got 1.5"),
        ({"broken": -1}, "broken must be"),
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        Order(**wrong)


def test_a_wrong_noise_is_refused_before_anything_is_written() -> None:
    with pytest.raises(UserError, match="noise: noise 'nois' does not exist"):
        Order(noise="nois()")


@pytest.mark.parametrize(
    ("noise", "share", "corrupts"),
    [("none", 1, False), ("none()|none()", 1, False), ("gaussian()", 0, False),
     ("none()|gaussian()", 0.1, True)],
)  # fmt: skip
def test_an_order_knows_whether_it_corrupts(noise: str, share: float, corrupts: bool) -> None:
    assert Order(noise=noise, noise_share=share).corrupts is corrupts


def test_a_full_folder_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()
    with pytest.raises(DataError, match="not empty"):
        tree.write(Order(sites=1, images=1, size=36), tmp_path, lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]
