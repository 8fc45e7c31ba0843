"""A network over a picture of any size: tiles that overlap, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor

_AT_ONCE = 16
"""Tiles that the network sees together."""

Place = tuple[slice, slice]


def tiled(network: Callable[[Tensor], Tensor], image: Tensor, side: int, overlap: int) -> Tensor:
    """Apply a network tile by tile.

    Where tiles overlap, their answers are mixed with weights that fall linearly towards each
    tile's edge and sum to 1. A picture of at most one tile is answered as it is; answers agree
    with those for the whole picture wherever the network sees no farther than the tile.

    Args:
        network: maps (n, C, h, w) to (n, D, h, w), h and w at most ``side``.
        image: (C, H, W) float32.
        side: of a tile in pixels.
        overlap: of neighbouring tiles in pixels, at most half a side.

    Returns:
        (D, H, W) float32, on the device that ``image`` is on.

    Raises:
        ValueError: the overlap is negative or over half a side.
    """
    if not 0 <= overlap <= side // 2:
        raise ValueError(f"overlap must be from 0 to half of side = {side}; got {overlap}")
    height, width = image.shape[-2:]
    rows, columns = _spans(height, side, overlap), _spans(width, side, overlap)
    places = ((row, column) for row in rows for column in columns)
    weights = _weights(height, rows, overlap), _weights(width, columns, overlap)
    mixed = image.new_zeros(0, height, width)
    for group in _groups(places):
        answers = network(torch.stack([image[:, row, column] for row, column in group]))
        if not len(mixed):
            mixed = image.new_zeros(answers.shape[1], height, width)
        for (row, column), answer in zip(group, answers, strict=True):
            weight = weights[0][row.start][:, None] * weights[1][column.start]
            mixed[:, row, column] += answer.to(image.device) * weight.to(image.device)
    return mixed


def _groups(places: Iterator[Place]) -> Iterator[list[Place]]:
    while group := list(islice(places, _AT_ONCE)):
        yield group


def _spans(length: int, side: int, overlap: int) -> list[slice]:
    """Return where tiles lie along an axis: evenly, the first and the last flush with its ends.

    >>> [(each.start, each.stop) for each in _spans(100, 64, 16)]
    [(0, 64), (36, 100)]
    """
    if length <= side:
        return [slice(0, length)]
    gaps = -(-(length - side) // max(1, side - overlap))
    starts = [round(number * (length - side) / gaps) for number in range(gaps + 1)]
    return [slice(start, start + side) for start in starts]


def _weights(length: int, spans: list[slice], overlap: int) -> dict[int, Tensor]:
    """Return each tile's weights along an axis, by where it starts; over tiles they sum to 1."""
    ramps = {span.start: _ramp(span.stop - span.start, overlap) for span in spans}
    total = torch.zeros(length)
    for span in spans:
        total[span] += ramps[span.start]
    return {span.start: ramps[span.start] / total[span] for span in spans}


def _ramp(side: int, overlap: int) -> Tensor:
    """Return (side,) weights that rise over the overlap to 1, and fall again."""
    nearer = torch.minimum(torch.arange(side), torch.arange(side - 1, -1, -1))
    return ((nearer + 0.5) / max(overlap, 0.5)).clamp(max=1.0)
