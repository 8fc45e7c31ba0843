"""What is seen of a folder is what a run keeps of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from client_app.cache import Cache
from client_app.decoding import Picture, batches, pictures, stacked
from client_app.opening import reader_for
from client_app.place import place_of
from client_app.source import open_source
from fedmend.errors import RunError
from fedmend.records import Reader, Rejected
from tests.dicom_files import write


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


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("threads", [1, 3])
def test_pictures_and_rejections_are_a_runs(
    tmp_path: Path, folder: Path, channels: int, threads: int
) -> None:
    reader = reader_for(str(folder))
    index = reader.index()
    seen = list(pictures(reader, index.records, size=24, channels=channels, threads=threads))
    good = [each for each in seen if isinstance(each, Picture)]
    bad = [each for each in seen if isinstance(each, Rejected)]
    source = open_source(Cache(tmp_path / "cache", 2**30), reader, size=24, channels=channels)
    assert [each.record for each in good] == list(source.records)
    assert np.array_equal(np.stack([each.pixels for each in good]), source.pixels.array)
    assert sorted(each.reason for each in bad) == sorted(e.reason for e in source.rejected)
    assert {each.source for each in bad} == {"ill/5.png", "ill/a.png", "ill/b.png"}
    assert len(good) == 5
    assert len(bad) == 3


def test_batches_are_full_but_the_last_and_note_what_has_no_picture(folder: Path) -> None:
    reader = reader_for(str(folder))
    decoded = pictures(reader, reader.index().records, size=16, channels=1, threads=1)
    rejected: list[Rejected] = []
    told: list[int] = []
    sizes = []
    for chunk in batches(decoded, 2, rejected, told.append):
        sizes.append(len(chunk))
        assert stacked(chunk).shape == (len(chunk), 1, 16, 16)
    assert sizes == [2, 2, 1]
    assert (len(rejected), sum(told)) == (3, 8)


def test_an_image_that_changed_ends_it(folder: Path) -> None:
    reader = reader_for(str(folder))
    index = reader.index()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(folder / "ill" / "1.png")
    with pytest.raises(RunError, match="changed while it was in use"):
        list(pictures(reader, index.records, size=16, channels=1))


class Odd:
    """A reader whose answer is not what a reader may answer."""

    def __init__(self, inner: Reader, error: Exception) -> None:
        self.inner, self.error = inner, error

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def index(self) -> object:
        return self.inner.index()

    def load(self, record: object) -> object:
        raise self.error


def test_whatever_a_decoder_trips_over_costs_that_image_alone(folder: Path) -> None:
    inner = reader_for(str(folder))
    records = inner.index().records[:2]
    odd: Reader = Odd(inner, RuntimeError("secret"))  # type: ignore[assignment]
    seen = list(pictures(odd, records, size=16, channels=1))
    assert [each.reason for each in seen if isinstance(each, Rejected)] == [
        "cannot be decoded (RuntimeError)"
    ] * 2
    failing: Reader = Odd(inner, OSError(5, "x"))  # type: ignore[assignment]
    with pytest.raises(RunError, match="cannot be read: input/output error"):
        list(pictures(failing, records, size=16, channels=1))


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
