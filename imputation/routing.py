"""Which method mends which kind of noise: whichever validates better across all sites.

A classical filter can be better than a network at one kind (a median at impulses). So every site
sets the imputer and the filters to clean validation images with the run's noise on them, sorted
by what its detector takes that noise for, and the merged PSNR decides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
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
    """Return "kind=method" for every kind that the sites have met often enough, sorted.

    A draw goes to the imputer.
    """
    means = table(merged, settings, fewest=_FEWEST)
    return tuple(f"{kind}={max(mean, key=mean.__getitem__)}" for kind, mean in means.items())


def table(merged: Sums, settings: Settings, fewest: int = 1) -> dict[str, dict[str, float]]:
    """Return the mean PSNR in dB of every method, the imputer first, by kind, sorted.

    Args:
        merged: of :func:`compared`.
        settings: of the run.
        fewest: images of a kind, below which it is left out.
    """
    methods = [IMPUTER, *filters(settings)]
    if len(methods) == 1:
        return {}
    count = {key.removesuffix("/n"): float(merged[key][0]) for key in merged if key.endswith("/n")}
    return {
        kind: dict(zip(methods, (merged[f"{kind}/psnr"] / n).tolist(), strict=True))
        for kind, n in sorted(count.items())
        if n >= fewest
    }


def read(routes: Sequence[str]) -> Mapping[str, str]:
    """Return the method of each kind from "kind=method" strings."""
    return {kind: method for kind, _, method in (route.partition("=") for route in routes)}
