"""LPIPS: how different two images look to a network that was trained to recognise things.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018.
"""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedmend import weights as files
from fedmend.errors import DataError
from fedmend.plugins import LOSSES
from imputation.losses.base import Loss, weighted

_LEAST_SIDE = 32
_TINY = 1e-8
# What the paper's networks were trained on, per colour, for images in [-1, 1].
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)

_FEATURE = re.compile(r"(?:net\.slices?\.?\d+|features)\.(\d+\..+)")
_HEAD = re.compile(r"lins?\.?(\d+)\.model\.\d+\.weight")


class Net(NamedTuple):
    """Which activations of one of torchvision's networks are compared."""

    name: str
    """In torchvision."""
    ends: tuple[int, ...]
    """Index behind each layer whose output is compared, in the network's ``features``."""
    channels: tuple[int, ...]
    """Of those outputs."""


NETS: Mapping[str, Net] = types.MappingProxyType(
    {
        "alex": Net("alexnet", (2, 5, 8, 10, 12), (64, 192, 384, 256, 256)),
        "vgg": Net("vgg16", (4, 9, 16, 23, 30), (64, 128, 256, 512, 512)),
        "squeeze": Net(
            "squeezenet1_1", (2, 5, 8, 10, 11, 12, 13), (64, 128, 256, 384, 384, 512, 512)
        ),
    }
)


class Perceptual(nn.Module):
    """The network and the weights of its activations, both fixed.

    Args:
        net: which network.
        arrays: of the network's ``features``, by torchvision's names.
        heads: weight of each channel of each activation, (channels,) each.
    """

    def __init__(self, net: Net, arrays: Mapping[str, Tensor], heads: list[Tensor]) -> None:
        super().__init__()
        import torchvision.models

        with torch.device("meta"):  # no weights are drawn: the file has them all
            features = getattr(torchvision.models, net.name)(weights=None).features
        features = features[: net.ends[-1]]
        features.load_state_dict(dict(arrays), assign=True)
        starts = (0, *net.ends[:-1])
        self.parts = nn.ModuleList(
            features[start:end] for start, end in zip(starts, net.ends, strict=True)
        )
        self.heads = nn.ParameterList(head.reshape(-1, 1, 1) for head in heads)
        self.requires_grad_(requires_grad=False).eval()

    def forward(self, images: Tensor, target: Tensor) -> Tensor:
        """Return the distance of (B, C, H, W) in [0, 1] to the target, (B,), not negative.

        Grey is taken for three equal colours. Sides below 32 pixels, which the networks do not
        take, are enlarged to it.
        """
        total = torch.zeros(len(images), device=images.device)
        left, right = _entry(images), _entry(target)
        for part, head in zip(self.parts, self.heads, strict=True):
            left = part(left)
            with torch.no_grad():
                right = part(right)
            total = total + ((_unit(left) - _unit(right)) ** 2 * head).sum(1).mean((1, 2))
        return total


def _entry(images: Tensor) -> Tensor:
    images = images.expand(-1, 3, -1, -1)
    shorter = min(images.shape[2:])
    if shorter < _LEAST_SIDE:
        size = [round(side * _LEAST_SIDE / shorter) for side in images.shape[2:]]
        images = functional.interpolate(images, size=size, mode="bilinear", align_corners=False)
    shift, scale = (
        torch.tensor(each, device=images.device).reshape(3, 1, 1) for each in (_SHIFT, _SCALE)
    )
    return (2 * images - 1 - shift) / scale


def _unit(activation: Tensor) -> Tensor:
    """Return activations of unit length over their channels."""
    return activation / torch.sqrt(_TINY + (activation**2).sum(1, keepdim=True))


def _read(path: Path, net: Net) -> Perceptual:
    """Read a network and its heads.

    Raises:
        DataError: the file does not hold them.
    """
    found = files.read(path)
    features, heads = {}, {}
    for name, value in found.items():
        if match := _FEATURE.fullmatch(name):
            features[match[1]] = value.float()
        elif match := _HEAD.fullmatch(name):
            heads[int(match[1])] = value.float().flatten()
    for number, channels in enumerate(net.channels):
        head = heads.get(number)
        if head is None or len(head) != channels or not bool((head >= 0).all()):
            raise DataError(f"lin{number} must be {channels} weights that are not negative")
    try:
        return Perceptual(net, features, [heads[number] for number in range(len(net.channels))])
    except RuntimeError as error:  # names and shapes, as PyTorch puts it
        raise DataError(f"the features are not those of {net.name}", local=str(error)) from error


@functools.lru_cache(maxsize=2)
def _kept(path: Path, net: str, changed: int, size: int) -> Perceptual:
    """Return what ``_read`` returns; the loss is built anew for every batch."""
    del changed, size
    return _read(path, NETS[net])


@LOSSES.register("lpips")
def lpips(
    *,
    weights: Path,
    net: Literal["alex", "vgg", "squeeze"] = "alex",
    weight: float = 1.0,
) -> Loss:
    """Return LPIPS.

    Nothing is downloaded. The file holds the network and the paper's linear heads, by the names
    that the authors' package ``lpips`` gives them: once, where there is a network,
    ``safetensors.torch.save_model(lpips.LPIPS(net="alex"), "/srv/alex.safetensors")`` writes it.

    Args:
        weights: that file. The sites compute the loss: each needs it at this same path.
        net: the network that it is of: AlexNet, VGG-16 or SqueezeNet 1.1.
        weight: in a sum of losses, above 0: LPIPS is not meant to restore images by itself, but
            beside ``l1()`` or ``l2()``.

    Raises:
        ValueError: ``weight`` is out of range.
        DataError: the file is not there, or is not of this network.
    """
    try:
        status = weights.stat()
        network = _kept(weights, net, status.st_mtime_ns, status.st_size)
    except (OSError, DataError) as error:
        # One sentence, whatever is wrong: the path may be a coordinator's, and what there is on
        # a site's disk is none of its business.
        why = error.full() if isinstance(error, DataError) else str(error)
        raise DataError(
            f"its weights cannot be used; every site needs LPIPS's weights for {net} at the path "
            "given",
            local=f"{weights}: {why}",
        ) from error

    def distance(restored: Tensor, target: Tensor) -> Tensor:
        seen: Tensor = network.to(restored.device)(restored, target)
        return seen

    return weighted(distance, weight)
