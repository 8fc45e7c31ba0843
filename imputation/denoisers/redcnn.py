"""RED-CNN (Chen et al., "Low-dose CT with a residual encoder-decoder CNN", IEEE TMI 2017)."""

from __future__ import annotations

import itertools
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from fedmend.plugins import DENOISERS
from imputation.denoisers.adopted import Adopted, Fit, quietened
from imputation.denoisers.base import Denoiser

_LAYERS = 5
_KERNEL = 5
_LEAST = 32


@DENOISERS.register("redcnn")
def redcnn(channels: int, *, width: int = 32, weights: Path | None = None) -> Denoiser:
    """Return a RED-CNN, beside the noise predictor that answers for the maps.

    Args:
        channels: of the images, 1 or 3.
        width: feature channels; 96 in the paper.
        weights: a file on the coordinator's machine to start from: an imputer of an earlier run
            with the same spec, or its network alone.

    Raises:
        ValueError: ``width`` below 1.
    """
    if width < 1:
        raise ValueError(f"width must be at least 1; got {width}")
    network = ResidualEncoderDecoder(channels, width)
    quietened(network.decode[-1])
    return Adopted(channels, network, fit=Fit(1, _LEAST)).starting_from("redcnn", weights)


class ResidualEncoderDecoder(nn.Module):
    """Five convolutions of 5 x 5 without padding, and five transposed ones back.

    Shortcuts join the outputs of the second and the fourth convolution, and the image, to the
    layers of the same size on the way back. The published network ends in a ReLU; here the
    answer is clipped where it is used, which has the same effect and lets training correct
    pixels that fall below 0.
    """

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        ends = [channels] + [width] * _LAYERS
        self.encode = nn.ModuleList(
            nn.Conv2d(here, there, _KERNEL) for here, there in itertools.pairwise(ends)
        )
        back = ends[::-1]
        self.decode = nn.ModuleList(
            nn.ConvTranspose2d(here, there, _KERNEL) for here, there in itertools.pairwise(back)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Reconstruct (B, C, H, W), sides at least 21."""
        shortcuts, features = [image], image
        for number, layer in enumerate(self.encode, 1):
            features = functional.relu(layer(features))
            if number in (2, 4):
                shortcuts.append(features)
        for number, layer in enumerate(self.decode, 1):
            features = layer(features)
            if number % 2:
                features = features + shortcuts.pop()
            if number < _LAYERS:
                features = functional.relu(features)
        return features
