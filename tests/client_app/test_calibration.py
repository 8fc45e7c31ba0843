from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from client_app.cache import Cache
from client_app.calibration import FITTED, LOOKED_AT, Learnt, Sample, learn, order, said, words
from client_app.opening import reader_for
from client_app.pictures import Pictures
from client_app.site import LocalSite, Share
from client_app.workers import here
from fedmend import plugins
from fedmend.records import Record, quantised
from fedmend.settings import Settings
from imputation.detectors.base import Calibration
from imputation.detectors.residual import Residual

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings.read({"image-size": 32, "noise": "none()"})


@dataclass(frozen=True)
class Remembering(Residual):
    """Remembers what it was to learn from."""

    threshold: float = 0.0
    least: int = 0
    """Images below which it learns nothing."""
    seen: list[list[int]] = field(default_factory=list)
    """By call: the first pixel of every image, in 16 bits."""
    vouched: list[list[int]] = field(default_factory=list)
    shapes: list[tuple[int, ...]] = field(default_factory=list)

    def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
        self.seen.append((images[:, 0, 0, 0] * 65535).round().int().tolist())
        self.vouched.append(vouched.tolist())
        self.shapes.append(tuple(images.shape))
        return {"bias": np.ones(1)} if len(images) >= self.least else {}


class Levels:
    """Decodes an image that is as bright as its name says; every fourth one is broken."""

    def __call__(self, record: Record) -> Sample:
        number = int(record.uid)
        return {} if number % 4 == 3 else {FITTED: np.full((1, 8, 8), number, np.uint16)}

    def lost(self, record: Record) -> Sample:
        return {}


class Middles(Levels):
    """Decodes images of several sizes, one of them in colour."""

    sides = ((8, 12), (10, 20), (10, 20), (16, 16), (1, 3))

    def __call__(self, record: Record) -> Sample:
        channels = 3 if record.uid == "001" else 1
        return {"full": np.full((channels, *self.sides[int(record.uid)]), 7, np.uint16)}


def records(count: int, *, clean: int = 0, split: str = "") -> list[Record]:
    """Return records, the last of which the site vouches for."""
    return [
        Record(f"{n:03d}", None, f"p{n}", split, False if n >= count - clean else None, {})
        for n in range(count)
    ]


def learnt(by: Remembering, given: list[Record], *, believed: bool = True) -> Learnt:
    return learn(by, given, Levels(), here, SETTINGS, believed=believed)


def test_what_the_site_vouches_for_comes_first_and_broken_images_make_room() -> None:
    by = Remembering()
    found = learnt(by, records(600, clean=10, split="train")[::-1])
    (seen,) = by.seen
    vouched = [n for n in range(590, 600) if n % 4 != 3]
    others = [n for n in range(590) if n % 4 != 3]
    assert seen == (vouched + others)[:LOOKED_AT]
    assert by.vouched[0][: len(vouched)] == [0] * len(vouched)
    assert found.images == LOOKED_AT
    assert set(by.vouched[0][len(vouched) :]) == {-1}
    learnt(by, records(20, clean=20), believed=False)
    assert all(set(each) == {-1} for each in by.vouched[1:])


def test_of_a_folder_what_a_run_would_train_on_is_learnt_from() -> None:
    by, every = Remembering(), records(100)
    found = learnt(by, every)
    (seen,) = by.seen
    assert found.images == len(seen) < 60
    told = [each._replace(split="train" if int(each.uid) in seen else "test") for each in every]
    learnt(by, told)
    assert by.seen[1] == seen


def test_where_that_is_too_little_or_nothing_all_images_are_learnt_from() -> None:
    by = Remembering(least=60)
    assert learnt(by, records(100)).images == 75
    assert len(by.seen) == 2
    by = Remembering(least=1000)
    found = learnt(by, records(100))
    assert not any(found.kept.values())
    tests = Remembering()
    assert learnt(tests, records(40, split="test")).images == 30
    assert learnt(tests, []).kept == {}


