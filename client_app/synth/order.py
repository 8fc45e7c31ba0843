"""What is asked for."""

from __future__ import annotations

from dataclasses import dataclass

from fedmend import spec
from fedmend.checks import named
from fedmend.errors import SettingsError
from imputation.noise import mixture

_SMALLEST = 36
"""Cut by an eighth it has 32 rows: the fewest that a JPEG 2000 file of six resolutions can hold."""


@dataclass(frozen=True)
class Order:
    """A tree of sites to be written.

    Args:
        sites: number of sites.
        images: per site.
        size: pixels a side, 36 or more; one image in four is less high.
        seed: of everything drawn.
        noise: spec of what is done to a share of the images before they are stored.
        noise_share: the share of each site's images, in [0, 1].
        broken: unusable files per site.

    Raises:
        SettingsError: a number out of range.
        SpecError: the noise cannot be built.
    """

    sites: int = 3
    images: int = 60
    size: int = 128
    seed: int = 0
    noise: str = "none()"
    noise_share: float = 0.5
    broken: int = 0

    def __post_init__(self) -> None:
        limits = {
            "sites": (self.sites, 1, 10_000),
            "images": (self.images, 1, 1_000_000),
            "size": (self.size, _SMALLEST, 4096),
            "seed": (self.seed, 0, 2**31 - 1),
            "noise-share": (self.noise_share, 0, 1),
            "broken": (self.broken, 0, 1_000_000),
        }
        for name, (value, low, high) in limits.items():
            if not low <= value <= high:
                raise SettingsError(f"{name} must be from {low} to {high}; got {value}")
        with named("noise"):
            mixture.from_spec(self.noise)

    @property
    def corrupts(self) -> bool:
        """Whether the noise is any at all."""
        terms = (term for chain in spec.parse(self.noise) for term in chain)
        return self.noise_share > 0 and any(term.name != "none" for term in terms)
