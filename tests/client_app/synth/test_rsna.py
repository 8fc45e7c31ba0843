from __future__ import annotations

from collections import Counter
from pathlib import Path

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless

from client_app.synth import rsna
from client_app.synth.markers import MARKER
from client_app.synth.order import Order
from tests.client_app.synth.standard import faults
from tests.client_app.synth.test_tree import hashes, rows

pytestmark = pytest.mark.filterwarnings(
    "ignore:The number of bytes of compressed pixel data matches"  # as luck will have it
)

SITES, IMAGES = 3, 22
ORDER = Order(sites=SITES, images=IMAGES, size=36, broken=2)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("synth") / "rsna"
    rsna.write(ORDER, root, lambda: None)
    return root


@pytest.fixture(scope="module")
def broken(written: Path) -> set[Path]:
    return {written / row["path"] for row in rows(written / "broken.csv")}


def _path(root: Path, part: str, row: dict[str, str]) -> Path:
    return root / f"{part}_images" / row["patient_id"] / f"{row['image_id']}.dcm"


@pytest.fixture(scope="module")
def images(written: Path, broken: set[Path]) -> list[tuple[dict[str, str], Dataset]]:
    return [
        (row, pydicom.dcmread(_path(written, part, row)))
        for part in ("train", "test")
        for row in rows(written / f"{part}.csv")
        if _path(written, part, row) not in broken
    ]


def test_the_columns_are_the_published_ones(written: Path) -> None:
    train = (written / "train.csv").read_text().partition("\n")[0]
    assert train == (
        "site_id,patient_id,image_id,laterality,view,age,cancer,biopsy,invasive,BIRADS,implant,"
        "density,machine_id,difficult_negative_case"
    )
    test = (written / "test.csv").read_text().partition("\n")[0]
    assert test == (
        "site_id,patient_id,image_id,laterality,view,age,implant,machine_id,prediction_id"
    )


def test_rows_and_files_are_the_same(written: Path) -> None:
    for part, number in (("train", SITES * (IMAGES + 2)), ("test", SITES * 4)):
        found = {path for path in (written / f"{part}_images").rglob("*") if path.is_file()}
        listed = {_path(written, part, row) for row in rows(written / f"{part}.csv")}
        assert found == listed
        assert len(listed) == number
    assert {path.name for path in written.iterdir()} == {
        "train.csv", "test.csv", "train_images", "test_images", "broken.csv",
    }  # fmt: skip


def test_every_file_is_valid_and_fits_its_row(images: list[tuple[dict[str, str], Dataset]]) -> None:
    for row, image in images:
        assert faults(image) == []
        assert image.PatientID == row["patient_id"]
        assert image.ImageLaterality == row["laterality"]
        assert image.ViewPosition == row["view"]
        assert image.PatientAge == f"{int(row['age']):03d}Y"
        assert image.BreastImplantPresent == ("YES" if row["implant"] == "1" else "NO")
        assert image.pixel_array.shape == (image.Rows, image.Columns)


def test_both_polarities_are_mixed(images: list[tuple[dict[str, str], Dataset]]) -> None:
    found = Counter(image.PhotometricInterpretation for _, image in images)
    assert set(found) == {"MONOCHROME1", "MONOCHROME2"}
    assert JPEG2000Lossless in {image.file_meta.TransferSyntaxUID for _, image in images}


def test_a_machine_stands_at_one_site(images: list[tuple[dict[str, str], Dataset]]) -> None:
    sites = {(row["machine_id"], row["site_id"]) for row, _ in images}
    machines = {machine for machine, _ in sites}
    assert {site for _, site in sites} == {"1", "2", "3"}
    assert len(sites) == len(machines) > SITES
    for machine in machines:
        models = {
            image.ManufacturerModelName for row, image in images if row["machine_id"] == machine
        }
        assert len(models) == 1


def test_a_cancer_is_in_one_breast_of_some_women(written: Path, broken: set[Path]) -> None:
    women: dict[str, dict[str, set[str]]] = {}
    for row in rows(written / "train.csv"):
        if _path(written, "train", row) not in broken:
            breasts = women.setdefault(row["patient_id"], {})
            breasts.setdefault(row["laterality"], set()).add(row["cancer"])
    assert all(len(said) == 1 for breasts in women.values() for said in breasts.values())
    ill = [sum("1" in said for said in breasts.values()) for breasts in women.values()]
    assert set(ill) == {0, 1}
    four_views = [len(breasts) == 2 for breasts in women.values()]
    assert sum(four_views) >= SITES * (IMAGES // 4)


def test_no_number_is_given_twice(written: Path) -> None:
    both = [*rows(written / "train.csv"), *rows(written / "test.csv")]
    assert len({row["image_id"] for row in both}) == len(both)
    sites = {(row["patient_id"], row["site_id"]) for row in both}
    assert len({patient for patient, _ in sites}) == len(sites)


def test_published_images_are_de_identified(images: list[tuple[dict[str, str], Dataset]]) -> None:
    for _, image in images:
        assert image.PatientIdentityRemoved == "YES"
        assert image.PatientName == ""
        assert MARKER not in str(image)


def test_same_seed_same_bytes(written: Path, tmp_path: Path) -> None:
    rsna.write(ORDER, tmp_path / "again", lambda: None)
    assert hashes(tmp_path / "again") == hashes(written)


@pytest.mark.parametrize("number", [1, 3, 4, 5])
def test_any_number_of_images_is_met(tmp_path: Path, number: int) -> None:
    told: list[None] = []
    order = Order(sites=1, images=number, size=36)
    rsna.write(order, tmp_path / "a", lambda: told.append(None))
    assert len(rows(tmp_path / "a" / "train.csv")) == len(told) == number
    assert len(rows(tmp_path / "a" / "test.csv")) == 4
