"""AdamW without the second and a half that ``torch.optim.AdamW`` takes to import the compiler.

The methods of torch's optimiser classes are hidden from ``torch.compile``, and the first call of
one imports all of ``torch._dynamo`` for that. On a real site each message is answered by a process
of its own, so every round would pay for it. The arithmetic is torch's own function, to the bit: its
fused one, which goes over each array once.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import adamw as functional

from fedmend.optimisers.base import Optimiser
from fedmend.plugins import OPTIMISERS

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8
_DECAY = 0.01


@OPTIMISERS.register("adamw")
def adamw(
    parameters: Iterable[nn.Parameter], rate: float, *, weight_decay: float = _DECAY
) -> Optimiser:
    """Return AdamW.

    Args:
        parameters: that are stepped, in place.
        rate: the step size.
        weight_decay: what a step takes off every parameter, in units of the step size.

    Raises:
        ValueError: ``weight_decay`` is negative.
    """
    if not weight_decay >= 0:
        raise ValueError(f"weight_decay must be 0 or more; got {weight_decay:g}")
    return AdamW(parameters, rate, weight_decay)


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019), with torch's defaults.

    Args:
        parameters: that are stepped, in place.
        rate: the step size.
        decay: of the weights.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], rate: float, decay: float = _DECAY
    ) -> None:
        self._parameters = list(parameters)
        self._rate = rate
        self._decay = decay
        self._moments: dict[int, tuple[Tensor, Tensor, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Step every parameter that has a gradient."""
        stepped = [each for each in self._parameters if each.grad is not None]
        if not stepped:
            return
        moments = [self._moments_of(each) for each in stepped]
        functional.adamw(
            [*stepped],
            [each.grad for each in stepped if each.grad is not None],
            [first for first, _, _ in moments],
            [second for _, second, _ in moments],
            [],
            [count for _, _, count in moments],
            fused=True,
            amsgrad=False,
            beta1=_BETAS[0],
            beta2=_BETAS[1],
            lr=self._rate,
            weight_decay=self._decay,
            eps=_EPSILON,
            maximize=False,
        )

    def _moments_of(self, parameter: nn.Parameter) -> tuple[Tensor, Tensor, Tensor]:
        """Return its running moments and how often it was stepped."""
        key = id(parameter)
        if key not in self._moments:
            self._moments[key] = (
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
                torch.zeros_like(parameter, memory_format=torch.preserve_format),
                torch.zeros((), dtype=torch.float32, device=parameter.device),
            )
        return self._moments[key]
