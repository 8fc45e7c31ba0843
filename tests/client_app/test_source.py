from __future__ import annotations

import multiprocessing
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import ANY

import numpy as np
import pydicom
import pytest
import torch
from PIL import Image
from pydicom.uid import RLELossless
from torch import Tensor

from client_app.cache import Cache
from client_app.fit import fit
from client_app.readers.dicom import dicom
from client_app.readers.folder import folder
from client_app.readers.phantom import phantom
from client_app.source import open_source
from client_app.workers import Workers
from fedmend.errors import DataError, RunError
from fedmend.records import Index, Reader, Record, Rejected
from tests.dicom_files import encoded, pixels, write


class Drawn:
    """A reader of flat images that counts what is asked of it; some images have failures."""

    decoding = "drawn"

    def __init__(
        self, shades: Sequence[float], failures: Mapping[int, Exception | Tensor] | None = None
    ) -> None:
        self.shades = shades
        self.failures = failures or {}
        self.indexed = 0
        self.loaded: list[str] = []

    def fingerprint(self) -> str:
        return f"drawn {self.shades}"

    def index(self) -> Index:
        self.indexed += 1
        records = [
            Record(f"{n:064x}", "x", f"{n:064x}", "", None, {"number": float(n)})
            for n in range(len(self.shades))
        ]
        return Index(records, [Rejected("notes.txt", "the file is not an image")])

    def load(self, record: Record) -> Tensor:
        self.loaded.append(record.uid)
        number = int(record.uid, 16)
        failure = self.failures.get(number)
        if isinstance(failure, Exception):
            raise failure
        return torch.full((1, 20, 30), self.shades[number]) if failure is None else failure


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 2**30)


SHADES = [0.0, 0.25, 0.5, 0.75, 1.0]


def test_pixels_are_what_was_loaded_and_fitted(cache: Cache) -> None:
    reader = phantom(count=7, size=40)
    source = open_source(cache, reader, size=32, channels=3)
    assert source.pixels.shape == (3, 32, 32)
    assert len(source.pixels) == len(source.records) == 7
    images = source.pixels.take(range(7))
    for record, image in zip(source.records, images, strict=True):
        assert torch.allclose(image, fit(reader.load(record), 32, 3), atol=1 / 65535)
    assert not source.rejected


def test_a_second_call_indexes_and_decodes_nothing(cache: Cache, tmp_path: Path) -> None:
    first = Drawn(SHADES)
    one = open_source(cache, first, size=16, channels=1)
    again = Drawn(SHADES)
    other = open_source(Cache(tmp_path / "cache", 2**30), again, size=16, channels=1)
    assert (first.indexed, len(first.loaded)) == (1, 5)
    assert (again.indexed, len(again.loaded)) == (0, 0)
    assert one.records == other.records == tuple(first.index().records)
    assert one.rejected == other.rejected == (Rejected("notes.txt", "the file is not an image"),)
    assert torch.equal(one.pixels.take(range(5)), other.pixels.take(range(5)))


@pytest.mark.parametrize("change", [{"size": 17}, {"channels": 3}, {"decoding": "drawn otherwise"}])
def test_another_configuration_decodes_but_does_not_index(
    cache: Cache, change: dict[str, int | str]
) -> None:
    open_source(cache, Drawn(SHADES), size=16, channels=1)
    reader = Drawn(SHADES)
    reader.decoding = str(change.get("decoding", "drawn"))
    size, channels = int(change.get("size", 16)), int(change.get("channels", 1))
    open_source(cache, reader, size=size, channels=channels)
    assert (reader.indexed, len(reader.loaded)) == (0, 5)


def test_a_moved_or_touched_folder_decodes_nothing(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        path = tmp_path / "data" / "abcd"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (20, 20), number).save(path)
    first = open_source(cache, folder(path=tmp_path / "data"), size=16, channels=1)
    shutil.move(tmp_path / "data", tmp_path / "moved")
    os.utime(tmp_path / "moved" / "a" / "0.png", ns=(1, 1))

    def never(reader: object, record: Record) -> Tensor:
        raise AssertionError("decoded again")

    moved = folder(path=tmp_path / "moved")
    monkeypatch.setattr(type(moved), "load", never)
    again = open_source(cache, moved, size=16, channels=1)
    assert again.records == first.records
    assert torch.equal(again.pixels.take(range(4)), first.pixels.take(range(4)))


