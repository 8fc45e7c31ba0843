"""Two images are the same where what is stored is, not where they look alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRBigEndian, RLELossless

from client_app.cache import Cache
from client_app.dicom.copies import CONTRADICTING, TWICE
from client_app.pictures import Pictures
from client_app.readers.dicom import dicom
from client_app.source import open_source
from client_app.twins import Twins
from fedmend.errors import RunError
from tests.dicom_files import write

SOFT = {
    "RescaleIntercept": "-1024", "RescaleSlope": "1",
    "WindowCenter": "40", "WindowWidth": "400",
}  # fmt: skip
"""A window that shows air, whatever its noise, as black."""


def air(path: Path, seed: int, shape: tuple[int, ...] = (32, 32), **own: Any) -> Path:
    values = np.random.default_rng(own.pop("noise", seed)).integers(0, 200, shape, np.uint16)
    return write(path, seed, shape=shape, PixelData=values.astype("<u2").tobytes(), **SOFT, **own)


def compressed(path: Path) -> Path:
    dataset = pydicom.dcmread(path)
    dataset.compress(RLELossless, generate_instance_uid=False)
    dataset.save_as(path)
    return path


def outcome(folder: Path, tmp_path: Path, labels: str = "") -> tuple[set[str], dict[str, str]]:
    """Return which files are used and why others are not: by a run, by its cache, and as shown."""
    own = {"labels": "labels.csv", "image": "path"} if labels else {}
    (folder / "labels.csv").write_text(labels)
    reader = dicom(path=folder, glob="**.dcm", **own)
    seen = []
    for _ in range(2):
        source = open_source(Cache(tmp_path / "cache", 2**28), reader, size=16, channels=1)
        paths = {str(record.facts["path"]) for record in source.records}
        seen.append((paths, {each.source: each.reason for each in source.rejected}))
    pictures = Pictures(reader, size=16, channels=1, workers=1)
    shown = {each.place.path for batch in pictures.batches() for each in batch}
    refused = {each.source: each.reason for each in pictures.refused}
    withdrawn = {name for name, reason in refused.items() if reason == CONTRADICTING}
    seen.append((shown - withdrawn, refused))
    assert seen[0] == seen[1] == seen[2]
    return seen[0]


def test_images_that_merely_look_alike_are_all_used(tmp_path: Path) -> None:
    names = [air(tmp_path / "in" / f"{seed}.dcm", seed).name for seed in range(4)]
    labels = "path,label\n0.dcm,x\n1.dcm,x\n2.dcm,y\n3.dcm,y\n"
    assert outcome(tmp_path / "in", tmp_path, labels) == (set(names), {})


def test_a_pixel_is_not_a_large_picture_of_its_shade(tmp_path: Path) -> None:
    for seed, side in enumerate((1, 128)):
        values = np.zeros((side, side), "<u2").tobytes()
        write(tmp_path / "in" / f"{seed}.dcm", seed, shape=(side, side), PixelData=values)
    assert outcome(tmp_path / "in", tmp_path) == ({"0.dcm", "1.dcm"}, {})


def test_a_copy_is_found_among_images_that_look_like_it(tmp_path: Path) -> None:
    for seed in range(4):
        air(tmp_path / "in" / f"{seed}.dcm", seed)
    compressed(air(tmp_path / "in" / "copy.dcm", 9, noise=2))
    used, refused = outcome(tmp_path / "in", tmp_path)
    assert used | set(refused) == {"0.dcm", "1.dcm", "2.dcm", "3.dcm", "copy.dcm"}
    assert list(refused.values()) == [TWICE]
    assert set(refused) < {"2.dcm", "copy.dcm"}


def test_contradicting_copies_take_no_other_with_them(tmp_path: Path) -> None:
    for seed in range(3):
        air(tmp_path / "in" / f"{seed}.dcm", seed)
    compressed(air(tmp_path / "in" / "copy.dcm", 9, noise=2))
    labels = "path,label\n0.dcm,x\n1.dcm,y\n2.dcm,x\ncopy.dcm,y\n"
    assert outcome(tmp_path / "in", tmp_path, labels) == (
        {"0.dcm", "1.dcm"}, dict.fromkeys(("2.dcm", "copy.dcm"), CONTRADICTING),
    )  # fmt: skip


def test_frames_are_compared_one_by_one_and_never_within_a_file(tmp_path: Path) -> None:
    frame = np.random.default_rng(5).integers(0, 200, (32, 32)).astype("<u2").tobytes()
    empty = bytes(len(frame))
    write(tmp_path / "in" / "two.dcm", 1, shape=(3, 32, 32), PixelData=empty + frame + empty,
          **SOFT)  # fmt: skip
    write(tmp_path / "in" / "one.dcm", 2, shape=(32, 32), PixelData=frame, **SOFT)
    used, refused = outcome(tmp_path / "in", tmp_path)
    assert "two.dcm" in used
    assert list(refused.values()) == [TWICE]


def test_the_order_of_bytes_makes_no_other_image(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (32, 32))
    write(tmp_path / "in" / "a.dcm", 1, shape=(32, 32), PixelData=values.astype("<u2").tobytes())
    write(tmp_path / "in" / "b.dcm", 2, shape=(32, 32), syntax=ExplicitVRBigEndian,
          PixelData=values.astype(">u2").tobytes())  # fmt: skip
    assert list(outcome(tmp_path / "in", tmp_path)[1].values()) == [TWICE]


def test_a_file_that_is_gone_ends_it(tmp_path: Path) -> None:
    for seed in range(2):
        air(tmp_path / "in" / f"{seed}.dcm", seed)
    reader = dicom(path=tmp_path / "in")
    first, second = reader.index().records
    twins, black = Twins(reader), np.zeros((1, 16, 16), np.uint16)
    assert twins.judge(0, first, black).kept
    (tmp_path / "in" / str(first.facts["path"])).unlink()
    with pytest.raises(RunError, match="start again"):
        twins.judge(1, second, black)
