from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from fedmend.optimisers.adamw import AdamW


def _trained(kind: str, *, unused: bool) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.PReLU(), nn.Conv2d(4, 2, 3))
    if unused:
        model[0].bias.requires_grad_(False)
    own = AdamW(model.parameters(), 0.02)
    torchs = torch.optim.AdamW(model.parameters(), lr=0.02, fused=True)
    optimiser = own if kind == "own" else torchs
    for number in range(7):
        optimiser.zero_grad()
        head = model[:2] if number == 2 else model  # once, the last layer has no gradient
        head(torch.rand(3, 1, 9, 9, generator=generator)).square().mean().backward()
        optimiser.step()
    return [each.detach() for each in model.parameters()]


@pytest.mark.parametrize("unused", [False, True])
def test_it_steps_as_torchs_own_does_to_the_bit(unused: bool) -> None:
    one, other = _trained("own", unused=unused), _trained("torch", unused=unused)
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_without_gradients_nothing_moves() -> None:
    model = nn.Linear(2, 2)
    before = [each.clone() for each in model.parameters()]
    AdamW(model.parameters(), 0.1).step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_the_compiler_stays_out() -> None:
    script = (
        "import sys, torch; from fedmend.optimisers.adamw import AdamW\n"
        "layer = torch.nn.Linear(2, 2); own = AdamW(layer.parameters(), 0.1)\n"
        "own.zero_grad(); layer(torch.ones(1, 2)).sum().backward(); own.step()\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
