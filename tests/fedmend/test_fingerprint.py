from __future__ import annotations

import pytest
import torch

from fedmend.settings import Settings
from fedmend.training import fingerprint

SMALL = {"imputation.model": "unet(width=8)", "classification.model": "small_cnn(width=8)"}
ONE = fingerprint(Settings.read(SMALL))


@pytest.mark.parametrize(
    "changes",
    [
        {"imputation.model": "unet(width=4)"},
        {"classification.model": "small_cnn(width=16)"},
        {"channels": 3},
    ],
)
def test_other_networks_have_another(changes: dict[str, str | int]) -> None:
    assert fingerprint(Settings.read({**SMALL, **changes})) != ONE


def test_it_is_of_the_networks_not_of_their_weights() -> None:
    before = torch.random.get_rng_state()
    assert fingerprint(Settings.read({**SMALL, "seed": 5, "classes": "a,b,c"})) == ONE
    assert torch.equal(torch.random.get_rng_state(), before)
