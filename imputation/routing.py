"""Which method mends which noise: whichever validates better across all sites.

A classical filter can be better than a network at one kind (a median at impulses), or where there
is little of it. So every site sets the imputer and the filters to clean validation images with the
run's noise on them, sorted by what its detector takes that noise for and by how much the imputer
would change, and the merged PSNR decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedmend import plugins, randomness, spec
from fedmend.errors import SpecError
from fedmend.settings import Settings
from fedmend.site import Site
from fedmend.sums import Sums
from fedmend.wire import Task
from imputation import quality, restoration
from imputation.filters.base import Filter
from imputation.noise import mixture

IMPUTER = "imputer"
"""The method that is no filter."""

LEVELS: Mapping[str, float] = {"weak": 0.1, "medium": 0.2, "strong": math.inf}
"""Noise by the root mean square of what the imputer would change, which is below these."""

_LOOKED_AT = 64
_MOST_DRAWS = 8
_FEWEST = 8
"""Images of a class below which a comparison decides nothing."""

Method = Callable[[Tensor], Tensor]
"""(n, C, H, W) in [0, 1] to the same, mended."""


def filters(settings: Settings) -> list[str]:
    """Return the specs of the filters that may stand in for the imputer."""
    text = settings.imputation.filters
    return [spec.written((chain,)) for chain in spec.parse(text)] if text else []


def filtering(text: str) -> Method:
    """Return the filter of a spec, ``a()`` or ``a()+b()``, for many images.

    Raises:
        SpecError: the text is no spec of filters, or of several to choose from.
    """
    chains = spec.parse(text)
    if len(chains) != 1:
        raise SpecError(f"one filter, a() or a()+b(), is expected; got {text!r}")
    steps: list[Filter] = [plugins.FILTERS.build(term) for term in chains[0]]

    def mend(images: Tensor) -> Tensor:
        for step in steps:
            images = torch.stack([step(image) for image in images]) if len(images) else images
        return images

    return mend


def compared(model: nn.Module, site: Site, settings: Settings, task: Task) -> Sums:
    """Return, per class of noise, ``<class>/n`` and the summed ``<class>/psnr`` of every method.

    The imputer comes first, then :func:`filters`; nothing is compared where there are none, or
    where the site has no validation image that it holds to be clean.
    """
    others = [filtering(text) for text in filters(settings)]
    names = classes(site.kinds)
    total = {
        f"{name}/{key}": np.zeros(length)
        for name in names
        for key, length in (("n", 1), ("psnr", 1 + len(others)))
    }
    target = _targets(site) if others else None
    if target is None:
        return total
    noisy = _corrupted(target, settings, task, site.name)
    imputed = restoration.restored(model, noisy).image
    seen = classified(site.examine(noisy).kind, noisy, imputed)
    made = [imputed, *(method(noisy) for method in others)]
    decibel = np.stack([quality.psnr(images, target).numpy() for images in made])
    for number, name in enumerate(names):
        total[f"{name}/n"] += float((seen == number).sum())
        total[f"{name}/psnr"] += decibel[:, seen == number].sum(1)
    return total


def classes(kinds: Iterable[str]) -> list[str]:
    """Return the names of the classes that noise is sorted into, "kind_level" each."""
    return [f"{kind}_{level}" for kind in kinds for level in LEVELS]


def classified(
    kinds: npt.NDArray[np.int64], images: Tensor, imputed: Tensor
) -> npt.NDArray[np.int64]:
    """Return (n,): the place of each image's noise in :func:`classes`.

    Args:
        kinds: (n,), of :meth:`fedmend.site.Site.examine`.
        images: (n, C, H, W) in [0, 1], noisy.
        imputed: the same, as the imputer would have them.
    """
    change = (imputed - images).square().mean((1, 2, 3)).sqrt().numpy()
    levels: npt.NDArray[np.int64] = np.digitize(change, list(LEVELS.values())[:-1])
    return kinds * len(LEVELS) + levels


def _targets(site: Site) -> Tensor | None:
    """Return up to 64 clean validation images, few ones several times; None if there is none."""
    view = site.view("val")
    rows = np.flatnonzero(view.clean)[:_LOOKED_AT]
    if not len(rows):
        return None
    draws = min(_MOST_DRAWS, math.ceil(_LOOKED_AT / len(rows)))
    return view.images.take(np.tile(rows, draws))


def _corrupted(target: Tensor, settings: Settings, task: Task, name: str) -> Tensor:
    noise = mixture.from_spec(settings.imputer_noise)
    made = [
        noise(image, randomness.generator(task.seed, "routing", name, number)).image
        for number, image in enumerate(target)
    ]
    return torch.stack(made)


def decided(merged: Sums, settings: Settings) -> tuple[str, ...]:
    """Return "class=method" for every class of the kinds that were met often enough, sorted.

    A class that was met too rarely has what its kind as a whole is mended best by. A draw goes to
    the imputer.
    """
    methods = [IMPUTER, *filters(settings)]
    if len(methods) == 1:
        return ()
    every = _met(merged)
    nothing = Met(0.0, np.zeros(len(methods)))
    whole = {_kind(name): nothing for name in every}
    for name, met in every.items():
        whole[_kind(name)] = whole[_kind(name)].and_also(met)
    chosen = {
        name: met if met.images >= _FEWEST else whole[_kind(name)] for name, met in every.items()
    }
    return tuple(
        f"{name}={methods[int(np.argmax(met.psnr))]}"
        for name, met in chosen.items()
        if met.images >= _FEWEST
    )


class Met(NamedTuple):
    """The validation images of one class of noise."""

    images: float
    psnr: npt.NDArray[np.float64]
    """(methods,), in dB, summed over the images."""

    def and_also(self, other: Met) -> Met:
        """Return both together."""
        return Met(self.images + other.images, self.psnr + other.psnr)


def _met(merged: Sums) -> dict[str, Met]:
    """Return the classes of :func:`compared`'s sums, sorted."""
    names = sorted(key.removesuffix("/n") for key in merged if key.endswith("/n"))
    return {name: Met(float(merged[f"{name}/n"][0]), merged[f"{name}/psnr"]) for name in names}


def _kind(name: str) -> str:
    return name.rpartition("_")[0]


def table(merged: Sums, settings: Settings) -> dict[str, dict[str, float]]:
    """Return the mean PSNR in dB of every method, the imputer first, by class that was met."""
    methods = [IMPUTER, *filters(settings)]
    if len(methods) == 1:
        return {}
    return {
        name: dict(zip(methods, (met.psnr / met.images).tolist(), strict=True))
        for name, met in _met(merged).items()
        if met.images
    }


def read(routes: Sequence[str]) -> Mapping[str, str]:
    """Return the method of each class from "class=method" strings."""
    return {name: method for name, _, method in (route.partition("=") for route in routes)}
