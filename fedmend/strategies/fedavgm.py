"""FedAvgM: FedAvg whose coordinator gathers momentum over the rounds.

Hsu et al., Measuring the effects of non-identical data distribution for federated visual
classification, 2019: with d the average of (w - w_site), m = momentum * m + d and
w = w - learning_rate * m.
"""

from __future__ import annotations

from collections.abc import Mapping

import flwr.serverapp.strategy as flower
import torch
from torch import Tensor

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Strategy


@STRATEGIES.register("fedavgm")
class FedAvgM(Strategy):
    """Server momentum.

    Args:
        momentum: share of the last round's step that goes on, in [0, 1); 0 is FedAvg.
        learning_rate: of the coordinator, positive.
    """

    def __init__(self, *, momentum: float = 0.9, learning_rate: float = 1.0) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1; got {momentum:g}")
        if learning_rate <= 0:
            raise ValueError(f"learning_rate must be above 0; got {learning_rate:g}")
        self._server = flower.FedAvgM(
            **EVERYONE, server_momentum=momentum, server_learning_rate=learning_rate
        )

    def server(self) -> flower.Strategy:
        """Return Flower's FedAvgM."""
        return self._server

    def state(self) -> dict[str, Tensor]:
        """Return the momentum by the parameters' names; empty before the first round."""
        vector, arrays = self._server.momentum_vector, self._server.current_arrays
        if vector is None or arrays is None:
            return {}
        return {name: torch.from_numpy(m) for name, m in zip(arrays, vector, strict=True)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up the momentum; Flower lists it in the order of the arrays, which is by name."""
        if state:
            self._server.momentum_vector = [state[name].numpy() for name in sorted(state)]
