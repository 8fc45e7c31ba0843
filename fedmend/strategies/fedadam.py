"""FedAdam: the coordinator steps as Adam would.

Reddi et al., Adaptive federated optimization, ICLR 2021.
"""

from __future__ import annotations

import flwr.serverapp.strategy as flower

from fedmend.plugins import STRATEGIES
from fedmend.strategies.adaptive import Adaptive


@STRATEGIES.register("fedadam")
class FedAdam(Adaptive):
    """FedAdam; its settings are those of :class:`~fedmend.strategies.adaptive.Adaptive`."""

    def __init__(
        self,
        *,
        learning_rate: float = 0.01,
        beta1: float = 0.9,
        beta2: float = 0.99,
        tau: float = 0.001,
    ) -> None:
        super().__init__(flower.FedAdam, learning_rate, beta1, beta2, tau)
