from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from classification.backbones import zoo
from classification.backbones.zoo import AtLeast
from fedmend.plugins import BACKBONES


def stem(model: nn.Module) -> nn.Conv2d:
    return next(each for each in model.modules() if isinstance(each, nn.Conv2d))


@pytest.mark.parametrize(("channels", "parameters"), [(1, 11_171_266), (3, 11_177_538)])
def test_resnet18_is_the_published_network(channels: int, parameters: int) -> None:
    """torchvision's 11,689,512 less the 1,000 classes' head, plus that of two classes."""
    model = BACKBONES.build("resnet18", channels, 2)
    assert sum(each.numel() for each in model.parameters()) == parameters
    first = stem(model)
    assert (first.in_channels, first.kernel_size, first.stride) == (channels, (7, 7), (2, 2))


def test_a_grey_stem_starts_as_he_et_al_say() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first = stem(BACKBONES.build("resnet18", 1, 2))
    assert float(first.weight.detach().std()) == pytest.approx((2 / (64 * 49)) ** 0.5, rel=0.05)


def test_groups_are_as_many_as_divide_the_channels() -> None:
    model = BACKBONES.build("mobilenet_v3_small", 1, 2)
    norms = [each for each in model.modules() if isinstance(each, nn.GroupNorm)]
    assert len(norms) == 34
    for norm in norms:
        larger = range(norm.num_groups + 1, 33)
        assert norm.num_channels % norm.num_groups == 0
        assert not [number for number in larger if norm.num_channels % number == 0]
        assert norm.eps == 1e-3  # the published one


def test_residual_blocks_start_as_the_identity() -> None:
    model = BACKBONES.build("resnet18", 1, 2)
    zero = [key for key, each in model.named_parameters() if "bn" in key and not each.any()]
    assert sum(key.endswith("bn2.weight") for key in zero) == 8


def test_only_images_that_are_too_small_are_enlarged() -> None:
    small, large = torch.rand(1, 1, 16, 24), torch.rand(1, 1, 32, 33)
    assert AtLeast(32)(small).shape == (1, 1, 32, 48)
    assert AtLeast(32)(large) is large


@pytest.mark.parametrize("name", sorted(zoo.KINDS))
def test_the_least_side_is_what_the_network_takes(name: str) -> None:
    import torchvision.models

    kind = zoo.KINDS[name]
    with torch.device("meta"):
        network = getattr(torchvision.models, name)(weights=None).eval()
        network(torch.zeros(1, 3, kind.least, kind.least))
        if kind.least > 16:
            with pytest.raises(RuntimeError):
                network(torch.zeros(1, 3, 16, 16))


def test_torchvision_is_imported_only_to_build_one() -> None:
    code = (
        "import sys; from fedmend.plugins import BACKBONES; BACKBONES.names(); "
        "sys.exit('torchvision' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
