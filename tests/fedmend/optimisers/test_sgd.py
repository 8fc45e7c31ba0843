from __future__ import annotations

import pytest
import torch
from torch import nn

from fedmend.errors import SpecError
from fedmend.plugins import OPTIMISERS


def trained(own: bool, momentum: float, decay: float) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 2))
    optimiser = (
        OPTIMISERS.build(
            f"sgd(momentum={momentum}, weight_decay={decay})", model.parameters(), 0.05
        )
        if own
        else torch.optim.SGD(model.parameters(), 0.05, momentum, weight_decay=decay)
    )
    for number in range(7):
        model.zero_grad()
        head = model[:2] if number == 2 else model  # once, the last layer has no gradient
        head(torch.rand(3, 4, generator=generator)).square().mean().backward()
        optimiser.step()
    return [each.detach() for each in model.parameters()]


@pytest.mark.parametrize(("momentum", "decay"), [(0.0, 0.0), (0.9, 0.0), (0.9, 0.01)])
def test_it_steps_as_torchs_own_does(momentum: float, decay: float) -> None:
    pairs = zip(trained(True, momentum, decay), trained(False, momentum, decay), strict=True)
    assert all(torch.allclose(one, other, atol=1e-7) for one, other in pairs)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("sgd(momentum=1)", "momentum must be from 0 to below 1"),
        ("sgd(weight_decay=-1)", "weight_decay must be 0 or more"),
        ("adamw(weight_decay=nan)", "weight_decay must be 0 or more"),
    ],
)
def test_impossible_values_are_refused(spec: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        OPTIMISERS.build(spec, (), 0.1)
