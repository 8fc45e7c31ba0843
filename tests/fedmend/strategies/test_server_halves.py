"""The coordinators' halves: what each makes of the sites' models, against the papers' formulas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from torch import Tensor

from fedmend import plugins, wire
from fedmend.errors import RunError, SpecError
from fedmend.strategies.base import Strategy

PLAIN = plugins.CODECS.build("none()")


class Nobody:
    """A grid without sites: enough to be told what is being sent."""

    def get_node_ids(self) -> list[int]:
        return [1]


def reply(weights: Sequence[float] | Tensor, examples: int = 1) -> Message:
    asked = Message(RecordDict(), 1, "train")
    asked.metadata.__dict__["_src_node_id"] = 1
    arrays = {"w": torch.as_tensor(weights, dtype=torch.float32)}
    metrics = MetricRecord({wire.EXAMPLES: examples, wire.ONE: 1})
    content = RecordDict({wire.ARRAYS: wire.pack(arrays, PLAIN), wire.METRICS: metrics})
    return Message(content, reply_to=asked)


def aggregate(server: Any, number: int, sent: Tensor, replies: list[Message]) -> Tensor:
    """Run one round of a coordinator's half; return the new model, (n,)."""
    record = wire.pack({"w": sent}, PLAIN)
    list(server.configure_train(number, record, ConfigRecord(), cast("Grid", Nobody())))
    arrays, _ = server.aggregate_train(number, replies)
    assert isinstance(arrays, ArrayRecord)
    return wire.unpack(arrays, PLAIN)["w"]


def built(spec: str) -> tuple[Strategy, Any]:
    strategy = plugins.STRATEGIES.build(spec)
    return strategy, strategy.server()


def test_momentum_goes_on_where_the_sites_stand_still() -> None:
    _, server = built("fedavgm(momentum=0.5)")
    model = torch.tensor([1.0, 0.0])
    model = aggregate(server, 1, model, [reply([2.0, 4.0], 3), reply([2.0, 0.0], 1)])
    assert model.tolist() == [2.0, 3.0]  # as FedAvg, whose step was (1, 3)
    model = aggregate(server, 2, model, [reply(model), reply(model)])
    assert model.tolist() == [2.5, 4.5]  # half of that step again


@pytest.mark.parametrize("spec", ["fedavgm(momentum=0)", "fedavgm(momentum=0, learning_rate=1)"])
def test_without_momentum_it_is_fedavg(spec: str) -> None:
    replies = [([2.0, 4.0], 3), ([2.0, 0.0], 1)]
    (_, one), (_, other) = built(spec), built("fedavg")
    sent = torch.zeros(2)
    first, second = ([reply(*each) for each in replies] for _ in range(2))
    assert torch.equal(aggregate(one, 1, sent, first), aggregate(other, 1, sent, second))


@pytest.mark.parametrize(
    ("spec", "second"),
    [
        ("fedadam", lambda v, d: 0.99 * v + 0.01 * d**2),
        ("fedyogi", lambda v, d: v - 0.01 * d**2 * np.sign(v - d**2)),
    ],
)
def test_adaptive_steps_are_those_of_the_paper(spec: str, second: Any) -> None:
    _, server = built(f"{spec}(learning_rate=0.1)")
    model, m, v = np.zeros(2), np.zeros(2), np.zeros(2)
    for number in (1, 2, 3):
        sites = [np.array([1.0, -2.0]) * number, np.array([3.0, 0.0])]
        step = np.mean(sites, 0) - model
        m, v = 0.9 * m + 0.1 * step, second(v, step)
        # Flower corrects Adam's bias (Kingma & Ba 2015, end of section 2), and not Yogi's.
        scale = np.sqrt(1 - 0.99 ** (number + 1)) / (1 - 0.9 ** (number + 1))
        rate = 0.1 * (scale if spec == "fedadam" else 1)
        replies = [reply(torch.from_numpy(site)) for site in sites]
        made = aggregate(server, number, torch.from_numpy(model).float(), replies)
        model = model + rate * m / (np.sqrt(v) + 1e-3)
        assert np.allclose(made.numpy(), model, rtol=1e-4)


@pytest.mark.parametrize("spec", ["fedmedian", "trimmed_mean(share=0.2)", "krum(malicious=1)"])
def test_one_liar_does_not_move_the_model(spec: str) -> None:
    _, server = built(spec)
    honest = [[1.0, 2.0], [1.1, 2.1], [0.9, 1.9], [1.0, 2.1]]
    replies = [reply(each) for each in honest] + [reply([1e6, -1e6], 10**6)]
    made = aggregate(server, 1, torch.zeros(2), replies)
    assert (made - torch.tensor([1.0, 2.0])).abs().max() < 0.11


