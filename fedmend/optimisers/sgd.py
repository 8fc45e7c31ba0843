"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from fedmend.optimisers.base import Optimiser
from fedmend.plugins import OPTIMISERS


@OPTIMISERS.register("sgd")
def sgd(
    parameters: Iterable[nn.Parameter],
    rate: float,
    *,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> Optimiser:
    """Return SGD as torch has it: v = momentum * v + gradient, then a step of rate * v.

    Args:
        parameters: that are stepped, in place.
        rate: the step size.
        momentum: what is kept of the last step's direction, from 0 to below 1.
        weight_decay: times the parameter, added to its gradient.

    Raises:
        ValueError: ``momentum`` or ``weight_decay`` out of range.
    """
    if not 0 <= momentum < 1:
        raise ValueError(f"momentum must be from 0 to below 1; got {momentum:g}")
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more; got {weight_decay:g}")
    return Sgd(parameters, rate, momentum, weight_decay)


class Sgd:
    """Written out, as torch's own class imports the compiler (see :mod:`.adamw`)."""

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, momentum: float, decay: float
    ) -> None:
        self._parameters = list(parameters)
        self._rate, self._momentum, self._decay = rate, momentum, decay
        self._directions: dict[int, Tensor] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Step every parameter that has a gradient."""
        for parameter in self._parameters:
            if parameter.grad is None:
                continue
            gradient = parameter.grad
            if self._decay:
                gradient = gradient.add(parameter, alpha=self._decay)
            key = id(parameter)
            if key in self._directions:
                self._directions[key].mul_(self._momentum).add_(gradient)
            else:
                self._directions[key] = gradient.clone()
            parameter.add_(self._directions[key], alpha=-self._rate)
