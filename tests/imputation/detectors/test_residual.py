import numpy as np
import pytest
import torch
from torch import Tensor

from fedmend import histogram
from fedmend.plugins import DETECTORS
from imputation.detectors.base import Detector
from imputation.detectors.residual import noise_std, occluded_share
from imputation.noise.mixture import from_spec


def bodies(count: int, channels: int = 1, side: int = 64) -> Tensor:
    """Bright, smoothly shaded ellipses with a sharp outline on a black background."""
    generator = torch.Generator().manual_seed(0)
    axis = torch.linspace(-1, 1, side)
    size = 0.6 + 0.3 * torch.rand(count, 2, generator=generator)
    inside = (axis[:, None] / size[:, :1, None]) ** 2 + (axis / size[:, 1:, None]) ** 2 < 1
    coarse = 0.3 + 0.6 * torch.rand(count, channels, 5, 5, generator=generator)
    shade = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return shade * inside[:, None]


def corrupted(images: Tensor, spec: str) -> Tensor:
    noise = from_spec(spec)
    generator = torch.Generator().manual_seed(1)
    return torch.stack([noise(image, generator).image for image in images])


@pytest.mark.parametrize("std", [0.02, 0.07, 0.15])
def test_noise_std_is_that_of_the_noise(std: float) -> None:
    grey = torch.full((5, 1, 64, 64), 0.5)
    assert noise_std(corrupted(grey, f"gaussian(std={std})")).tolist() == pytest.approx(
        [std] * 5, rel=0.06
    )


def test_noise_is_estimated_where_the_image_is_not_clipped() -> None:
    image = torch.full((1, 1, 64, 64), 0.5)
    image += 0.05 * torch.randn(image.shape, generator=torch.Generator().manual_seed(0))
    image[..., :40] = 0
    assert float(noise_std(image)) == pytest.approx(0.05, rel=0.15)
    assert float(noise_std(torch.full((1, 1, 20, 20), 0.4))) == 0


def test_occluded_share_by_hand() -> None:
    axis = torch.arange(20.0)
    image = (0.4 + 0.01 * axis[:, None] + 0.013 * axis)[None, None]
    assert float(occluded_share(image)) == 0
    image[..., 5:10, 6:14] = 0
    assert float(occluded_share(image)) == pytest.approx(5 * 8 / 400)


def test_black_around_the_body_and_soft_saturation_are_no_occlusion() -> None:
    assert not occluded_share(bodies(20)).any()
    axis = torch.linspace(-1, 1, 64)
    glow = (1.3 - axis[:, None] ** 2 - axis**2).clamp(0, 1)[None, None]
    assert float((glow == 1).float().mean()) > 0.1
    assert float(occluded_share(glow)) == 0


def test_flat_in_one_channel_only_is_no_occlusion() -> None:
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    image[:, 0, 8:20, 8:20] = 0
    assert float(occluded_share(image)) == 0
    image[:, :, 8:20, 8:20] = 0
    assert float(occluded_share(image)) > 0.1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "spec",
    [
        "gaussian(std=0.07)",
        "gaussian(std=0.1..0.5)",
        "strokes(size=medium)",
        "strokes(size=medium, fill=one)",
        "strokes(size=medium, fill=random)",
        "strokes(size=medium)+gaussian(std=0.1..0.5)",
    ],
)
def test_tells_noisy_from_clean(spec: str, channels: int) -> None:
    clean = bodies(60, channels)
    detector: Detector = DETECTORS.build("residual")
    scores = torch.cat((detector.score(clean), detector.score(corrupted(clean, spec))))
    truth = np.arange(120) >= 60
    area = histogram.auroc(histogram.counts(scores.double().numpy(), truth))
    assert area is not None
    assert area >= 0.99
    flags = detector.flag(scores)
    assert not flags[:60].any()
    assert int(flags[60:].sum()) >= 55  # a stroke along the outline looks like background


def test_the_threshold_is_what_flags() -> None:
    detector: Detector = DETECTORS.build("residual(threshold=2.5)")
    assert detector.flag(torch.tensor([-1.0, 2.5, 2.6])).tolist() == [False, False, True]
