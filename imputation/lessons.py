"""What an imputer learns from at one site: clean images and noise, or noisy images alone."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmend import randomness
from fedmend.phase import Batch
from fedmend.settings import Settings
from fedmend.site import Site, View
from fedmend.wire import Task
from imputation.noise import mixture
from imputation.noise.base import Noise

Rows = npt.NDArray[np.int64]


def clean_rows(view: View) -> Rows:
    """Return the rows whose images are held to be clean: what an imputer can learn from."""
    return np.flatnonzero(view.clean)


def noisy_rows(view: View, settings: Settings) -> Rows:
    """Return the rows that are learnt from although they are noisy, or nobody can tell."""
    never = settings.imputation.self_supervised == "never"
    missing = settings.imputation.self_supervised == "missing"
    if never or (missing and view.clean.any()):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(~view.clean)


def batches(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Yield a round's batches: in each epoch as many as all of the site's images would fill.

    Clean images are gone through as often as that takes, with fresh noise each time: the less
    there is to learn from, the more noise it is seen under. Where noisy images are learnt from
    too, every second batch is of them.
    """
    view = site.view("train")
    size = settings.imputation.batch_size
    steps = settings.imputation.epochs * math.ceil(len(view.uids) / size)
    noise = mixture.from_spec(settings.imputer_noise)
    why = (task.seed, site.name, task.round)
    pairs = [(clean_rows(view), corrupted), (noisy_rows(view, settings), halved)]
    kinds = itertools.cycle(
        (_endless(rows, size, f"imputer-order-{make.__name__}", *why), make)
        for rows, make in pairs
        if len(rows)
    )
    for step, (rows, make) in enumerate(itertools.islice(kinds, steps)):
        yield make(view, next(rows), noise, "imputer-noise", *why, step)


def _endless(rows: Rows, size: int, *why: str | int) -> Iterator[Rows]:
    """Yield ``size`` rows at a time, all of them before any comes again."""
    left = np.empty(0, dtype=np.int64)
    for cycle in itertools.count():
        order = randomness.numpy_generator(*why, cycle).permutation(len(rows))
        left = np.concatenate([left, rows[order]])
        while len(left) >= size:
            yield left[:size]
            left = left[size:]


def corrupted(view: View, rows: Rows, noise: Noise, *why: str | int) -> Batch:
    """Return clean images and what the noise makes of them, seeded by content and ``why``."""
    target = view.images.take(rows)
    return _noised(view, rows, target, target, noise, *why)


def halved(view: View, rows: Rows, noise: Noise, *why: str | int) -> Batch:
    """Return noisy images, each in two halves: one, with more noise on it, is to become the other.

    The halves are neighbouring pixels of 2 x 2 cells (Huang et al., Neighbor2Neighbor, 2021): they
    show the same, and where noise is independent from pixel to pixel, the one knows nothing of
    the other's, so that on average only the clean image can be learnt.
    """
    generator = randomness.generator("halves", *why)
    first, second = halves(view.images.take(rows), generator)
    return _noised(view, rows, first, second, noise, *why)._replace(known=False, sigma=None)


def halves(images: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw two different neighbours of every 2 x 2 cell.

    Args:
        images: (n, C, H, W); an odd last row or column is left out.
        generator: draws one of the eight ordered pairs of neighbours for every cell.

    Returns:
        Two of (n, C, H // 2, W // 2).
    """
    count, channels, height, width = images.shape
    even = images[..., : height // 2 * 2, : width // 2 * 2]
    cells = torch.nn.functional.pixel_unshuffle(even, 2).view(
        count, channels, 4, height // 2, width // 2
    )
    pairs = torch.tensor([[0, 1], [1, 0], [0, 2], [2, 0], [1, 3], [3, 1], [2, 3], [3, 2]])
    shape = (count, 1, 1, height // 2, width // 2)
    drawn = pairs[torch.randint(len(pairs), shape, generator=generator)]
    places = drawn.expand(-1, channels, -1, -1, -1, -1)
    first, second = (cells.gather(2, places[..., number])[:, :, 0] for number in (0, 1))
    return first, second


def _noised(
    view: View, rows: Rows, images: Tensor, target: Tensor, noise: Noise, *why: str | int
) -> Batch:
    made = [
        noise(image, randomness.generator(view.uids[row], *why, place))
        for place, (image, row) in enumerate(zip(images, rows, strict=True))
    ]
    return Batch(
        image=torch.stack([each.image for each in made]),
        target=target,
        hole=torch.stack([each.hole for each in made]),
        sigma=torch.stack([each.sigma for each in made]),
    )
