from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from classification.backbones.resnet import resnet18


@pytest.mark.parametrize(("channels", "parameters"), [(1, 11_171_266), (3, 11_177_538)])
def test_is_the_published_network(channels: int, parameters: int) -> None:
    """torchvision's 11,689,512 less the 1,000 classes' head, plus that of two classes."""
    model = resnet18(channels, 2)
    assert sum(each.numel() for each in model.parameters()) == parameters
    stem = next(each for each in model.modules() if isinstance(each, nn.Conv2d))
    assert (stem.in_channels, stem.kernel_size, stem.stride) == (channels, (7, 7), (2, 2))


def test_a_grey_stem_starts_as_torchvisions_does() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        stem = next(each for each in resnet18(1, 2).modules() if isinstance(each, nn.Conv2d))
    assert float(stem.weight.detach().std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


def test_torchvision_is_imported_only_to_build_one() -> None:
    code = (
        "import sys; from fedmend.plugins import BACKBONES; BACKBONES.names(); "
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