FAILURES: dict[int, Exception | Tensor] = {
    0: DataError("the image is damaged", local="a/0.png"),
    2: torch.full((1, 5, 5), float("nan")),
    3: torch.zeros(2, 5, 5),
    5: ValueError("a decoder's own words about Mr Doe"),
    6: torch.full((1, 5, 5), 1.5),
    7: torch.zeros(1, 2, 200),
}


@pytest.mark.parametrize("threads", [1, 3])
def test_images_that_fail_are_rejected_and_the_others_keep_their_pixels(
    cache: Cache, threads: int
) -> None:
    shades = [number / 10 for number in range(9)]
    for _ in range(2):  # the second time from the cache
        reader = Drawn(shades, FAILURES)
        source = open_source(cache, reader, size=16, channels=1, workers=threads)
        numbers = [int(record.uid, 16) for record in source.records]
        assert numbers == [1, 4, 8]
        assert source.pixels.array.shape == (3, 1, 16, 16)  # row by row the records'
        middle = source.pixels.take(range(3))[:, 0, 8, 8]
        assert middle.tolist() == pytest.approx([0.1, 0.4, 0.8], abs=1e-4)
        assert source.rejected[1:] == (
            Rejected("a/0.png", "the image is damaged"),
            Rejected(f"{2:064x}", "the image has values outside 0 to 1"),
            Rejected(f"{3:064x}", "the image is neither grey nor RGB"),
            Rejected(f"{5:064x}", "cannot be decoded (ValueError)"),
            Rejected(f"{6:064x}", "the image has values outside 0 to 1"),
            Rejected(f"{7:064x}", "the image is more than 50 times as long as it is wide"),
        )


@pytest.mark.parametrize(
    "failure", [OSError(5, "Input/output error", "/data/doe.png"), RunError("an image changed")]
)
def test_a_failing_disk_ends_the_call_and_nothing_is_kept(cache: Cache, failure: Exception) -> None:
    with pytest.raises(RunError) as caught:
        open_source(cache, Drawn(SHADES, {3: failure}), size=16, channels=1)
    assert "doe" not in str(caught.value)
    source = open_source(cache, Drawn(SHADES), size=16, channels=1)
    assert len(source.records) == 5


def test_nothing_at_all_is_a_source_too(cache: Cache) -> None:
    for _ in range(2):
        source = open_source(cache, Drawn([]), size=16, channels=1)
        assert source.records == ()
        assert len(source.pixels) == 0
        assert source.pixels.take([]).shape == (0, 1, 16, 16)


def test_progress_is_told_image_by_image(cache: Cache) -> None:
    told: list[tuple[str, int, int]] = []

    def progress(step: str, done: int, of: int) -> None:
        told.append((step, done, of))

    open_source(cache, Drawn(SHADES), size=16, channels=1, progress=progress)
    assert told == [("decoding", done, 5) for done in range(1, 6)]


def test_the_number_of_threads_changes_nothing(tmp_path: Path) -> None:
    pixels = []
    for threads in (1, 4):
        cache = Cache(tmp_path / str(threads), 2**30)
        source = open_source(
            cache, phantom(count=40, size=20), size=16, channels=1, workers=threads
        )
        pixels.append(np.array(source.pixels.array))
    np.testing.assert_array_equal(pixels[0], pixels[1])


def test_images_beyond_the_quota_are_refused_before_any_is_decoded(tmp_path: Path) -> None:
    reader = Drawn(SHADES)
    with pytest.raises(DataError, match="cache-quota"):
        open_source(Cache(tmp_path / "cache", 20_000), reader, size=64, channels=1)
    assert not reader.loaded


