from __future__ import annotations

import pytest
import torch

from classification.backbones.small_cnn import MeanAndMax, small_cnn
from fedmend.errors import SpecError
from fedmend.plugins import BACKBONES


def test_is_small() -> None:
    assert sum(each.numel() for each in small_cnn(1, 2).parameters()) == 60_658


def test_width_sets_the_channels() -> None:
    head = list(small_cnn(1, 2, width=8).modules())[-1]
    assert isinstance(head, torch.nn.Linear)
    assert head.in_features == 64


def test_pools_means_then_maxima() -> None:
    maps = torch.tensor([[[[0.0, 1.0], [2.0, 5.0]], [[1.0, 1.0], [1.0, 1.0]]]])
    assert MeanAndMax()(maps).tolist() == [[2.0, 1.0, 5.0, 1.0]]


def test_dropout_acts_in_training_alone() -> None:
    model, image = small_cnn(1, 2, dropout=0.5), torch.full((1, 1, 16, 16), 0.3)
    model[1][0].weight.data.uniform_(generator=torch.Generator().manual_seed(0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = model.train()(image), model(image)
    assert not torch.equal(first, second)
    assert torch.equal(model.eval()(image), model(image))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("small_cnn(width=12)", "width must be a positive multiple of 8; got 12"),
        ("small_cnn(width=0)", "width must be a positive multiple of 8; got 0"),
        ("small_cnn(dropout=1)", "dropout must be at least 0 and below 1; got 1"),
        ("small_cnn(dropout=-0.1)", "dropout must be at least 0 and below 1; got -0.1"),
        ("small_cnn(depth=3)", "no parameter 'depth'; it has width, dropout"),
    ],
)
def test_refuses_bad_parameters_by_name(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        BACKBONES.build(spec, 1, 2)
