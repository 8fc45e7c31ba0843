"""The classifiers of torchvision's model zoo, with normalisation that federates.

Each has the published architecture but for two things. Batch normalisation becomes group
normalisation, in as many groups as divide the channels, 32 at most (see
:data:`classification.backbones.base.Backbone`). Dropout and stochastic depth are off: with a few
local epochs a round, the average over the sites regularises already.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from classification.backbones.base import Standardise, check_shape
from classification.backbones.published import fitted
from fedmend import weights as files
from fedmend.errors import DataError
from fedmend.plugins import BACKBONES

_MOST_GROUPS = 32


class Kind(NamedTuple):
    """What there is to know of a network beyond its name in torchvision."""

    stem: str
    """Path of the first convolution."""
    head: str
    """Path of the last linear layer."""
    least: int = 16
    """Smallest side in pixels that it can take; smaller images are enlarged to it."""
    options: Mapping[str, Any] = types.MappingProxyType({})
    """Of torchvision's factory."""
    loud: bool = False
    """Whether the head is drawn with a spread that goes by the number of classes: with few of
    them the first logits are large, and the first loss too. It is then drawn as others are."""


# The last normalisation of each residual block starts at zero, so that the block starts as the
# identity (Goyal et al., "Accurate, Large Minibatch SGD", 2017).
_RESNET = Kind("conv1", "fc", options=types.MappingProxyType({"zero_init_residual": True}))
_DENSENET = Kind("features.conv0", "classifier", least=32)
_EFFICIENTNET = Kind("features.0.0", "classifier.1", loud=True)

KINDS: Mapping[str, Kind] = types.MappingProxyType(
    {
        # He et al., "Deep Residual Learning for Image Recognition", CVPR 2016.
        "resnet18": _RESNET,
        "resnet34": _RESNET,
        "resnet50": _RESNET,
        # Huang et al., "Densely Connected Convolutional Networks", CVPR 2017.
        "densenet121": _DENSENET,
        "densenet169": _DENSENET,
        # Tan and Le, "EfficientNet: Rethinking Model Scaling", ICML 2019.
        "efficientnet_b0": _EFFICIENTNET,
        "efficientnet_b1": _EFFICIENTNET,
        # Howard et al., "Searching for MobileNetV3", ICCV 2019.
        "mobilenet_v3_small": Kind("features.0.0", "classifier.3"),
        # Liu et al., "A ConvNet for the 2020s", CVPR 2022.
        "convnext_tiny": Kind("features.0.0", "classifier.2", least=32),
        # Liu et al., "Swin Transformer", ICCV 2021.
        "swin_t": Kind("features.0.0", "head"),
    }
)
"""The networks by their names, which are torchvision's too."""


class AtLeast(nn.Module):
    """Enlarges images that are too small for a network; leaves others as they are.

    Args:
        side: smallest side in pixels.
    """

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side = side

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, C, H, W) with H and W at least ``side``, their ratio kept."""
        height, width = images.shape[2:]
        shorter = min(height, width)
        if shorter >= self.side:
            return images
        size = (round(height * self.side / shorter), round(width * self.side / shorter))
        return functional.interpolate(images, size=size, mode="bilinear", align_corners=False)


class Published(nn.Sequential):
    """A network that starts from published weights; the coordinator calls ``pretrain``.

    Args:
        entry: what images pass first.
        network: that the weights are of.
        name: of the network.
        weights: the file.
    """

    def __init__(self, entry: nn.Module, network: nn.Module, name: str, weights: Path) -> None:
        super().__init__(entry, network)
        self.name = name
        self.weights = weights

    def pretrain(self) -> frozenset[str]:
        """Take up the file's weights; return the names of the arrays that they set.

        Raises:
            DataError: the file cannot be read, or is of another network.
        """
        network, kind = self[1], KINDS[self.name]
        try:
            arrays = fitted(files.read(self.weights), network, stem=kind.stem, head=kind.head)
        except DataError as error:
            raise DataError(
                f"{self.name}: {error}; a state dict of torchvision's {self.name} is expected",
                local=error.local or str(self.weights),
            ) from error
        network.load_state_dict(arrays, strict=False)
        return frozenset(f"1.{name}" for name in arrays)


def groups(channels: int) -> int:
    """Return in how many groups channels are normalised: the largest divisor up to 32.

    >>> groups(64), groups(40), groups(17)
    (32, 20, 17)
    """
    return max(number for number in range(1, _MOST_GROUPS + 1) if channels % number == 0)


def _federated(network: nn.Module) -> None:
    """Take everything out of a network that depends on the batch, or does not average."""
    from torchvision.ops import StochasticDepth

    for path, module in list(network.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            network.set_submodule(path, _group_norm(module))
        elif isinstance(module, (nn.Dropout, StochasticDepth)):
            module.p = 0.0
        else:
            for name, buffer in list(module.named_buffers(recurse=False)):
                # Swin's table of positions: whole numbers, the same at every site.
                module.register_buffer(name, buffer, persistent=False)


def _group_norm(batch: nn.BatchNorm2d) -> nn.GroupNorm:
    """Return group normalisation with the affine weights that the network has initialised."""
    norm = nn.GroupNorm(groups(batch.num_features), batch.num_features, eps=batch.eps)
    norm.load_state_dict({"weight": batch.weight, "bias": batch.bias})
    return norm


def _restem(network: nn.Module, path: str, channels: int) -> None:
    """Give a network a fresh first convolution for images of so many channels."""
    old = network.get_submodule(path)
    assert isinstance(old, nn.Conv2d)
    assert isinstance(old.padding, tuple)
    stem = nn.Conv2d(
        channels,
        old.out_channels,
        kernel_size=(old.kernel_size[0], old.kernel_size[1]),
        stride=(old.stride[0], old.stride[1]),
        padding=(old.padding[0], old.padding[1]),
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(stem.weight, mode="fan_out", nonlinearity="relu")
    if stem.bias is not None:
        nn.init.zeros_(stem.bias)
    network.set_submodule(path, stem)


def build(name: str, channels: int, classes: int, weights: Path | None) -> nn.Module:
    """Build one of the networks of :data:`KINDS`; see the factory that it is registered by."""
    import torchvision.models

    check_shape(channels, classes)
    kind = KINDS[name]
    network = getattr(torchvision.models, name)(weights=None, num_classes=classes, **kind.options)
    if channels != 3:
        _restem(network, kind.stem, channels)
    if kind.loud:
        network.get_submodule(kind.head).reset_parameters()
    _federated(network)
    entry = nn.Sequential(Standardise(), AtLeast(kind.least))
    if weights is None:
        return nn.Sequential(entry, network)
    return Published(entry, network, name, weights)


def _register(name: str) -> None:
    @BACKBONES.register(name)
    def factory(channels: int, classes: int, *, weights: Path | None = None) -> nn.Module:
        """Build a network of :data:`KINDS`.

        Args:
            channels: of the images, 1 (grey) or 3 (RGB).
            classes: number of logits.
            weights: a file on the coordinator's machine to start from: a state dict of
                torchvision's network of this name (``.pth``, or ``.safetensors``), or a
                classifier of an earlier run. See
                :func:`classification.backbones.published.fitted` for what becomes of it; absent:
                the run's seed draws the weights.
        """
        return build(name, channels, classes, weights)


for _name in KINDS:
    _register(_name)
