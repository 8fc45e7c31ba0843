"""What is seen of a folder is what a run keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import JPEG2000Lossless

from client_app import workers
from client_app.cache import Cache
from client_app.opening import reader_for
from client_app.pictures import Picture, Pictures, stacked
from client_app.place import place_of
from client_app.source import open_source
from fedmend.errors import RunError
from fedmend.records import Rejected
from tests.dicom_files import encoded, uid, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return images of several sizes and colours, two that are damaged and one too long."""
    generator = np.random.default_rng(0)
    shapes = [(40, 30), (32, 32), (20, 50, 3), (33, 33, 3), (64, 16), (5, 400)]
    for number, shape in enumerate(shapes):
        pixels = generator.integers(0, 256, shape, dtype=np.uint8)
        path = tmp_path / "data" / "ill" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    for name in ("a", "b"):
        whole = (tmp_path / "data" / "ill" / "1.png").read_bytes()
        (tmp_path / "data" / "ill" / f"{name}.png").write_bytes(whole[:-40] + name.encode())
    return tmp_path / "data"


def taken(path: str, **own: int) -> tuple[list[Picture], Sequence[Rejected]]:
    """Return all pictures of a folder, and what there are none of."""
    pictures = Pictures(
        reader_for(path),
        size=24,
        channels=own.get("channels", 1),
        most=own.get("most"),
        workers=own.get("workers", 1),
    )
    found = [picture for batch in pictures.batches() for picture in batch]
    return found, pictures.refused


def agree(tmp_path: Path, path: str, channels: int = 1) -> None:
    """Hold the pictures to what a run keeps."""
    found, refused = taken(path, channels=channels)
    cache = Cache(tmp_path / "cache", 2**30)
    source = open_source(cache, reader_for(path), size=24, channels=channels)
    assert [each.record for each in found] == list(source.records)
    assert np.array_equal(np.stack([each.pixels for each in found]), source.pixels.array)
    assert sorted(each.reason for each in refused) == sorted(e.reason for e in source.rejected)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_and_rejections_are_a_runs(tmp_path: Path, folder: Path, channels: int) -> None:
    agree(tmp_path, str(folder), channels)
    found, refused = taken(str(folder))
    assert {each.source for each in refused} == {"ill/5.png", "ill/a.png", "ill/b.png"}
    assert {each.place.path: each.shape for each in found} == {
        "ill/0.png": (1, 40, 30), "ill/1.png": (1, 32, 32), "ill/2.png": (3, 20, 50),
        "ill/3.png": (3, 33, 33), "ill/4.png": (1, 64, 16),
    }  # fmt: skip


def undecodable(seed: int) -> bytes:
    """Return a DICOM file whose pixels are no codestream."""
    item = b"\xfe\xff\x00\xe0"
    data = encoded(seed, syntax=JPEG2000Lossless, PixelData=None)
    data += b"\xe0\x7f\x10\x00OB\0\0\xff\xff\xff\xff" + item + b"\0\0\0\0"
    return data + item + b"\x04\0\0\0" + bytes([seed]) * 4 + b"\xfe\xff\xdd\xe0\0\0\0\0"


def test_a_copy_that_does_for_a_broken_file_is_what_is_shown(tmp_path: Path) -> None:
    data = tmp_path / "data"
    write(data / "b.dcm", 2, SOPInstanceUID=uid("instance 1"))
    (data / "a.dcm").write_bytes(undecodable(1))
    (data / "c.dcm").write_bytes(undecodable(3))
    write(data / "d.dcm", 4)
    agree(tmp_path, str(data))
    found, refused = taken(str(data))
    assert {each.place.path for each in found} == {"b.dcm", "d.dcm"}
    assert sorted((each.source, each.reason) for each in refused) == [
        ("a.dcm", "cannot be decoded"), ("c.dcm", "cannot be decoded"),
    ]  # fmt: skip


def test_a_shape_is_that_of_the_stored_pixels(tmp_path: Path) -> None:
    write(tmp_path / "d" / "d.dcm", 3, PixelAspectRatio=["2", "1"])
    found, _ = taken(str(tmp_path / "d"))
    assert [each.shape for each in found] == [(1, 8, 6)]


def test_several_processes_see_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    one, refused = taken(str(folder))
    two, refused_by_two = taken(str(folder), workers=2)
    assert [each[:3] for each in one] == [each[:3] for each in two]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(one, two, strict=True))
    assert list(refused) == list(refused_by_two)


def test_batches_are_full_but_the_last(folder: Path) -> None:
    told: list[tuple[str, int, int]] = []
    pictures = Pictures(
        reader_for(str(folder)), size=16, channels=1, most=2, workers=1,
        progress=lambda *words: told.append(words),
    )  # fmt: skip
    sizes = []
    for chunk in pictures.batches():
        sizes.append(len(chunk))
        assert stacked(chunk).shape == (len(chunk), 1, 16, 16)
    assert sizes == [2, 2, 1]
    assert told == [("decoding", number, 8) for number in range(1, 9)]


def test_an_image_that_changed_ends_it(folder: Path) -> None:
    batches = Pictures(reader_for(str(folder)), size=16, channels=1, most=1, workers=1).batches()
    next(batches)
    for path in (folder / "ill").iterdir():
        Image.fromarray(np.zeros((9, 9), np.uint8)).save(path)
    with pytest.raises(RunError, match="changed while it was in use"):
        list(batches)


def test_each_reader_says_where_an_image_lies(tmp_path: Path, folder: Path) -> None:
    reader = reader_for(str(folder))
    places = {str(place_of(reader, record)) for record in reader.index().records}
    assert "ill/0.png" in places
    write(tmp_path / "d" / "sub" / "x.dcm", 1, shape=(3, 8, 6))
    dicom = reader_for(str(tmp_path / "d"))
    assert [str(place_of(dicom, record)) for record in dicom.index().records] == [
        "sub/x.dcm", "sub/x.dcm frame 1", "sub/x.dcm frame 2",
    ]  # fmt: skip
    images = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)
    none = np.zeros((2, 1), np.uint8)
    np.savez(
        tmp_path / "m.npz",
        train_images=images,
        val_images=images + np.uint8(40),
        test_images=images + np.uint8(80),
        train_labels=none,
        val_labels=none,
        test_labels=none,
    )
    medmnist = reader_for(str(tmp_path / "m.npz"))
    assert {str(place_of(medmnist, record)) for record in medmnist.index().records} == {
        f"{split} image {row}" for split in ("train", "val", "test") for row in (0, 1)
    }
    phantom = reader_for("phantom(count=3, size=32)")
    record = phantom.index().records[0]
    assert place_of(phantom, record) == (record.uid, 0)
