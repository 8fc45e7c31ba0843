from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from client_app.cache import Cache
from client_app.opening import reader_for
from client_app.pictures import Picture, Pictures
from client_app.place import Place
from client_app.source import open_source
from client_app.survey.look import Survey, look
from client_app.survey.scores import COLUMNS, Bin, Score, agreement, cells, distribution
from client_app.survey.thumbnails import LARGEST, Thumbnails, encoded
from client_app.survey.traits import Traits
from fedmend import plugins
from fedmend.records import Record


def _folder(path: Path, count: int) -> str:
    """Write images that are noisier and noisier."""
    (path / "ill").mkdir(parents=True)
    generator = np.random.default_rng(0)
    ramp = np.linspace(60, 190, 32)[None, :] + np.linspace(-30, 30, 32)[:, None]
    for number in range(count):
        noise = generator.normal(0, 60 * number / count, (32, 32))
        pixels = (ramp + noise).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / "ill" / f"{number:03d}.png")
    return str(path)


def _looked(path: str, thumbnails: int = 0, most: int | None = None) -> Survey:
    pictures = Pictures(reader_for(path), size=24, channels=1, most=most, workers=1)
    return look(pictures, plugins.DETECTORS.build("residual()"), thumbnails=thumbnails)


def test_scores_are_a_runs_and_worst_first(tmp_path: Path) -> None:
    path = _folder(tmp_path / "data", 70)  # more than one batch
    survey = _looked(path)
    detector = plugins.DETECTORS.build("residual()")
    source = open_source(Cache(tmp_path / "cache", 2**30), reader_for(path), size=24, channels=1)
    scores = detector.score(source.pixels.take(range(70)))
    flags = detector.flag(scores)
    expected = {
        record.uid: (score, flag)
        for record, score, flag in zip(source.records, scores.tolist(), flags.tolist(), strict=True)
    }
    assert {each.uid: (each.value, each.flagged) for each in survey.scores} == expected
    values = [each.value for each in survey.scores]
    assert values == sorted(values, reverse=True)
    assert 0 < sum(flags.tolist()) < 70
    assert _looked(path, most=9).scores == survey.scores


def test_only_the_worst_pictures_are_kept(tmp_path: Path) -> None:
    survey = _looked(_folder(tmp_path / "data", 70), thumbnails=5)
    assert [score for score, _ in survey.thumbnails] == list(survey.scores[:5])
    assert _looked(str(tmp_path / "data")).thumbnails == []
    best = Image.open(io.BytesIO(survey.thumbnails[0][1]))
    assert (best.format, best.size, best.mode) == ("PNG", (24, 24), "L")


def _picture(number: int, size: int = 4, channels: int = 1) -> Picture:
    record = Record(str(number), None, "", "", None, {})
    pixels = np.full((channels, size, size), number * 257, np.uint16)
    return Picture(record, Place(str(number), 0), (channels, size, size), pixels)


def _score(number: int, value: float, *, flagged: bool = False, noisy: bool | None = None) -> Score:
    picture = _picture(number)._replace(record=Record("u", "ill", "", "", noisy, {}))
    return Score.of(picture, Traits(), value, flagged=flagged)


@pytest.mark.parametrize("seed", range(5))
def test_thumbnails_do_not_depend_on_the_order_of_batches(seed: int) -> None:
    values = torch.randint(0, 4, (30,), generator=torch.Generator().manual_seed(seed)).tolist()
    seen = [(_score(number, value), _picture(number)) for number, value in enumerate(values)]
    expected = sorted((score for score, _ in seen), key=Score.rank)[:7]
    for step in (1, 4, 30):
        kept = Thumbnails(7)
        for start in range(0, 30, step):
            kept.add(seen[start : start + step])
        assert [score for score, _ in kept.worst()] == expected


def test_a_thumbnail_is_small_and_shows_what_was_scored() -> None:
    small = np.asarray(Image.open(io.BytesIO(encoded(_picture(200, channels=3)))))
    assert small.shape == (4, 4, 3)
    assert (small == 200).all()
    large = Image.open(io.BytesIO(encoded(_picture(7, size=1000))))
    assert large.size == (LARGEST, LARGEST)


def test_the_distribution_counts_every_image_once() -> None:
    scores = [_score(n, value, flagged=value > 0) for n, value in enumerate((-3.0, -0.5, 0.5, 9.0))]
    bins = distribution(scores)
    assert (bins[0].low, bins[-1].high) == (-3.0, 9.0)
    assert bins[0] == Bin(-3.0, -2.0, 1, 0)
    assert bins[3] == Bin(0.0, 1.0, 0, 1)
    assert sum(each.clear for each in bins) == sum(each.flagged for each in bins) == 2
    assert sum(each.clear for each in distribution([_score(0, 2.0)])) == 1


def test_what_the_site_vouches_for_is_held_against_the_detector() -> None:
    scores = [_score(0, 1.0, noisy=True), _score(1, -1.0, noisy=False), _score(2, 5.0)]
    assert agreement(scores) == 1.0
    assert agreement([*scores, _score(3, 2.0, noisy=False)]) == 0.5
    assert agreement(scores[:1]) is None


def test_a_row_has_every_column() -> None:
    row = dict(zip(COLUMNS, cells(_score(3, 1.5, noisy=True)), strict=True))
    assert (row["path"], row["frame"], row["label"], row["noisy"]) == ("3", 0, "ill", True)
    assert (row["score"], row["flagged"], row["rows"], row["channels"]) == (1.5, False, 4, 1)
