from __future__ import annotations

import errno
import sys
import time
import types
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client_app.cache import Cache
from client_app.readers import archive
from client_app.readers.medmnist import medmnist
from client_app.source import open_source
from fedmend.errors import DataError, RunError, SpecError
from fedmend.plugins import READERS
from fedmend.records import Reader, Rejected

COUNT = {"train": 6, "val": 2, "test": 3}

Arrays = dict[str, npt.NDArray[Any]]


def arrays(shape: tuple[int, ...] = (5, 4), seed: int = 0) -> Arrays:
    """Return a file's arrays: images of noise, labels 0, 1, 2, 0, … in each split."""
    rng = np.random.default_rng(seed)
    made: Arrays = {}
    for split, count in COUNT.items():
        made[f"{split}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        made[f"{split}_labels"] = (np.arange(count, dtype=np.uint8) % 3)[:, None]
    return made


def kept(folder: Path, made: Arrays, name: str = "data.npz", packed: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (np.savez_compressed if packed else np.savez)(folder / name, **made)  # type: ignore[arg-type]
    return folder / name


def read(folder: Path, made: Arrays, **parameters: Any) -> Reader:
    return medmnist(path=kept(folder, made), **parameters)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("shape", [(28, 28), (5, 4), (28, 28, 3)])
def test_images_labels_and_splits_are_the_files(
    tmp_path: Path, shape: tuple[int, ...], packed: bool
) -> None:
    made = arrays(shape)
    reader = medmnist(path=kept(tmp_path, made, packed=packed))
    index = reader.index()
    assert not index.rejected
    assert Counter(record.split for record in index.records) == COUNT
    uids = [record.uid for record in index.records]
    assert uids == sorted(set(uids))
    for record in index.records:
        row = int(record.facts["row"])
        assert record.label == str(made[f"{record.split}_labels"][row, 0])
        assert (record.group, record.noisy) == (record.uid, None)
        stored = made[f"{record.split}_images"][row]
        planes = stored[None] if stored.ndim == 2 else stored.transpose(2, 0, 1)
        image = reader.load(record)
        assert image.dtype == torch.float32
        assert torch.equal(image, torch.from_numpy(planes / np.float32(255)))


def test_what_is_unpacked_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = read(tmp_path, arrays())
    index = reader.index()
    opened: list[str] = []
    unpacked = archive.Archive.unpacked

    def counted(self: archive.Archive, name: str) -> npt.NDArray[np.generic]:
        opened.append(name)
        return unpacked(self, name)

    monkeypatch.setattr(archive.Archive, "unpacked", counted)
    other = medmnist(path=tmp_path / "data.npz")  # another process, say
    for _ in range(2):
        for record in index.records:
            other.load(record)
            reader.load(record)
    assert sorted(opened) == ["test_images", "train_images", "val_images"]


def test_thousands_of_images_take_no_longer_each(tmp_path: Path) -> None:
    made = arrays((28, 28))
    made["train_images"] = np.random.default_rng(1).integers(0, 256, (4000, 28, 28), dtype=np.uint8)
    made["train_labels"] = np.zeros((4000, 1), np.uint8)
    reader = read(tmp_path, made)
    started = time.perf_counter()
    source = open_source(Cache(tmp_path / "cache", 1 << 30), reader, size=28, channels=1)
    assert len(source.records) == 4005
    assert time.perf_counter() - started < 10  # 0.5 s on an idle core; inflating anew: minutes


def test_a_site_decodes_it_whole(tmp_path: Path) -> None:
    reader = read(tmp_path, arrays((28, 28, 3)))
    source = open_source(Cache(tmp_path / "cache", 1 << 30), reader, size=16, channels=3)
    assert source.pixels.shape == (3, 16, 16)
    assert len(source.pixels) == 11
    assert not source.rejected


def test_an_image_that_occurs_twice_is_kept_once(tmp_path: Path) -> None:
    made = arrays()
    made["train_images"][3] = made["train_images"][0]  # both of label 0
    index = read(tmp_path, made).index()
    assert len(index.records) == 10
    reason = "the same image occurs more than once"
    assert list(index.rejected) == [Rejected("train image 3", reason)]


@pytest.mark.parametrize(("split", "row"), [("train", 1), ("test", 0)])
def test_an_image_of_two_labels_or_two_splits_is_not_used(
    tmp_path: Path, split: str, row: int
) -> None:
    made = arrays()
    made[f"{split}_images"][row] = made["train_images"][0]
    index = read(tmp_path, made).index()
    assert len(index.records) == 9
    assert {each.source for each in index.rejected} == {"train image 0", f"{split} image {row}"}
    assert {each.reason for each in index.rejected} == {
        "the same image occurs with different labels or in different splits"
    }


def test_classes_are_named_as_asked_else_after_the_data_set_else_by_number(tmp_path: Path) -> None:
    def labels(name: str, **parameters: Any) -> set[str | None]:
        reader = medmnist(path=kept(tmp_path, arrays(), name), **parameters)
        return {record.label for record in reader.index().records}

    assert labels("data.npz") == {"0", "1", "2"}
    assert labels("octmnist_64.npz") == {
        "choroidal neovascularization", "diabetic macular edema", "drusen",
    }  # fmt: skip
    assert labels("octmnist_64.npz", classes="a; b ;c") == {"a", "b", "c"}


@pytest.mark.parametrize(("classes", "label"), [("a;b", 2), ("", -1)])
def test_a_label_without_a_name_is_refused(tmp_path: Path, classes: str, label: int) -> None:
    made = arrays()
    made["val_labels"] = np.array([[0], [label]], np.int16)
    with pytest.raises(DataError, match=f"an image has the label {label}, but"):
        read(tmp_path, made, classes=classes).index()


def without(name: str) -> Arrays:
    return {key: value for key, value in arrays().items() if key != name}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (without("val_images") | {"images": np.zeros(3)}, "lacks val_images"),
        (arrays((5, 4, 6)), r"train_images are volumes, of shape \(6, 5, 4, 6\)"),
        (arrays((5, 4, 6, 3)), "train_images are volumes"),
        (arrays(()), r"train_images are of shape \(6,\)"),
        (arrays((0, 4)), "no pixels"),
        (arrays() | {"test_images": np.zeros((3, 5, 4))}, "test_images are of type float64"),
        (arrays() | {"train_labels": np.zeros((6, 14), np.uint8)}, "14 for each image .multi-lab"),
        (arrays() | {"train_labels": np.zeros((6, 1, 1), np.uint8)}, "train_labels are of shape"),
        (arrays() | {"train_labels": np.zeros((6, 1))}, "train_labels are of type float64"),
        (arrays() | {"train_labels": np.zeros((5, 1), int)}, "6 train_images and 5 train_labels"),
        (arrays() | {"val_labels": np.array([[1], [None]])}, "val_labels holds pickled Python"),
        (arrays() | {"val_images": np.zeros((4, 5, 2), np.uint8).T}, "column by column"),
    ],
)
def test_other_layouts_are_refused_by_name(tmp_path: Path, made: Arrays, message: str) -> None:
    path = tmp_path / "data.npz"
    np.savez_compressed(path, **made)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=message) as caught:
        medmnist(path=path).index()
    assert str(tmp_path) not in str(caught.value)


