"""ResNet-18, with normalisation that federates."""

from __future__ import annotations

from torch import nn

from classification.backbones.base import Standardise, check_shape
from fedmend.plugins import BACKBONES

_GROUPS = 32


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(_GROUPS, channels)


@BACKBONES.register("resnet18")
def resnet18(channels: int, classes: int) -> nn.Module:
    """Build torchvision's ResNet-18 with group normalisation and fresh weights.

    About 11.2 million parameters. The last normalisation of each block starts at zero, so that
    each block starts as the identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
    Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.

    Args:
        channels: of the images, 1 (grey) or 3 (RGB).
        classes: number of logits.
    """
    from torchvision.models import resnet

    check_shape(channels, classes)
    network = resnet.resnet18(
        weights=None, num_classes=classes, norm_layer=_group_norm, zero_init_residual=True
    )
    if channels != 3:
        stem = nn.Conv2d(channels, 64, kernel_size=7, stride=2, padding=3, bias=False)
        nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
        network.conv1 = stem
    return nn.Sequential(Standardise(), network)
