"""Swin WavePaint, the encoder-decoder of *Decentralized Noise Handling in Medical Imaging* (2025).

A noise predictor draws a map of what is to be replaced; a chain of Swin WaveMix modules
(:mod:`imputation.denoisers.wavemix`) then mends the image. The structure is the published one.
What differs, and why:

- **Any side.** Layer normalisation is over channels and pixels, as published, but its affine
  weights are per channel, and images are padded to whole windows. The published one takes one
  size alone.
- **The modules see the map**, and the noise's strength, beside the image; each refines both, so
  that the map in the end draws on all that the network sees, not on 5 x 5 pixels.
- **The map replaces.** Published is input + map x output, which is right where the region was
  zeroed. Here each module blends (1 - map) x (input + residual) + map x reconstruction: of what
  was there, up to 8 pixels across, the reconstruction sees next to nothing, and the residual
  takes additive noise away outside.
- **Means at several scales** stand at the start of both branches, pixels under the map left out
  (as in :class:`imputation.denoisers.layers.Head`), so smoothing and filling need not be learned
  from nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from torch import Tensor, nn

from fedmend.plugins import DENOISERS
from imputation.denoisers.base import Denoiser, Restored
from imputation.denoisers.layers import cropped, padded, roughness
from imputation.denoisers.predictor import NoisePredictor
from imputation.denoisers.wavemix import Shape, WaveMixModule


class Size(NamedTuple):
    """How much there is of what."""

    modules: int
    blocks: int
    """In each module."""
    shape: Shape


SIZES = {
    "tiny": Size(2, 2, Shape(width=32, heads=1, window=4)),
    "small": Size(3, 3, Shape(width=80, heads=2, window=8)),
    "base": Size(4, 4, Shape(width=160, heads=4, window=8)),
}
"""Parameters, passing LL, grey: 0.18, 2.1 and 13.9 million; the published one has 6 to 18."""


@DENOISERS.register("wavepaint")
def wavepaint(
    channels: int,
    *,
    size: Literal["tiny", "small", "base"] = "tiny",
    ll: Literal["pass", "swin"] = "pass",
    weights: Path | None = None,
) -> Denoiser:
    """Return a Swin WavePaint network.

    Args:
        channels: of the images, 1 or 3.
        size: ``tiny`` for a CPU, ``small``, or ``base`` for an accelerator.
        ll: what becomes of the Haar transform's coarse band: it passes unchanged, as in the
            paper, or has Swin blocks of its own, as in the published code's latest variant.
        weights: a file on the coordinator's machine to start from: an imputer of an earlier run
            with the same spec; the published ones are of another network.
    """
    model = WavePaint(channels, SIZES[size], deep_ll=ll == "swin")
    return model.starting_from("wavepaint", weights)


class WavePaint(Denoiser):
    """A noise predictor and a chain of modules, each of which mends what the one before left."""

    def __init__(self, channels: int, size: Size, *, deep_ll: bool) -> None:
        super().__init__()
        self.multiple = size.shape.multiple
        self.predictor = NoisePredictor(channels)
        self.chain = nn.ModuleList(
            WaveMixModule(channels, size.shape, size.blocks, deep_ll=deep_ll, first=number == 0)
            for number in range(size.modules)
        )

    def forward(self, noisy: Tensor) -> Restored:
        """Reconstruct (B, C, H, W) float32 in [0, 1]; H and W of any size."""
        image = padded(noisy, self.multiple)
        rough = roughness(image)
        maps = self.predictor(image, rough)
        mended = image
        for module in self.chain:
            mended, maps = module(image, mended, maps, rough)
        return cropped(Restored(mended, maps.hole, maps.sigma(rough)), *noisy.shape[-2:])
