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

_FEW = 10  # noisy images to one clean one


def clean_rows(view: View) -> Rows:
    """Return the rows whose images are held to be clean: what an imputer can learn from."""
    return np.flatnonzero(view.clean)


def noisy_rows(view: View, settings: Settings) -> Rows:
    """Return the rows that are learnt from although they are noisy, or nobody can tell."""
    clean, noisy = len(clean_rows(view)), np.flatnonzero(~view.clean)
    wanted = settings.imputation.self_supervised
    if wanted == "never" or (wanted == "missing" and not _few(clean, len(noisy), settings)):
        return np.empty(0, dtype=np.int64)
    return noisy


def _few(clean: int, noisy: int, settings: Settings) -> bool:
    """Say whether clean images are too few to be all that is learnt from.

    A detector may take a noisy one for clean now and then: no site is to learn from that alone.
    """
    return clean < settings.imputation.batch_size and _FEW * clean < noisy


def batches(site: Site, settings: Settings, task: Task) -> Iterator[Batch]:
    """Yield a round's batches: in each epoch as many as all of the site's images would fill.

    Clean images are gone through as often as that takes, with fresh noise each time: the less
    there is to learn from, the more noise it is seen under. Where noisy images are learnt from
    too, every second batch is of clean ones, or fewer where they do not fill one.
    """
    view = site.view("train")
    clean, noisy = clean_rows(view), noisy_rows(view, settings)
    if not len(clean) + len(noisy):
        return
    size = settings.imputation.batch_size
    steps = settings.imputation.epochs * math.ceil(len(view.uids) / size)
    noise = mixture.from_spec(settings.imputer_noise)
    why = (task.seed, site.name, task.round)
    share = min(1.0, len(clean) / size) / 2 if len(noisy) else 1.0
    kinds = {
        make: _endless(rows, size, f"imputer-order-{make.__name__}", *why)
        for rows, make in ((clean, corrupted), (noisy, halved))
    }
    for step, known in enumerate(_turns(share, steps, *why)):
        make = corrupted if known else halved
        yield make(view, next(kinds[make]), noise, "imputer-noise", *why, step)


def _turns(share: float, steps: int, *why: str | int) -> Iterator[bool]:
    """Yield True at a share of the steps, evenly spread; over many rounds it is exact."""
    start = randomness.numpy_generator("imputer-turns", *why).random()
    for step in range(steps):
        yield math.floor(start + (step + 1) * share) > math.floor(start + step * share)


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
    the other's, so that on average only the clean image can be learnt. The map of holes has those
    that were drawn anew: what was lost before is in the image too, and nobody knows where.
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
