"""Adaptive federated optimisation: the coordinator steps as Adam or its kin would.

Reddi et al., Adaptive federated optimization, ICLR 2021: the average of (w_site - w) takes the
place of the gradient.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from flwr.serverapp.strategy.fedopt import FedOpt
from torch import Tensor

from fedmend.strategies.base import EVERYONE, Strategy

_MOMENTS = ("first", "second")


class Adaptive(Strategy):
    """What the adaptive strategies share: their settings' bounds, and two moments to remember.

    Args:
        kind: Flower's strategy.
        learning_rate: of the coordinator, positive.
        beta1: memory of the first moment, in [0, 1).
        beta2: memory of the second moment, in [0, 1).
        tau: added to the second moment's root, positive: the smaller, the more adaptive.
    """

    def __init__(
        self, kind: type[FedOpt], learning_rate: float, beta1: float, beta2: float, tau: float
    ) -> None:
        for name, value in (("learning_rate", learning_rate), ("tau", tau)):
            if value <= 0:
                raise ValueError(f"{name} must be above 0; got {value:g}")
        for name, value in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be at least 0 and below 1; got {value:g}")
        self._server = kind(**EVERYONE, eta=learning_rate, beta_1=beta1, beta_2=beta2, tau=tau)

    def server(self) -> FedOpt:
        """Return Flower's strategy."""
        return self._server

    def state(self) -> dict[str, Tensor]:
        """Return both moments, as "first:<name>" and "second:<name>"; empty before round 1."""
        moments = zip(_MOMENTS, (self._server.m_t, self._server.v_t), strict=True)
        return {
            f"{moment}:{name}": torch.from_numpy(value)
            for moment, values in moments
            for name, value in (values or {}).items()
        }

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up both moments."""
        self._server.m_t, self._server.v_t = (
            {
                name.removeprefix(f"{moment}:"): value.numpy()
                for name, value in sorted(state.items())
                if name.startswith(f"{moment}:")
            }
            for moment in _MOMENTS
        )
