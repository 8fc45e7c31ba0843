"""The table of registries: which kinds of plug-ins there are and where their files live.

Naming the packages as text keeps the ground floor free of imports from the floors above it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fedmend.registry import Registry, Summed

if TYPE_CHECKING:
    from fedmend.codecs.base import Codec
    from fedmend.records import Reader
    from fedmend.strategies.base import Strategy

READERS: Registry[Reader] = Registry("reader", "client_app.readers")
PARTITIONS: Registry[Any] = Registry("partition", "client_app.partitions")
NOISES: Registry[Any] = Registry("noise", "imputation.noise")
DETECTORS: Registry[Any] = Registry("detector", "imputation.detectors")
DENOISERS: Registry[Any] = Registry("denoiser", "imputation.denoisers")
FILTERS: Registry[Any] = Registry("filter", "imputation.filters")
LOSSES: Registry[Any] = Summed("loss", "imputation.losses")
BACKBONES: Registry[Any] = Registry("backbone", "classification.backbones")
OPTIMISERS: Registry[Any] = Registry("optimiser", "fedmend.optimisers")
STRATEGIES: Registry[Strategy] = Registry("strategy", "fedmend.strategies")
CODECS: Registry[Codec] = Registry("codec", "fedmend.codecs")
PRIVACY: Registry[Any] = Registry("privacy", "fedmend.privacy")

ALL: tuple[Registry[Any], ...] = (
    READERS, PARTITIONS, NOISES, DETECTORS, DENOISERS, FILTERS, LOSSES,
    BACKBONES, OPTIMISERS, STRATEGIES, CODECS, PRIVACY,
)  # fmt: skip
