"""Free-form occlusions: hair, wires, pen marks and lost readout, drawn as thick strokes."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmend.plugins import NOISES
from fedmend.spec import Range
from imputation.noise.base import Corrupted, Noise, untouched
from imputation.noise.fill import Fill, filled

if TYPE_CHECKING:
    from PIL import ImageDraw

IDENTITY = "strokes(severity=0)"

_STROKES, _SEGMENTS = 12, 8
_TURN = 0.4 * math.pi
_MOST = 0.9


class _Size(NamedTuple):
    """Lengths are in units of the image's side, sqrt(H * W)."""

    share: Range
    """Of the image's pixels that is to be covered, at severity 1."""
    width: Range
    """Of one stroke."""
    length: Range
    """Of one segment."""


SIZES = {
    "thin": _Size(share=Range(0.02, 0.10), width=Range(0.02, 0.05), length=Range(0.08, 0.25)),
    "medium": _Size(share=Range(0.10, 0.25), width=Range(0.05, 0.12), length=Range(0.08, 0.25)),
    "thick": _Size(share=Range(0.25, 0.40), width=Range(0.12, 0.25), length=Range(0.10, 0.35)),
}


@NOISES.register("strokes")
def strokes(
    *,
    size: Literal["thin", "medium", "thick"] = "medium",
    severity: float = 1.0,
    fill: Fill = "zero",
) -> Noise:
    """Return noise that paints random brush strokes over an image, over all channels alike.

    A stroke starts anywhere, walks up to 8 straight segments with round joints and turns by
    U(-0.4 pi, 0.4 pi) at each; it is folded back at the image's borders. Strokes are added,
    segment by segment, until they cover the share s of the pixels that was drawn for the image
    (so the last segment may go beyond it). With lengths in units of sqrt(H * W):

    ======  ===============  ================  =================
    size    s, times         width             segment's length
    ======  ===============  ================  =================
    thin    U(0.02, 0.10)    U(0.02, 0.05)     U(0.08, 0.25)
    medium  U(0.10, 0.25)    U(0.05, 0.12)     U(0.08, 0.25)
    thick   U(0.25, 0.40)    U(0.12, 0.25)     U(0.10, 0.35)
    ======  ===============  ================  =================

    Args:
        size: the row of the table.
        severity: factor of the covered share s, which never exceeds 0.9; 0 is identity.
        fill: what replaces the pixels: 0, 1, the mean of each of the image's channels, or a
            grey level drawn per image from U(0, 1).

    Raises:
        ValueError: ``severity`` is negative or not finite.

    Source: the free-form masks of Yu et al., Free-Form Image Inpainting with Gated Convolution
    (ICCV 2019), and the medium and thick masks of Suvorov et al., Resolution-robust Large Mask
    Inpainting with Fourier Convolutions (WACV 2022), here steered by the covered share.
    """
    if not 0 <= severity < math.inf:
        raise ValueError(f"severity must be a finite number of at least 0; got {severity:g}")
    return Strokes(size, severity, fill)


@dataclass(frozen=True)
class Strokes:
    """Covers a drawn share of the pixels; ``hole`` says which, ``sigma`` is 0."""

    size: Literal["thin", "medium", "thick"]
    severity: float
    fill: Fill

    def __call__(self, image: Tensor, generator: torch.Generator) -> Corrupted:
        """Corrupt (C, H, W) in [0, 1]."""
        if self.severity == 0:
            return untouched(image)
        size = SIZES[self.size]
        drawn = _uniforms(2, generator)
        share = min(_MOST, self.severity * size.share.at(float(drawn[0])))
        height, width = image.shape[-2:]
        covered = _drawn_mask(height, width, size, share, generator)
        hole = torch.from_numpy(covered).to(image)[None]
        return filled(image, hole, self.fill, float(drawn[1]))


def _uniforms(count: int, generator: torch.Generator) -> npt.NDArray[np.float64]:
    drawn = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64)
    return drawn.cpu().numpy()


def _drawn_mask(
    height: int, width: int, size: _Size, share: float, generator: torch.Generator
) -> npt.NDArray[np.bool_]:
    """Draw strokes until they cover ``share`` of the pixels; return (H, W)."""
    from PIL import Image, ImageDraw

    mask = Image.new("L", (width, height))
    pen = ImageDraw.Draw(mask)
    left = share * height * width
    while True:
        for points, thickness in _walks(height, width, size, generator):
            for start, end in itertools.pairwise(points):
                _draw_segment(pen, start, end, thickness)
                if mask.histogram()[-1] >= left:
                    return np.asarray(mask) > 0


def _walks(
    height: int, width: int, size: _Size, generator: torch.Generator
) -> list[tuple[list[tuple[float, float]], int]]:
    """Return polylines, as points (x, y) in pixels, and the width of each in pixels."""
    side = math.sqrt(height * width)
    shape = (_STROKES, _SEGMENTS)
    head = _uniforms(_STROKES * 5, generator).reshape(5, _STROKES)
    turn, reach = _uniforms(_STROKES * _SEGMENTS * 2, generator).reshape(2, *shape)
    heading = 2 * math.pi * head[2, :, None] + np.cumsum(_TURN * (2 * turn - 1), axis=1)
    length = side * (size.length.low + (size.length.high - size.length.low) * reach)
    across = _folded(head[0] * width, length * np.cos(heading), width)
    down = _folded(head[1] * height, length * np.sin(heading), height)
    thickness = side * (size.width.low + (size.width.high - size.width.low) * head[3])
    segments = 1 + np.floor(head[4] * _SEGMENTS).astype(int)
    return [
        (list(zip(x[: count + 1], y[: count + 1], strict=True)), max(1, round(thick)))
        for x, y, thick, count in zip(
            across.tolist(), down.tolist(), thickness.tolist(), segments.tolist(), strict=True
        )
    ]


def _folded(
    start: npt.NDArray[np.float64], steps: npt.NDArray[np.float64], extent: int
) -> npt.NDArray[np.float64]:
    """Walk from ``start``, mirrored at 0 and ``extent``: (strokes, segments + 1)."""
    free = start[:, None] + np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1)
    return np.asarray(extent - np.abs(extent - np.mod(free, 2 * extent)))


def _draw_segment(
    pen: ImageDraw.ImageDraw, start: tuple[float, float], end: tuple[float, float], thickness: int
) -> None:
    """Draw a line whose ends are half discs."""
    pen.line((start, end), fill=255, width=thickness)
    radius = thickness / 2
    for x, y in (start, end):
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
