from __future__ import annotations

import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from fedmend.errors import SpecError
from fedmend.plugins import LOSSES
from imputation.losses.mix import mix
from imputation.losses.ms_ssim import ms_ssim, scales, similarity

EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)


def pair(side: int, noise: float = 0.1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(side)
    target = torch.rand(2, 1, side // 8, side // 8, generator=generator)
    target = torch.nn.functional.interpolate(target, size=(side, side), mode="bicubic").clamp(0, 1)
    return target + noise * torch.randn(target.shape, generator=generator), target


def by_reference(images: Tensor, target: Tensor, count: int) -> Tensor:
    """Contrast as torchmetrics computes it, at the coarsest scale SSIM as scikit-image does."""
    total = sum(EXPONENTS[:count])
    value = torch.ones(len(images))
    for scale in range(count):
        if scale == count - 1:
            part = torch.tensor([
                structural_similarity(  # type: ignore[no-untyped-call]
                    one[0].numpy(), other[0].numpy(), data_range=1.0, gaussian_weights=True,
                    sigma=1.5, use_sample_covariance=False,
                )
                for one, other in zip(images, target, strict=True)
            ])  # fmt: skip
        else:
            _, part = structural_similarity_index_measure(
                images, target, data_range=1.0, reduction="none", return_contrast_sensitivity=True
            )
        value = value * part ** (EXPONENTS[scale] / total)
        images = torch.nn.functional.avg_pool2d(images, 2)
        target = torch.nn.functional.avg_pool2d(target, 2)
    return value


@pytest.mark.parametrize(("side", "count"), [(16, 1), (32, 2), (64, 3), (96, 4), (176, 5)])
def test_agrees_with_the_reference_at_every_number_of_scales(side: int, count: int) -> None:
    images, target = pair(side)
    assert scales(side) == count
    expected = by_reference(images, target, count)
    assert bool((expected < 0.99).all())
    torch.testing.assert_close(similarity(images, target), expected.float(), rtol=1e-3, atol=1e-4)


def test_at_its_ends_it_is_each_part_alone() -> None:
    images, target = pair(64)
    torch.testing.assert_close(
        mix(alpha=0.0)(images, target), (images - target).abs().mean((1, 2, 3))
    )
    torch.testing.assert_close(mix(alpha=1.0)(images, target), 1 - similarity(images, target))


def test_the_default_is_the_papers() -> None:
    images, target = pair(64)
    expected = 0.84 * (1 - similarity(images, target)) + 0.16 * (images - target).abs().mean(
        (1, 2, 3)
    )
    torch.testing.assert_close(mix()(images, target), expected)


def test_opposite_images_still_pull_towards_the_target() -> None:
    _, target = pair(64)
    restored = (1 - target).requires_grad_()
    mix()(restored, target).sum().backward()
    assert restored.grad is not None
    assert bool((restored.grad != 0).any())


def test_images_too_small_for_the_window_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 11 pixels; got 10"):
        similarity(torch.rand(1, 1, 10, 12), torch.rand(1, 1, 10, 12))


def test_alone_it_is_what_structure_lacks() -> None:
    images, target = pair(64)
    torch.testing.assert_close(ms_ssim()(images, target), 1 - similarity(images, target))


@pytest.mark.parametrize("alpha", ["-0.1", "1.1", "nan"])
def test_alpha_is_a_share(alpha: str) -> None:
    with pytest.raises(SpecError, match=f"alpha must be from 0 to 1; got {alpha}"):
        LOSSES.build(f"mix(alpha={alpha})")
