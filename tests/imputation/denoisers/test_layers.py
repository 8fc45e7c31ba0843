import pytest
import torch

from imputation.denoisers.base import Restored
from imputation.denoisers.layers import Head, cropped, padded, roughness


def test_padding_repeats_the_border_and_cropping_undoes_it() -> None:
    image = torch.arange(6.0).reshape(1, 1, 2, 3)
    larger = padded(image, 4)
    assert larger[0, 0].tolist() == [
        [0, 1, 2, 2],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
        [3, 4, 5, 5],
    ]
    assert torch.equal(cropped(Restored(larger, larger, larger), 2, 3).sigma, image)


def test_padding_leaves_what_fits() -> None:
    image = torch.rand(1, 1, 8, 4)
    assert padded(image, 4) is image


def test_roughness_grows_with_the_noise_in_proportion() -> None:
    normal = torch.randn(1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    weak, strong = roughness(0.05 * normal), roughness(0.2 * normal)
    assert torch.allclose(strong, 4 * weak, atol=1e-5)
    assert float(weak.mean()) == pytest.approx(
        0.05 * (8 / 9) ** 0.5 * (2 / torch.pi) ** 0.5, rel=0.03
    )
    assert not roughness(torch.full((1, 3, 16, 16), 0.3)).abs().max() > 1e-6


def test_without_features_the_image_is_an_even_blend_of_its_scales() -> None:
    image = torch.zeros(1, 1, 4, 4)
    image[..., :2] = 1
    head = Head(8, 1, 3)
    answer = head(torch.zeros(1, 8, 2, 2), image, torch.full((1, 1, 4, 4), 0.1))
    means = torch.tensor([1.0, 0.75, 0.25, 0.0])  # of pairs, drawn out bilinearly
    expected = (image[0, 0, 0] + means + 0.5) / 3
    assert torch.allclose(answer.image[0, 0], expected.expand(4, 4))
    assert not answer.hole.any()
    assert float(answer.sigma.detach()[0, 0, 0, 0]) == pytest.approx(0.2127, abs=1e-4)


def test_what_a_hole_hides_is_taken_from_its_surroundings() -> None:
    image = torch.full((1, 1, 4, 4), 0.8)
    image[..., 0] = 0
    head = Head(4, 1, 3)
    with torch.no_grad():
        head.last.weight.zero_()
        assert head.last.bias is not None
        head.last.bias[-4:] = 50  # all weight is on the coarsest scale
        head.last.bias[4:8] = -50  # nothing is a hole, but for
        head.last.weight[[4, 6], 0, 1, 1] = 100  # the left pixels where the first feature is 1
    features = torch.zeros(1, 4, 2, 2)
    blind = head(features, image, image)
    assert torch.allclose(blind.image, torch.full_like(image, 0.6), atol=1e-3)
    features[:, 0, :, 0] = 1
    seeing = head(features, image, image)
    assert torch.equal(seeing.hole > 0, image == 0)
    assert torch.allclose(seeing.image, torch.full_like(image, 0.8), atol=1e-3)
