"""FedProx: FedAvg whose sites are held near the shared model.

Li et al., Federated optimization in heterogeneous networks, MLSys 2020: each site minimises its
own loss plus mu/2 * ||w - w_round||^2. With mu = 0 it is FedAvg, to the bit.
"""

from __future__ import annotations

from collections.abc import Mapping

import flwr.serverapp.strategy as flower
from torch import Tensor, nn

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Memory, Strategy


@STRATEGIES.register("fedprox")
class FedProx(Strategy):
    """FedAvg with a proximal term.

    Args:
        mu: weight of the proximal term, not negative.
    """

    def __init__(self, *, mu: float = 0.01) -> None:
        if mu < 0:
            raise ValueError(f"mu must not be negative; got {mu:g}")
        self.mu = mu
        self._anchor: dict[str, Tensor] = {}

    def server(self) -> flower.Strategy:
        """Return Flower's FedProx: the averaging of FedAvg."""
        return flower.FedProx(**EVERYONE, proximal_mu=self.mu)

    def begin(self, model: nn.Module, incoming: Mapping[str, Tensor], memory: Memory) -> None:
        """Set the model up, and remember it as the anchor of the proximal term."""
        super().begin(model, incoming, memory)
        shared = self.shared(model)
        self._anchor = {
            name: value.detach().clone()
            for name, value in model.named_parameters()
            if name in shared
        }

    def adjust(self, model: nn.Module) -> None:
        """Add the proximal term's gradient, mu * (w - w_round)."""
        if self.mu == 0:
            return
        for name, value in model.named_parameters():
            if value.grad is not None and name in self._anchor:
                value.grad.add_(value.detach() - self._anchor[name], alpha=self.mu)
