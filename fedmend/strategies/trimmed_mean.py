"""Trimmed mean: each parameter is the mean of the sites', without the largest and smallest.

Yin et al., Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018.
All sites count the same, however many images they have.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import flwr.serverapp.strategy as flower
from flwr.app import ArrayRecord, Message, MetricRecord

from fedmend.errors import RunError
from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Strategy


@STRATEGIES.register("trimmed_mean")
class TrimmedMean(Strategy):
    """The coordinate-wise trimmed mean.

    Args:
        share: of the sites that is left out at either end, above 0 and below 0.5. It is rounded
            up to whole sites: some protection is asked for, so one site at least is left out.
    """

    def __init__(self, *, share: float = 0.2) -> None:
        if not 0 < share < 0.5:
            raise ValueError(f"share must be above 0 and below 0.5; got {share:g}")
        self.share = share

    def server(self) -> flower.Strategy:
        """Return Flower's trimmed mean, with whole sites trimmed."""
        return _WholeSites(self.share)


class _WholeSites(flower.FedTrimmedAvg):
    """Flower rounds down: of four sites, a fifth would be none, and nobody would be told."""

    def __init__(self, share: float) -> None:
        super().__init__(**EVERYONE, beta=share)
        self.share = share

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        given = list(replies)
        trimmed = math.ceil(self.share * len(given))
        if len(given) <= 2 * trimmed:
            raise RunError(
                f"trimmed_mean(share={self.share:g}) leaves out {trimmed} of {len(given)} sites "
                f"at either end; at least {2 * trimmed + 1} must answer"
            )
        self.beta = (trimmed + 0.25) / len(given)  # which rounds down to ``trimmed``
        return super().aggregate_train(server_round, given)