def test_splits_that_divide_patients_are_no_concern_here() -> None:
    divided = [each._replace(group="one", split=("train", "test")[n % 2])
               for n, each in enumerate(records(40))]  # fmt: skip
    assert learnt(Remembering(), divided).images == 30


def test_pictures_of_all_sizes_are_learnt_from_by_their_middles() -> None:
    by = Remembering()
    learn(by, records(5, split="train"), Middles(), here, SETTINGS, believed=True)
    assert by.shapes == [(3, 3, 10, 16)]


def test_what_was_learnt_is_kept_to_the_last_bit() -> None:
    array = np.random.default_rng(0).normal(size=(3, 4)) / 3
    found = Learnt({"full": {"weights": array}, "model": {}}, 57, ["full"])
    again = Learnt.of(json.loads(json.dumps(found.told())))
    assert again.kept["full"]["weights"].tobytes() == array.tobytes()
    assert (again.images, list(again.unknown)) == (57, ["full"])
    assert again.text() == found.text()
    for wrong in ({}, {"kept": [], "images": 1}, {"kept": {}, "images": "x", "unknown": []}):
        with pytest.raises((KeyError, TypeError, ValueError)):
            Learnt.of(wrong)


def test_what_came_of_it_is_said() -> None:
    kept = {"full": {"unknown": np.ones(1)}, "model": {"bias": np.ones(1)}}
    assert said(None).endswith("no calibration was asked for")
    assert said(Learnt({"model": {}}, 7)).endswith("it learns nothing from 7 of the images here")
    assert said(Learnt(kept, 50)) == "the detector is calibrated on 50 of the images here"
    beside = said(Learnt(kept | {"full": {}}, 50))
    assert beside.endswith("; at scale full it learns nothing, and is used as it comes")
    told = said(Learnt(kept, 50, ["full"]))
    assert "clean in 50 of the images here (unknown) at scale full: it flags nothing there;" in told


def test_the_sites_own_word_and_the_order_are_a_runs() -> None:
    given = [each._replace(noisy=word) for each, word in
             zip(records(4), (None, True, False, None), strict=True)]  # fmt: skip
    assert words(given, believed=True).tolist() == [-1, 1, 0, -1]
    assert order(words(given, believed=True)).tolist() == [2, 0, 1, 3]
    assert words(given, believed=False).tolist() == [-1] * 4


def folder(path: Path, count: int) -> Path:
    """Write phantoms as PNG files."""
    path.mkdir()
    phantoms = plugins.READERS.build(f"phantom(count={count}, size=32)")
    for place, record in enumerate(phantoms.index().records):
        pixels = quantised(phantoms.load(record))[0] >> 8
        Image.fromarray(pixels.astype(np.uint8)).save(path / f"{place:02d}.png")
    return path


def test_a_runs_own_folder_comes_to_the_runs_own_calibration(tmp_path: Path) -> None:
    path = str(folder(tmp_path / "png", 60))
    detector = plugins.DETECTORS.build("evidence()")
    pictures = [
        Pictures(reader_for(path), size=32, channels=1, workers=workers) for workers in (1, 3)
    ]
    found = [each.learnt(detector, SETTINGS, believed=True) for each in pictures]
    assert found[0].text() == found[1].text()
    assert found[0].images == 42
    settings = Settings.read({"image-size": 32, "noise": "none()", "detector": "evidence()"})
    reader = reader_for(path)
    site = LocalSite(
        "one", reader, Share(), settings, Cache(tmp_path / "cache", 2**30), (), reader.fingerprint()
    )
    images = torch.rand(3, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    own = detector.calibrated(found[0].kept[FITTED])
    assert torch.equal(own.score(images), torch.from_numpy(site.examine(images, 0).score))
    assert not torch.equal(own.score(images), detector.score(images))