def test_a_damaged_file_is_told_from_a_missing_one(tmp_path: Path) -> None:
    whole = kept(tmp_path, arrays((28, 28))).read_bytes()
    path = tmp_path / "broken.npz"
    wrong = bytearray(whole)
    wrong[200] ^= 0xFF  # within the packed images
    for data in (b"", b"text", whole[: len(whole) // 2], bytes(wrong)):
        path.write_bytes(data)
        with pytest.raises(DataError, match="damaged or truncated") as caught:
            medmnist(path=path).index()
        assert str(path) not in str(caught.value)
        assert str(path) in caught.value.local


def test_an_array_shorter_than_it_says_is_damaged(tmp_path: Path) -> None:
    path = kept(tmp_path, arrays())
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    for data in (members["val_images.npy"][:-1], members["val_images.npy"] + b"\0"):
        with zipfile.ZipFile(path, "w") as file:
            for name, content in (members | {"val_images.npy": data}).items():
                file.writestr(name, content)
        with pytest.raises(DataError, match="damaged"):
            medmnist(path=path).index()
    with zipfile.ZipFile(path, "w") as file:
        for name, content in (members | {"val_images.npy": b"no array"}).items():
            file.writestr(name, content)
    with pytest.raises(DataError, match="val_images is not a NumPy array"):
        medmnist(path=path).index()


@given(place=st.integers(0, 2000), value=st.integers(0, 255), cut=st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_damage_ends_as_an_index_or_a_refusal(
    tmp_path: Path, place: int, value: int, cut: bool
) -> None:
    data = bytearray(kept(tmp_path, arrays()).read_bytes())
    place %= len(data)
    data[place] = value
    (tmp_path / "damaged.npz").write_bytes(data[:place] if cut else data)
    reader = medmnist(path=tmp_path / "damaged.npz")
    try:
        records = reader.index().records
    except DataError:
        return
    for record in records:
        assert reader.load(record).shape == (1, 5, 4)


@pytest.mark.parametrize("act", ["fingerprint", "index"])
def test_a_file_that_is_not_there_is_named_only_locally(tmp_path: Path, act: str) -> None:
    with pytest.raises(DataError) as caught:
        getattr(medmnist(path=tmp_path / "gone.npz"), act)()
    assert "gone" not in str(caught.value)
    assert "gone" in caught.value.local


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such \.npz file"):
        medmnist(path=tmp_path).fingerprint()


def test_a_full_disk_ends_the_run_and_blames_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = read(tmp_path, arrays())

    def full() -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(RunError, match="no space left"):
        reader.index()


def test_a_file_that_changes_in_use_ends_the_run(tmp_path: Path) -> None:
    reader = read(tmp_path, arrays())
    records = reader.index().records
    before = reader.fingerprint()
    other = read(tmp_path, arrays(seed=1))
    assert other.fingerprint() != before
    with pytest.raises(RunError, match="changed"):
        other.load(records[0])


def test_the_fingerprint_follows_what_the_index_depends_on(tmp_path: Path) -> None:
    path = kept(tmp_path, arrays())
    assert medmnist(path=path).fingerprint() == medmnist(path=path).fingerprint()
    assert medmnist(path=path).fingerprint() != medmnist(path=path, classes="a;b;c").fingerprint()


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ("name=chestmnist", "'chestmnist' has several labels an image"),
        ("name=organmnist3d", "'organmnist3d' holds volumes"),
        ("name=mnist", "'mnist' is not a data set of MedMNIST; there is bloodmnist"),
        ("size=32", "size must be one of 28, 64, 128, 224; got '32'"),
        ("size=64", "give its name"),
        ("download=true", "give its name"),
        ("classes=a;a", "classes must be different names"),
        ("classes=a;", "classes must be different names"),
        ("classes='a,b;c'", "classes must be different names without commas"),
    ],
)
def test_bad_parameters_are_refused_by_name(given_: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        READERS.build(f"medmnist(path=/nowhere, {given_})")


class FakePackage(types.ModuleType):
    """The medmnist package's face, as far as it is used; ``brought`` counts downloads."""

    def __init__(self) -> None:
        super().__init__("medmnist")
        self.INFO = {"pneumoniamnist": {"python_class": "PneumoniaMNIST"}}
        self.brought: list[tuple[str, int, bool]] = []
        self.fails = False

    def PneumoniaMNIST(self, *, split: str, root: str, size: int, download: bool) -> None:  # noqa: N802 - the package's own name
        if self.fails:
            raise RuntimeError(f"Automatic download failed! Put the file under {root}")
        self.brought.append((split, size, download))
        made = arrays((size, size))
        for part in COUNT:
            made[f"{part}_labels"] %= 2
        kept(Path(root), made, "pneumoniamnist.npz" if size == 28 else f"pneumoniamnist_{size}.npz")


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> FakePackage:
    fake = FakePackage()
    monkeypatch.setitem(sys.modules, "medmnist", fake)
    return fake


def test_a_data_set_is_downloaded_once_and_only_when_asked(
    tmp_path: Path, package: FakePackage
) -> None:
    folder = tmp_path / "new" / "folder"
    with pytest.raises(DataError, match="or set download=true"):
        medmnist(path=folder, name="pneumoniamnist", size=64).fingerprint()
    assert not package.brought
    reader = medmnist(path=folder, name="pneumoniamnist", size=64, download=True)
    reader.fingerprint()
    reader.fingerprint()
    assert package.brought == [("val", 64, True)]
    assert [path.name for path in folder.iterdir()] == ["pneumoniamnist_64.npz"]
    records = reader.index().records
    assert {record.label for record in records} == {"normal", "pneumonia"}
    assert reader.load(records[0]).shape == (1, 64, 64)
    without_package = medmnist(path=folder, name="pneumoniamnist", size=64)
    assert len(without_package.index().records) == 11


def test_a_failing_download_leaves_nothing_and_names_no_path(
    tmp_path: Path, package: FakePackage
) -> None:
    package.fails = True
    reader = medmnist(path=tmp_path, name="pneumoniamnist", download=True)
    with pytest.raises(DataError, match="cannot be downloaded: check the network") as caught:
        reader.fingerprint()
    assert str(tmp_path) not in str(caught.value)
    assert "Automatic download failed" in caught.value.local
    assert not list(tmp_path.glob("*.npz"))
    package.fails = False
    reader.fingerprint()


def test_without_the_package_a_download_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "medmnist", None)
    reader = medmnist(path=tmp_path, name="pneumoniamnist", download=True)
    with pytest.raises(DataError, match=r"pip install 'fedmend\[medmnist\]'"):
        reader.fingerprint()