class Logged:
    """A reader that writes a line for every image it decodes, from whatever process."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self.inner: Reader = phantom(count=20, size=16)

    def fingerprint(self) -> str:
        return self.inner.fingerprint()

    def index(self) -> Index:
        return self.inner.index()

    def load(self, record: Record) -> Tensor:
        with self.log.open("a") as file:
            file.write(f"{record.uid}\n")
        return self.inner.load(record)


def test_of_several_processes_one_decodes_and_all_see_the_same(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    log.touch()

    def work() -> None:
        torch.set_num_threads(1)
        source = open_source(Cache(tmp_path / "cache", 2**30), Logged(log), size=16, channels=1)
        assert len(source.pixels) == 20
        assert source.pixels.take(range(20)).amax() > 0.5

    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(log.read_text().split()) == 20


def test_processes_give_the_same_records_pixels_and_refusals(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Workers.__init__, "__defaults__", (0.0,))
    for number in range(60):
        write(tmp_path / "data" / f"{number % 7}" / f"IM{number}", number, shape=(20, 30))
    write(tmp_path / "data" / "loop", 99, shape=(9, 20, 30))
    (tmp_path / "data" / "broken").write_bytes(encoded(1)[:-9])
    sources = []
    told: list[tuple[str, int, int]] = []
    for workers in (1, 3):
        cache = Cache(tmp_path / str(workers), 2**30)
        told.clear()
        sources.append(
            open_source(
                cache,
                dicom(path=tmp_path / "data"),
                size=16,
                channels=1,
                workers=workers,
                progress=lambda *step: told.append(step),
            )
        )
    alone, together = sources
    assert together.records == alone.records
    assert together.rejected == alone.rejected == (Rejected("broken", "truncated", ANY),)
    assert len(alone.records) == 69
    np.testing.assert_array_equal(together.pixels.array, alone.pixels.array)
    assert told == [
        *(("reading", done, 62) for done in range(1, 63)),
        *(("decoding", done, 69) for done in range(1, 70)),
    ]


def _site(folder: Path, labels: Mapping[str, str], syntaxes: Mapping[str, str]) -> Reader:
    """Write files of two pictures; names that begin alike hold the same one, anew identified."""
    for number, name in enumerate(syntaxes):
        path = write(folder / name, number, PixelData=pixels(ord(name[0]), (32, 32)).tobytes(),
                     shape=(32, 32))  # fmt: skip
        if syntaxes[name] == "rle":
            dataset = pydicom.dcmread(path)
            dataset.compress(RLELossless, generate_instance_uid=False)
            dataset.save_as(path)
    lines = [f"{name},{label}" for name, label in labels.items()]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines]))
    return dicom(path=folder, labels="labels.csv", image="path", label="label")


def test_the_same_pixels_compressed_anew_are_used_once(tmp_path: Path) -> None:
    syntaxes = {"a.dcm": "raw", "a2.dcm": "rle", "b.dcm": "rle"}
    reader = _site(tmp_path / "in", dict.fromkeys(syntaxes, "x"), syntaxes)
    source = open_source(Cache(tmp_path / "cache", 2**30), reader, size=16, channels=1)
    assert len(source.records) == len(source.pixels) == 2
    assert [each.reason for each in source.rejected] == ["the same image is there twice"]
    paths = {str(record.facts["path"]) for record in source.records}
    assert paths | {source.rejected[0].source} == set(syntaxes)
    for place, record in enumerate(source.records):
        expected = fit(reader.load(record), 16, 1)
        assert torch.allclose(source.pixels.take([place])[0], expected, atol=1e-5)


def test_copies_that_contradict_each_other_are_both_refused(tmp_path: Path) -> None:
    syntaxes = {"a.dcm": "raw", "a2.dcm": "rle", "b.dcm": "raw", "c.dcm": "raw"}
    labels = {"a.dcm": "x", "a2.dcm": "y", "b.dcm": "x", "c.dcm": "y"}
    reader = _site(tmp_path / "in", labels, syntaxes)
    cache = Cache(tmp_path / "cache", 2**30)
    for _ in range(2):  # decoded, and from the cache
        source = open_source(cache, reader, size=16, channels=1)
        assert {str(record.facts["path"]) for record in source.records} == {"b.dcm", "c.dcm"}
        assert {each.source for each in source.rejected} == {"a.dcm", "a2.dcm"}
        for place, record in enumerate(source.records):
            expected = fit(reader.load(record), 16, 1)
            assert torch.allclose(source.pixels.take([place])[0], expected, atol=1e-5)
