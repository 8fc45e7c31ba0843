"""FedAvg: the average of the sites' models, weighted by their numbers of images or not.

McMahan et al., Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017.
"""

from __future__ import annotations

import flwr.serverapp.strategy as flower

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Strategy
from fedmend.wire import ONE


@STRATEGIES.register("fedavg")
class FedAvg(Strategy):
    """The base.

    Args:
        weighted: by each site's number of images; else all sites count the same.
    """

    def __init__(self, *, weighted: bool = True) -> None:
        self.weighted = weighted

    def server(self) -> flower.Strategy:
        """Return the coordinator's half."""
        told = dict(EVERYONE) if self.weighted else {**EVERYONE, "weighted_by_key": ONE}
        return flower.FedAvg(**told)
