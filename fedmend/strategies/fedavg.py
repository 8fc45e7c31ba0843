"""FedAvg: the average of the sites' models, weighted by their numbers of images.

McMahan et al., Communication-efficient learning of deep networks from decentralized data,
AISTATS 2017.
"""

from __future__ import annotations

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import Strategy


@STRATEGIES.register("fedavg")
class FedAvg(Strategy):
    """The base, unchanged."""
