"""From a mended picture back to stored values: the grey scale pipeline, inverted numerically."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from pydicom import Dataset

from client_app.dicom.grey import modality, scale
from client_app.dicom.layout import Layout
from client_app.dicom.padding import padding
from client_app.dicom.stored import Stored
from client_app.dicom.window import Window
from client_app.mending.unmendable import NOT_MONOTONE, Unmendable

Shown = npt.NDArray[np.float32]

_SAME = 2**-17
"""Less than half a step of 16 bits: floating point values that are shown so alike stay."""
_HALVINGS = 64


class Ruler(NamedTuple):
    """How grey values are shown, whatever other values the picture has."""

    window: Window
    """What shows the source's pixels as they are shown, and any other by the same scale."""
    own_range: tuple[float, float] | None
    """Smallest and largest value in units where the picture's own range is what is shown."""


def ruler(dataset: Dataset, frame: int, pixels: Stored, claimed: Layout, window: Window) -> Ruler:
    """Return the scale that a frame is shown with.

    Where the header has no window, pictures are shown from their smallest to their largest value.
    A mended one has others, so the source's must be held fast.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
        pixels: its stored values, (H, W).
        claimed: the header's claims.
        window: which part of the grey scale is asked for.

    Raises:
        Untrusted: the tables that show it cannot be trusted.
        Unmendable: its range cannot be told in units.
    """
    inside = pixels[~padding(dataset, pixels, claimed)]
    if inside.size == 0:
        return Ruler(window, None)
    ends = np.array([inside.min(), inside.max()])
    if not _relative(dataset, frame, ends, claimed, window):
        return Ruler(window, None)
    to_units = modality(dataset, frame, claimed)
    if not to_units.usable or to_units.table is not None:
        raise Unmendable(NOT_MONOTONE, local="no window, and no units to give one in")
    low, high = sorted(to_units(ends.astype(np.float64)).tolist())
    if low == high:
        return Ruler(window, None)  # flat: shown as nothing at all
    return Ruler(Window(0, low / 2 + high / 2, high - low), (low, high))


def _relative(dataset: Dataset, frame: int, ends: Stored, claimed: Layout, window: Window) -> bool:
    """Say whether what is shown of a value depends on which others the picture has."""
    both = scale(dataset, frame, ends, np.ones(2, bool), claimed, window)
    alone = [
        scale(dataset, frame, ends[at : at + 1], np.ones(1, bool), claimed, window)[0]
        for at in (0, 1)
    ]
    return bool(ends[0] != ends[1]) and both.tolist() != alone


def inverted(
    dataset: Dataset, frame: int, pixels: Stored, mended: Shown, claimed: Layout, window: Window
) -> tuple[Stored, Shown]:
    """Return stored values for a mended grey picture, and what is shown of them.

    Of the values that are shown nearest to a mended pixel, it gets the one nearest to what it
    was; so a pixel mended by less than half a step stays. Padding stays.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
        pixels: its stored values, (H, W), native byte order.
        mended: (H, W) in [0, 1].
        claimed: the header's claims.
        window: a ruler's: what is shown of a value must not depend on the others.

    Raises:
        Untrusted: the tables that show it cannot be trusted.
        Unmendable: the scale is not monotone.
    """
    inside = ~padding(dataset, pixels, claimed)
    if pixels.dtype.itemsize <= 2:
        values = _by_table(dataset, frame, pixels, mended, claimed, window)
    else:
        values = _by_halving(dataset, frame, pixels, mended, claimed, window)
    values = np.where(inside, values, pixels).astype(pixels.dtype)
    return values, scale(dataset, frame, values, inside, claimed, window)


def _by_table(
    dataset: Dataset, frame: int, pixels: Stored, mended: Shown, claimed: Layout, window: Window
) -> Stored:
    """Look up in what is shown of every value that the bits can hold."""
    low = -(2 ** (claimed.stored - 1)) if claimed.signed else 0
    every = np.arange(low, low + 2**claimed.stored)
    candidates = every[~padding(dataset, every, claimed)]
    if candidates.size == 0:
        return pixels
    shown = scale(dataset, frame, candidates, np.ones(candidates.size, bool), claimed, window)
    steps = np.diff(shown)
    if (steps < 0).any() and (steps > 0).any():
        raise Unmendable(NOT_MONOTONE, local="its look-up table rises and falls")
    levels, level_of = np.unique(shown, return_inverse=True)
    first = np.full(levels.size, candidates.size)
    last = np.zeros(levels.size, first.dtype)
    at = np.arange(candidates.size)
    np.minimum.at(first, level_of, at)
    np.maximum.at(last, level_of, at)
    # Where a sigmoid is nearly flat, levels are so close that their middles need more bits.
    between = (levels[:-1].astype(np.float64) + levels[1:]) / 2
    nearest = np.searchsorted(between, mended)
    was = np.clip(np.searchsorted(candidates, pixels), 0, candidates.size - 1)
    found: Stored = candidates[np.clip(was, first[nearest], last[nearest])]
    return found


def _by_halving(
    dataset: Dataset, frame: int, pixels: Stored, mended: Shown, claimed: Layout, window: Window
) -> Stored:
    """Bisect between the picture's smallest and largest value: wide integers and floats."""
    inside = ~padding(dataset, pixels, claimed)
    kept = pixels[inside]
    if kept.size == 0:
        return pixels
    _check_monotone(dataset, frame, kept, claimed, window)

    def show(values: npt.NDArray[Any]) -> Shown:
        return scale(dataset, frame, values, np.ones(values.shape, bool), claimed, window)

    asked = inside & (np.abs(show(np.where(inside, pixels, kept[0])) - mended) > _SAME)
    target = mended[asked]
    ends = np.array([kept.min(), kept.max()], np.float64)
    if np.diff(show(ends)) < 0:
        ends = ends[::-1]
    dark, bright = (np.full(target.shape, end) for end in ends)
    for _ in range(_HALVINGS):
        middle = dark / 2 + bright / 2
        below = show(middle) < target
        dark, bright = np.where(below, middle, dark), np.where(below, bright, middle)
    made = dark / 2 + bright / 2
    values = pixels.copy()
    values[asked] = made if claimed.floating else np.rint(made)
    return values


def _check_monotone(
    dataset: Dataset, frame: int, kept: Stored, claimed: Layout, window: Window
) -> None:
    """Refuse tables, which these pixels should not have; slope and window are monotone."""
    if "VOILUTSequence" in dataset or "ModalityLUTSequence" in dataset:
        raise Unmendable(NOT_MONOTONE, local="a table for pixels of more than 16 bits")
    probes = np.linspace(float(kept.min()), float(kept.max()), 257)
    shown = scale(dataset, frame, probes, np.ones(probes.size, bool), claimed, window)
    steps = np.diff(shown)
    if (steps < 0).any() and (steps > 0).any():
        raise Unmendable(NOT_MONOTONE)
