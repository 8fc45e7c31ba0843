"""Which method mends which kind of noise: whichever validates better across all sites.

A classical filter can be better than a network at one kind (a median at impulses). So every site
sets the imputer and the filters to clean validation images with the run's noise on them, sorted
by what its detector takes that noise for, and the merged PSNR decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedmend import plugins, randomness, spec
from fedmend.settings import Settings
from fedmend.site import Site
from fedmend.sums import Sums
from fedmend.wire import Task
from imputation import quality, restoration
from imputation.filters.base import Filter
from imputation.noise import mixture

IMPUTER = "imputer"
"""The method that is no filter."""

_LOOKED_AT = 64
_MOST_DRAWS = 8
_FEWEST = 8
"""Images of a kind below which a comparison decides nothing."""

Method = Callable[[Tensor], Tensor]
"""(n, C, H, W) in [0, 1] to the same, mended."""


def filters(settings: Settings) -> list[str]:
    """Return the specs of the filters that may stand in for the imputer."""
    text = settings.imputation.filters
    return [spec.written((chain,)) for chain in spec.parse(text)] if text else []


def filtering(text: str) -> Method:
    """Return the filter of a spec, ``a()`` or ``a()+b()``, for many images.

    Raises:
        SpecError: the text is no spec of filters.
    """
    (chain,) = spec.parse(text)
    steps: list[Filter] = [plugins.FILTERS.build(term) for term in chain]

    def mend(images: Tensor) -> Tensor:
        for step in steps:
            images = torch.stack([step(image) for image in images]) if len(images) else images
        return images

    return mend


def compared(model: nn.Module, site: Site, settings: Settings, task: Task) -> Sums:
    """Return, per kind of noise, ``<kind>/n`` and the summed ``<kind>/psnr`` of every method.

    The imputer comes first, then :func:`filters`; nothing is compared where there are none, or
    where the site has no validation image that it holds to be clean.
    """
    methods: list[Method] = [lambda images: restoration.restored(model, images).image]
    methods += [filtering(text) for text in filters(settings)]
    total = {
        f"{kind}/{key}": np.zeros(length)
        for kind in site.kinds
        for key, length in (("n", 1), ("psnr", len(methods)))
    }
    target = _targets(site) if len(methods) > 1 else None
    if target is None:
        return total
    noisy = _corrupted(target, settings, task, site.name)
    seen = site.examine(noisy).kind
    decibel = np.stack([quality.psnr(method(noisy), target).numpy() for method in methods])
    for number, kind in enumerate(site.kinds):
        total[f"{kind}/n"] += float((seen == number).sum())
        total[f"{kind}/psnr"] += decibel[:, seen == number].sum(1)
    return total


def _targets(site: Site) -> Tensor | None:
    """Return up to 64 clean validation images, few ones several times; None if there is none."""
    view = site.view("val")
    rows = np.flatnonzero(~view.flagged)[:_LOOKED_AT]
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
    """Return "kind=method" for every kind that the sites have met often enough, sorted.

    A draw goes to the imputer.
    """
    methods = [IMPUTER, *filters(settings)]
    return tuple(
        f"{kind}={methods[int(np.argmax(_mean(merged, kind)))]}"
        for kind in sorted(key.removesuffix("/n") for key in merged if key.endswith("/n"))
        if float(merged[f"{kind}/n"][0]) >= _FEWEST and len(methods) > 1
    )


def _mean(merged: Sums, kind: str) -> npt.NDArray[np.float64]:
    mean: npt.NDArray[np.float64] = merged[f"{kind}/psnr"] / merged[f"{kind}/n"]
    return mean


def table(merged: Sums, settings: Settings) -> dict[str, dict[str, float]]:
    """Return the mean PSNR in dB of every method on every kind that was met."""
    methods = [IMPUTER, *filters(settings)]
    return {
        kind: dict(zip(methods, _mean(merged, kind).tolist(), strict=True))
        for kind in sorted(key.removesuffix("/n") for key in merged if key.endswith("/n"))
        if float(merged[f"{kind}/n"][0]) and len(methods) > 1
    }


def read(routes: Sequence[str]) -> Mapping[str, str]:
    """Return the method of each kind from "kind=method" strings."""
    return {kind: method for kind, _, method in (route.partition("=") for route in routes)}
