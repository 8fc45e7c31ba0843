"""What is mended is what a run would use: each image once, in a file that can be decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from client_app import workers
from client_app.dicom.copies import CONTRADICTING, TWICE
from client_app.mending.derived import Made
from client_app.mending.originals import Originals, originals, tree_of
from client_app.mending.target import Target
from client_app.mending.work import Summary, Work
from client_app.opening import reader_for
from client_app.pictures import Pictures
from tests.dicom_files import pixels, uid, write
from tests.imputers import mender


def compressed(path: Path) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    return path


def torn(path: Path, frame: int = 0) -> Path:
    """Damage a frame of a compressed file."""
    dataset = pydicom.dcmread(path)
    number = int(dataset.get("NumberOfFrames", 1))
    frames = list(pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=number))
    frames[frame] = frames[frame][:70]
    dataset.PixelData = encapsulate(frames)
    dataset.save_as(path)
    return path


def image(path: Path, seed: int, of: int | None = None, **own: object) -> Path:
    """Write an image of its own, or with the pixels of another."""
    values = pixels(seed if of is None else of, (24, 24)).astype("<u2").tobytes()
    return write(path, seed, shape=(24, 24), PixelData=values, **own)


def found(spec: Path | str) -> tuple[Originals, dict[str, str]]:
    """Return the originals, held to what is seen of the folder, and why others are none."""
    each = originals(reader_for(str(spec)))
    return each, {one.source: one.reason for one in each.rejected}


def seen(spec: Path | str) -> tuple[set[str], dict[str, str]]:
    """Return what inspect uses, and why not the rest."""
    pictures = Pictures(reader_for(str(spec)), size=16, channels=1, workers=1)
    used = {picture.place.path for batch in pictures.batches() for picture in batch}
    refused = {one.source: one.reason for one in pictures.refused}
    return {name for name in used if refused.get(name) != CONTRADICTING}, refused


def worked(spec: Path | str, out: Path) -> Summary:
    reader = reader_for(str(spec))
    target = Target(out, tree_of(reader).root)
    made = Made("f" * 64, "detector residual(), scale both")
    return Work(originals(reader), mender(), made, target).run(lambda count: None)


def test_a_whole_copy_is_mended_in_place_of_a_damaged_file(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    torn(compressed(image(folder / "a.dcm", 1)))
    image(folder / "b.dcm", 2, SOPInstanceUID=uid("instance 1"))
    image(folder / "c.dcm", 3, SOPInstanceUID=uid("instance 1"))
    each, refused = found(folder)
    assert (set(each.files), refused) == seen(folder)
    assert set(each.files) == {"b.dcm"}
    assert set(refused) == {"a.dcm", "c.dcm"}
    assert refused["c.dcm"] == TWICE != refused["a.dcm"]
    for looked_at in (1, 0):  # a second call has nothing to do
        summary = worked(folder, tmp_path / "out")
        assert (summary.outcomes["mended"], summary.looked_at) == (1, looked_at)
    assert (tmp_path / "out" / "b.dcm").is_file()
    assert not (tmp_path / "out" / "a.dcm").exists()


def test_a_file_without_a_whole_copy_is_told_to_be_unusable(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    torn(compressed(image(folder / "a.dcm", 1)))
    torn(compressed(image(folder / "b.dcm", 2, SOPInstanceUID=uid("instance 1"))))
    image(folder / "c.dcm", 3)
    summary = worked(folder, tmp_path / "out")
    assert (summary.outcomes["unusable"], summary.outcomes["mended"]) == (1, 1)
    assert sum(summary.unusable.values()) == 2
    assert TWICE not in summary.unusable


@pytest.mark.parametrize("bad", [0, 2])
def test_frames_are_taken_from_one_file_together(tmp_path: Path, bad: int) -> None:
    frames = pixels(5, (3, 24, 24))
    for seed, name in enumerate("ab"):
        write(tmp_path / f"{name}.dcm", seed, shape=frames.shape, SOPInstanceUID=uid("one"),
              PixelData=frames.astype("<u2").tobytes())  # fmt: skip
    torn(compressed(tmp_path / "a.dcm"), bad)
    each, refused = found(tmp_path)
    assert list(each.files) == ["b.dcm"]
    assert [int(record.facts["frame"]) for record in each.files["b.dcm"]] == [0, 1, 2]
    assert set(refused) == {"a.dcm"}


def test_the_same_pixels_compressed_anew_are_mended_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    image(folder / "a.dcm", 1)
    compressed(image(folder / "b.dcm", 2, of=1))
    image(folder / "c.dcm", 3)
    each, refused = found(folder)
    assert (set(each.files), refused) == seen(folder)
    assert list(refused.values()) == [TWICE]
    assert worked(folder, tmp_path / "out").outcomes["mended"] == 2


def test_copies_that_contradict_each_other_are_left_as_they_are(tmp_path: Path) -> None:
    image(tmp_path / "a.dcm", 1)
    compressed(image(tmp_path / "b.dcm", 2, of=1))
    image(tmp_path / "c.dcm", 3)
    (tmp_path / "labels.csv").write_text("path,noisy\na.dcm,1\nb.dcm,0\nc.dcm,1\n")
    spec = f"dicom(path={tmp_path}, labels=labels.csv, label='', noisy=noisy)"
    each, refused = found(spec)
    assert (set(each.files), refused) == seen(spec)
    assert set(each.files) == {"c.dcm"}
    assert refused == dict.fromkeys(("a.dcm", "b.dcm"), CONTRADICTING)


def test_a_file_that_ends_the_process_is_not_touched_again(tmp_path: Path) -> None:
    from client_app.dicom.images import Images
    from client_app.mending.originals import _Finding

    image(tmp_path / "a.dcm", 1)
    reader = reader_for(str(tmp_path))
    assert isinstance(reader, Images)
    lost = _Finding(reader).lost(reader.index().records)
    assert (lost.records, [one.source for one in lost.failed]) == ((), ["a.dcm"])


def test_progress_is_told_and_the_number_of_processes_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    for seed in range(20):
        image(tmp_path / f"{seed}.dcm", seed)
    compressed(image(tmp_path / "copy.dcm", 99, of=7))
    told: list[tuple[str, int, int]] = []
    reader = reader_for(str(tmp_path))
    two = originals(reader, workers=2, progress=lambda *step: told.append(step))
    one = originals(reader)
    assert (two.files, two.rejected) == (one.files, one.rejected)
    assert len(one.files) == 20
    assert told == [(step, done, 21) for step in ("reading", "decoding") for done in range(1, 22)]


def test_pictures_are_listed_without_being_decoded(tmp_path: Path) -> None:
    (tmp_path / "ill").mkdir()
    np.save(tmp_path / "ill" / "a.npy", np.zeros((9, 9), np.uint8))
    each, refused = found(tmp_path)
    assert (list(each.files), refused) == (["ill/a.npy"], {})
