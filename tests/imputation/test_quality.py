import itertools

import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio
from torch import Tensor
from torchmetrics.functional.image import structural_similarity_index_measure

from fedmend.sums import merge, ratio
from imputation.quality import KEYS, psnr, quality


def pairs(count: int, channels: int = 1, side: int = 24) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(count)
    truth = torch.rand(count, channels, side, side + 3, generator=generator)
    noise = 0.1 * torch.randn(truth.shape, generator=generator)
    return (truth + noise).clamp(0, 1), truth


@pytest.mark.parametrize("channels", [1, 3])
def test_sites_merge_to_what_one_pool_gives(channels: int) -> None:
    images, truth = pairs(150, channels)
    cuts = [0, 5, 5, 6, 80, 150]  # uneven, and one site without images
    sites = [
        quality(images[start:end], truth[start:end]) for start, end in itertools.pairwise(cuts)
    ]
    merged = merge(sites)
    likeness = structural_similarity_index_measure(images, truth, data_range=1.0)
    expected = {
        "psnr": float(psnr(images, truth).mean()),
        "ssim": float(likeness),  # type: ignore[arg-type]
        "l1": float((images - truth).abs().mean()),
        "l2": float((images - truth).square().mean()),
    }
    assert merged["n"].tolist() == [150]
    for key, value in expected.items():
        assert ratio(merged, key, "n") == pytest.approx(value, rel=1e-5)


def test_keys_and_shapes_are_the_same_without_images() -> None:
    empty, some = quality(*pairs(0)), quality(*pairs(2))
    assert list(empty) == list(some) == list(KEYS)
    for sums in (empty, some):
        assert all(value.shape == (1,) and value.dtype == np.float64 for value in sums.values())
    assert all(value.tolist() == [0] for value in empty.values())


@pytest.mark.parametrize("channels", [1, 3])
def test_psnr_is_scikit_images(channels: int) -> None:
    images, truth = pairs(6, channels)
    expected = [
        peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
            one.double().numpy(), other.double().numpy(), data_range=1
        )
        for one, other in zip(truth, images, strict=True)
    ]
    assert psnr(images, truth).tolist() == pytest.approx(expected, rel=1e-9)


def test_psnr_by_hand() -> None:
    assert psnr(torch.full((1, 1, 4, 4), 0.1), torch.zeros(1, 1, 4, 4)).tolist() == pytest.approx(
        [20.0]
    )
    assert psnr(torch.zeros(0, 1, 4, 4), torch.zeros(0, 1, 4, 4)).shape == (0,)


def test_equal_images_stay_finite() -> None:
    _, truth = pairs(3)
    sums = quality(truth, truth)
    assert sums["psnr"].tolist() == [300]
    assert sums["ssim"].tolist() == pytest.approx([3])
    assert sums["l1"].tolist() == sums["l2"].tolist() == [0]


def test_gradients_are_not_kept() -> None:
    images, truth = pairs(2)
    assert quality(images.requires_grad_(), truth)["n"].tolist() == [2]


def test_refuses_what_it_cannot_measure() -> None:
    with pytest.raises(ValueError, match=r"shapes differ: \(1, 1, 20, 20\) and \(1, 1, 20, 21\)"):
        quality(torch.zeros(1, 1, 20, 20), torch.zeros(1, 1, 20, 21))
    with pytest.raises(ValueError, match="at least 16 pixels; got 15 x 40"):
        quality(torch.zeros(1, 1, 15, 40), torch.zeros(1, 1, 15, 40))
    assert np.isfinite(quality(torch.zeros(1, 1, 16, 16), torch.ones(1, 1, 16, 16))["ssim"]).all()