def test_the_trimmed_mean_trims_whole_sites_on_either_side() -> None:
    _, server = built("trimmed_mean(share=0.2)")
    made = aggregate(server, 1, torch.zeros(1), [reply([each]) for each in (0.0, 2.0, 4.0, 99.0)])
    assert made.tolist() == [3.0]  # Flower alone would round a fifth of four down to none
    _, server = built("trimmed_mean(share=0.33)")
    made = aggregate(server, 1, torch.zeros(1), [reply([each]) for each in (0.0, 5.0, 99.0)])
    assert made.tolist() == [5.0]


@pytest.mark.parametrize(
    ("spec", "count", "message"),
    [
        ("trimmed_mean(share=0.4)", 2, "at least 3 must answer"),
        ("krum(malicious=1)", 4, "needs the answers of 5 sites; got 4"),
        ("krum(malicious=1, keep=6)", 6, "needs the answers of 7 sites; got 6"),
    ],
)
def test_protection_that_cannot_be_given_is_refused(spec: str, count: int, message: str) -> None:
    _, server = built(spec)
    with pytest.raises(RunError, match=message):
        aggregate(server, 1, torch.zeros(1), [reply([0.0]) for _ in range(count)])


def test_krum_tells_models_apart_that_differ_little() -> None:
    """In single precision, inner products of large models drown what they differ by."""
    base = torch.full((4096,), 10.0)
    generator = torch.Generator().manual_seed(0)
    near = [base + 1e-4 * torch.randn(4096, generator=generator) for _ in range(4)]
    liar = base + 1e-3 * torch.randn(4096, generator=generator)
    for keep in (1, 4):
        _, server = built(f"krum(malicious=1, keep={keep})")
        made = aggregate(server, 1, base, [reply(liar), *(reply(each) for each in near)])
        assert (made - base).square().mean().sqrt() < 3e-4


@pytest.mark.parametrize("name", sorted({*plugins.STRATEGIES.names()} - {"local"}))
def test_state_is_all_that_a_coordinator_remembers(name: str) -> None:
    """A second strategy that takes the state up goes on as the first one does."""
    strategy, server = built(name)
    rounds = [
        [[1.0 * number + site, 2.0 / (number + site)] for site in range(1, 6)] for number in (1, 2)
    ]
    model = aggregate(server, 1, torch.zeros(2), [reply(each) for each in rounds[0]]).float()
    fresh, other = built(name)
    kept = {key: value.clone() for key, value in strategy.state().items()}
    fresh.restore(dict(sorted(kept.items(), reverse=True)))
    went_on = aggregate(server, 2, model, [reply(each) for each in rounds[1]])
    resumed = aggregate(other, 2, model, [reply(each) for each in rounds[1]])
    assert torch.equal(went_on, resumed)
    if kept:
        _, forgetful = built(name)
        again = aggregate(forgetful, 2, model, [reply(each) for each in rounds[1]])
        assert not torch.equal(went_on, again)


@pytest.mark.parametrize(
    ("spec", "wrong"),
    [
        ("fedavgm(momentum=1)", "momentum must be at least 0 and below 1; got 1"),
        ("fedavgm(learning_rate=0)", "learning_rate must be above 0; got 0"),
        ("fedadam(beta1=1)", "beta1 must be at least 0 and below 1; got 1"),
        ("fedyogi(tau=0)", "tau must be above 0; got 0"),
        ("trimmed_mean(share=0.5)", "share must be above 0 and below 0.5; got 0.5"),
        ("krum(malicious=-1)", "malicious must not be negative; got -1"),
        ("krum(keep=0)", "keep must be at least 1; got 0"),
    ],
)
def test_settings_out_of_range_are_refused(spec: str, wrong: str) -> None:
    with pytest.raises(SpecError, match=wrong):
        plugins.STRATEGIES.build(spec)


@pytest.mark.parametrize(("weighted", "mean"), [("true", 4.0), ("false", 3.0)])
def test_averaging_counts_images_or_sites(weighted: str, mean: float) -> None:
    server = plugins.STRATEGIES.build(f"fedavg(weighted={weighted})").server()
    replies = [reply([1.0], 1), reply([5.0], 3)]
    assert float(aggregate(server, 1, torch.zeros(1), replies)) == pytest.approx(mean)
