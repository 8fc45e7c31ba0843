"""Which method mends which noise: whichever validates better across all sites.

A classical filter can be better than a network at one kind (a median at impulses), or where there
is little of it; and the two together better than either: they err differently, so that their mean
errs less, and of two answers the detector may tell the one with less noise in it. So every site
sets them to clean validation images with the run's noise on them, sorted by what its detector takes
that noise for and by how much the imputer would change, and the merged PSNR decides.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fedmend import plugins, randomness, spec
from fedmend.errors import SpecError
from fedmend.settings import Settings
from fedmend.site import Examined, Site
from fedmend.sums import Sums
from fedmend.wire import Task
from imputation import quality, restoration
from imputation.filters.base import Filter
from imputation.noise import mixture

IMPUTER = "imputer"
"""The method that is no filter."""
MEAN, CHOICE = "imputer and ", "imputer or "
"""Before a filter's spec: the mean of the two, and the one that the detector finds less noisy."""

LEVELS: Mapping[str, float] = {"weak": 0.1, "medium": 0.2, "strong": math.inf}
"""Noise by the root mean square of what the imputer would change, which is below these."""

_LOOKED_AT = 64
_MOST_DRAWS = 8
_FEWEST = 8
"""Images of a class below which a comparison decides nothing."""

_MARGIN = 0.1
"""Decibels by which the two together must be better than one to be worth its while."""

Method = Callable[[Tensor], Tensor]
"""(n, C, H, W) in [0, 1] to the same, mended."""
Examine = Callable[[Tensor], Examined]
"""Asks the detector."""


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


def methods(settings: Settings) -> list[str]:
    """Return all that may mend a class of noise: the imputer, the filters, and then both."""
    single = filters(settings)
    if not single:
        return [IMPUTER]
    return [IMPUTER, *single, *(joint + each for joint in (MEAN, CHOICE) for each in single)]


def mended_by(method: str, images: Tensor, imputed: Tensor, examine: Examine) -> Tensor:
    """Return what one of :func:`methods` makes of images, (n, C, H, W) in [0, 1].

    Args:
        method: its name.
        images: noisy.
        imputed: the same, as the imputer would have them.
        examine: asks the detector.

    Raises:
        SpecError: there is no such method.
    """
    if method == IMPUTER:
        return imputed
    for joint in (MEAN, CHOICE):
        if method.startswith(joint):
            filtered = filtering(method.removeprefix(joint))(images)
            return next(_together(joint, imputed, [filtered], examine))
    return filtering(method)(images)


def _together(
    joint: str, imputed: Tensor, filtered: Iterable[Tensor], examine: Examine
) -> Iterator[Tensor]:
    """Yield what the imputer and each of the filters come to together."""
    if joint == MEAN:
        yield from ((imputed + each) / 2 for each in filtered)
        return
    score = examine(imputed).score
    for each in filtered:
        first = torch.from_numpy(score <= examine(each).score)
        yield torch.where(first[:, None, None, None], imputed, each)


def compared(model: nn.Module, site: Site, settings: Settings, task: Task) -> Sums:
    """Return, per class of noise, ``<class>/n`` and the summed ``<class>/psnr`` of every method.

    They are in the order of :func:`methods`; nothing is compared where there are no filters, or
    where the site has no validation image that it holds to be clean.
    """
    names, every = classes(site.kinds), methods(settings)
    total = {
        f"{name}/{key}": np.zeros(length)
        for name in names
        for key, length in (("n", 1), ("psnr", len(every)))
    }
    for group, target in _targets(site) if len(every) > 1 else ():
        examine = functools.partial(site.examine, group=group)
        noisy = _corrupted(target, settings, task, site.name)
        imputed = restoration.restored(model, noisy).image
        seen = classified(examine(noisy).kind, noisy, imputed)
        filtered = [filtering(text)(noisy) for text in filters(settings)]
        together = (_together(joint, imputed, filtered, examine) for joint in (MEAN, CHOICE))
        made = [imputed, *filtered, *itertools.chain.from_iterable(together)]
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


def _targets(site: Site) -> Iterator[tuple[int, Tensor]]:
    """Yield up to 64 clean validation images of each group, few ones several times."""
    view = site.view("val")
    for group in np.unique(view.group[view.clean]).tolist():
        rows = np.flatnonzero(view.clean & (view.group == group))[:_LOOKED_AT]
        draws = min(_MOST_DRAWS, math.ceil(_LOOKED_AT / len(rows)))
        yield group, view.images.take(np.tile(rows, draws))


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
    the imputer, and to one method rather than two together.
    """
    names = methods(settings)
    if len(names) == 1:
        return ()
    price = np.array([_MARGIN * name.startswith((MEAN, CHOICE)) for name in names])
    every = _met(merged)
    nothing = Met(0.0, np.zeros(len(names)))
    whole = {_kind(name): nothing for name in every}
    for name, met in every.items():
        whole[_kind(name)] = whole[_kind(name)].and_also(met)
    chosen = {
        name: met if met.images >= _FEWEST else whole[_kind(name)] for name, met in every.items()
    }
    return tuple(
        f"{name}={names[int(np.argmax(met.psnr / met.images - price))]}"
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
    """Return the mean PSNR in dB of every method, the imputer first, by class that was met.

    Of those that are two together, the ones that are chosen somewhere.
    """
    names = methods(settings)
    if len(names) == 1:
        return {}
    chosen = set(read(decided(merged, settings)).values())
    shown = [
        place
        for place, name in enumerate(names)
        if name in chosen or not name.startswith((MEAN, CHOICE))
    ]
    return {
        name: {names[place]: float(met.psnr[place] / met.images) for place in shown}
        for name, met in _met(merged).items()
        if met.images
    }


def read(routes: Sequence[str]) -> Mapping[str, str]:
    """Return the method of each class from "class=method" strings."""
    return {name: method for name, _, method in (route.partition("=") for route in routes)}
