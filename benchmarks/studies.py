"""What the headline is shown on: images, noises, shares of noisy images, and a run's settings."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fedmend.settings import Settings


class Cell(NamedTuple):
    """What one comparison is about."""

    noise: str
    share: float
    told: bool

    def __str__(self) -> str:
        return f"{self.noise}, {self.share:.0%}{', told' if self.told else ''}"


PASS_THROUGH = Cell("gaussian+strokes", 0.0, told=False)
"""All training images are clean, and nobody is told so."""


class Study:
    """A grid of cells on one data set.

    Args:
        name: of its files.
        words: what is said of the images.
        data: the reader's spec; ``{folder}`` is where they lie.
        noises: by name.
        shares: of training images that are noisy.
        told_at: shares at which the sites are told which, in cells of their own.
        sites: how many.
        settings: of every run.
    """

    def __init__(
        self,
        name: str,
        words: str,
        data: str,
        noises: Mapping[str, str],
        shares: tuple[float, ...],
        told_at: tuple[float, ...],
        sites: int,
        settings: Mapping[str, Any],
    ) -> None:
        self.name, self.words, self.data = name, words, data
        self.noises, self.sites = noises, sites
        self.settings = {**settings, "imputation.noise": " | ".join(noises.values())}
        self.cells = [
            PASS_THROUGH,
            *(Cell(noise, share, told=False) for noise, share in itertools.product(noises, shares)),
            *(Cell(noise, share, told=True) for noise, share in itertools.product(noises, told_at)),
        ]

    @property
    def rows(self) -> Path:
        """Return the file of lines, one a run."""
        return Path(__file__).with_name(f"{self.name}.jsonl")

    @functools.cached_property
    def made_with(self) -> str:
        """Return a short hash of the settings, defaults included."""
        flat = Settings.parse(self.settings).flat()
        return hashlib.sha256(json.dumps(flat, sort_keys=True).encode()).hexdigest()[:8]

    def of(self, cell: Cell, folder: Path) -> dict[str, Any]:
        """Return the settings of a cell's runs."""
        return {
            **self.settings,
            "data": self.data.format(folder=folder),
            "noise": self.noises[cell.noise],
            "noise-fraction": cell.share,
            "noise-known": cell.told,
        }


_GAUSSIAN, _STROKES = "gaussian(std=0.1..0.5)", "strokes(size=medium)"
_NOISES = {
    "gaussian": _GAUSSIAN,
    "strokes": _STROKES,
    "gaussian+strokes": f"{_STROKES}+{_GAUSSIAN}",
}
_SETTINGS = {
    "partition": "dirichlet(alpha=1)",
    "imputation.rounds": 6,
    "imputation.epochs": 2,
    "classification.rounds": 8,
    "classification.epochs": 2,
    "min-sites": 1,
}

STUDIES: Mapping[str, Study] = types.MappingProxyType(
    {
        "pneumonia": Study(
            "headline",
            "PneumoniaMNIST, 28 px",
            "medmnist(path='{folder}/pneumoniamnist_balanced.npz')",
            {
                **_NOISES,
                "poisson": "poisson(gain=0.05..0.4)",
                "stripes+blocks": "stripes()+blocks()",
            },
            (0.3, 0.6, 0.9),
            (0.6,),
            5,
            {**_SETTINGS, "image-size": 28},
        ),
        "chest": Study(
            "headline_chest",
            "Chest X-rays (normal, bacterial or viral pneumonia), 64 px",
            "folder(path='{folder}', labels=labels.csv, image=file_64, label=subtype, "
            "patient=patient)",
            _NOISES,
            (0.6, 0.9),
            (),
            5,
            {**_SETTINGS, "image-size": 64},
        ),
    }
)
