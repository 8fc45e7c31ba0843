"""What every registered detector keeps to."""

import random

import numpy as np
import pytest
import torch
from torch import Tensor

from client_app.fit import fit
from fedmend.errors import SpecError
from fedmend.plugins import DETECTORS, READERS
from imputation.detectors.base import Detector

BAD = {float: ["nonsense", "nan", "inf"], int: ["nonsense", "1.5"], str: []}
every_detector = pytest.mark.parametrize("name", DETECTORS.names())


def images(count: int, channels: int, height: int, width: int) -> Tensor:
    """Smooth pictures, flat ones and rough ones."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(count, channels, 4, 4, generator=generator)
    made = torch.nn.functional.interpolate(coarse, size=(height, width), mode="bicubic")
    made[1::3] = 0.25
    made[2::3] += 0.2 * torch.randn(made[2::3].shape, generator=generator)
    return made.clamp(0, 1)


@every_detector
@pytest.mark.parametrize("shape", [(7, 1, 64, 64), (7, 3, 33, 47), (0, 1, 16, 16)])
def test_one_real_score_per_image_and_a_flag_for_each(
    name: str, shape: tuple[int, int, int, int]
) -> None:
    given = images(*shape)
    before = given.clone()
    detector: Detector = DETECTORS.build(name)
    scores = detector.score(given)
    assert scores.shape == shape[:1]
    assert scores.dtype == torch.float32
    assert bool(scores.isfinite().all())
    assert detector.flag(scores).shape == shape[:1]
    assert detector.flag(scores).dtype == torch.bool
    assert torch.equal(given, before)


@every_detector
def test_a_score_depends_on_its_image_alone(name: str) -> None:
    detector: Detector = DETECTORS.build(name)
    given = images(9, 1, 40, 40)
    alone = torch.cat([detector.score(image[None]) for image in given])
    assert torch.equal(detector.score(given), alone)
    assert torch.equal(detector.score(given.flip(0)), alone.flip(0))


@every_detector
def test_draws_nothing(name: str) -> None:
    detector: Detector = DETECTORS.build(name)
    given = images(3, 1, 40, 40)
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()  # noqa: NPY002
    detector.score(given)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert str(np.random.get_state()) == states[1]  # noqa: NPY002
    assert random.getstate() == states[2]


def phantom(seed: int = 0) -> Tensor:
    reader = READERS.build(f"phantom(count=1, size=64, seed={seed})")
    return reader.load(reader.index().records[0])[None]


@every_detector
def test_noisier_scores_higher_and_only_noisy_is_flagged(name: str) -> None:
    detector: Detector = DETECTORS.build(name)
    clean = phantom()
    added = torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    levels = [(clean + std * added).clamp(0, 1) for std in (0.0, 0.05, 0.1, 0.2, 0.4)]
    scores = detector.score(torch.cat(levels))
    assert bool((scores.diff() > 0).all())
    flags = detector.flag(scores)
    assert not flags[0]
    assert bool(flags[2:].all())


@every_detector
@pytest.mark.parametrize("count", [0, 3, 40])
def test_a_site_calibrates_it_the_same_way_twice(name: str, count: int) -> None:
    detector: Detector = DETECTORS.build(name)
    site = torch.cat([phantom(seed) for seed in range(count)]) if count else images(0, 1, 64, 64)
    unknown = torch.full((count,), -1, dtype=torch.int8)
    before = torch.get_rng_state()
    kept, again = (detector.calibration(site, unknown) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert kept.keys() == again.keys()
    assert all(np.array_equal(kept[key], again[key]) for key in kept)
    calibrated = detector.calibrated(kept)
    scores = calibrated.score(phantom(99))
    assert bool(scores.isfinite().all())
    assert not calibrated.flag(scores).any()


@every_detector
def test_refuses_bad_parameters_by_name(name: str) -> None:
    with pytest.raises(SpecError, match="no parameter 'nonsense'"):
        DETECTORS.build(f"{name}(nonsense=1)")
    for key, parameter in DETECTORS.parameters(name).items():
        for value in BAD.get(parameter.annotation, ["nonsense"]):
            with pytest.raises(SpecError, match=key):
                DETECTORS.build(f"{name}({key}={value})")


def test_calibration_needs_no_gradients_to_be_kept_around_it() -> None:
    coarse = torch.rand(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    images = torch.nn.functional.interpolate(coarse, size=(32, 32), mode="bicubic").clamp(0, 1)
    vouched = torch.zeros(40, dtype=torch.int8)
    outside = DETECTORS.build("evidence").calibration(images, vouched)
    with torch.inference_mode():
        inside = DETECTORS.build("evidence").calibration(images.clone(), vouched)
    assert outside.keys() == inside.keys()
    assert outside
    assert all((outside[name] == inside[name]).all() for name in outside)


def test_where_hardly_any_image_looks_clean_nothing_is_flagged_unless_the_site_vouches() -> None:
    detector: Detector = DETECTORS.build("evidence")
    clean = torch.cat([phantom(seed) for seed in range(45)])
    rough = (
        clean + 0.2 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(1))
    ).clamp(0, 1)
    unsaid = torch.full((45,), -1, dtype=torch.int8)
    lost = detector.calibrated(detector.calibration(rough, unsaid))
    assert lost.unknown
    assert not lost.flag(lost.score(rough)).any()
    assert bool((lost.score(rough) > 0).all())
    # Two clean ones among them, or a word from the site, and it knows again.
    mixed = torch.cat([clean[:2], rough[2:]])
    for images, vouched in (
        (mixed, unsaid),
        (torch.cat([clean, rough]), torch.tensor([0] * 45 + [-1] * 45)),
    ):
        found = detector.calibrated(detector.calibration(images, vouched.to(torch.int8)))
        assert not found.unknown
        assert bool(found.flag(found.score(rough)).all())
    # Of a handful of images nobody can say what most of a site's are like.
    few = detector.calibrated(detector.calibration(rough[:5], unsaid[:5]))
    assert bool(few.flag(few.score(rough)).all())


@every_detector
@pytest.mark.parametrize("value", [0.0, 0.3, 1.0])
def test_what_shows_nothing_is_not_held_to_be_noisy(name: str, value: float) -> None:
    detector: Detector = DETECTORS.build(name)
    flat = torch.full((3, 1, 32, 32), value)
    flat[1, 0, 5, 5] = abs(value - 1 / 255)
    flat[2] = (flat[2] + 0.003 * torch.rand(flat[2].shape, generator=_drawn())).clamp(0, 1)
    examined = detector.examine(flat)
    assert not examined.alarm.any()
    assert np.isfinite(examined.score).all()


def _drawn() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("aspect", [0.6, 0.8, 1.3])
def test_bars_that_square_a_picture_are_no_damage(aspect: float) -> None:
    detector: Detector = DETECTORS.build("evidence")
    reader = READERS.build("phantom(count=12, size=96, seed=3)")
    loaded = [reader.load(record) for record in reader.index().records]
    width, height = round(96 * min(1, aspect)), round(96 * min(1, 1 / aspect))
    cut = torch.stack([fit(image[:, :height, -width:], 64, 1) for image in loaded])
    assert not cut[..., : 2 * (aspect > 1) or None, : 2 * (aspect < 1) or None].any()
    assert not detector.flag(detector.score(cut)).any()
    noisy = cut + 0.1 * (cut > 0) * torch.randn(cut.shape, generator=_drawn())
    assert detector.flag(detector.score(noisy.clamp(0, 1))).all()


def test_how_wide_a_bar_is_does_not_matter() -> None:
    detector: Detector = DETECTORS.build("evidence")
    picture = phantom()[..., 4:60, 6:50]
    scores = [
        float(detector.score(torch.nn.functional.pad(picture, (wide, wide, 0, 0)))[0])
        for wide in (1, 5, 20)
    ]
    assert scores == [scores[0]] * 3


def test_a_site_whose_pictures_have_bars_calibrates_on_the_pictures() -> None:
    detector: Detector = DETECTORS.build("evidence")
    reader = READERS.build("phantom(count=60, size=64, seed=5)")
    own = torch.stack([reader.load(record) for record in reader.index().records])
    own[..., :9] = own[..., -9:] = 0.0
    own[50:] = 0.0
    kept = detector.calibration(own, torch.full((60,), -1, dtype=torch.int8))
    assert kept
    assert np.isfinite(np.concatenate([part.ravel() for part in kept.values()])).all()
    assert not detector.calibrated(kept).examine(own).alarm.any()
