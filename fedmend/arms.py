"""Arms: the training sets whose classifiers are compared.

Every arm starts from the same weights, sees its images in the same order with the same
augmentation, and takes the same number of optimiser steps; only the images differ.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import NamedTuple

from fedmend.errors import SettingsError


class Arm(NamedTuple):
    """How one arm treats the images that a site holds to be noisy."""

    name: str
    meaning: str
    original: bool = False
    """Train on the images from before the simulated noise."""
    drop: bool = False
    """Leave images held to be noisy out of training and validation."""
    mend: str = ""
    """What replaces an image held to be noisy: "imputer", "filter" or nothing."""
    strategy: str = ""
    """Spec of the strategy; empty: the run's."""


_ARMS = (
    Arm("raw", "every image as acquired, noisy or not"),
    Arm("removed", "images held to be noisy are left out", drop=True),
    Arm("imputed", "images held to be noisy are mended by the federated imputer", mend="imputer"),
    Arm("filtered", "images held to be noisy are mended by the classical filter", mend="filter"),
    Arm("clean", "the images before the simulated noise: the oracle", original=True),
    Arm("local", "every image as acquired, each site training alone", strategy="local()"),
)
ARMS: Mapping[str, Arm] = types.MappingProxyType({arm.name: arm for arm in _ARMS})


def check(name: str, *, simulated: bool) -> Arm:
    """Return the arm of this name.

    Args:
        name: as given by the user.
        simulated: whether the run adds noise itself, so that clean originals exist.

    Raises:
        SettingsError: no such arm, or one that needs originals that do not exist.
    """
    if name not in ARMS:
        raise SettingsError(f"arm {name!r} does not exist; there is {', '.join(ARMS)}")
    arm = ARMS[name]
    if arm.original and not simulated:
        raise SettingsError(
            f"arm {name!r} needs simulated noise: with noise=none() nobody knows it"
        )
    return arm
