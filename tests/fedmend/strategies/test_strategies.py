"""Every strategy: what travels, what stays, and that averages are those done by hand."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch
from flwr.app import Message, MetricRecord, RecordDict
from torch import nn

from fedmend import parcel, plugins, wire
from fedmend.errors import RunError
from fedmend.strategies.base import Memory, Strategy

PLAIN = plugins.CODECS.build("none()")


class Net(nn.Module):
    """A body that is shared and a head that is the site's own."""

    local_names = frozenset({"head.weight"})

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(2, 2, bias=False)
        self.head = nn.Linear(2, 1, bias=False)


def reply(node: int, arrays: dict[str, torch.Tensor], examples: int) -> Message:
    message = Message(RecordDict(), node, "train")
    message.metadata.__dict__["_src_node_id"] = 1
    content = RecordDict(
        {
            wire.ARRAYS: wire.pack(arrays, PLAIN),
            wire.METRICS: MetricRecord({wire.EXAMPLES: examples}),
        }
    )
    return Message(content, reply_to=message)


NAMES = plugins.STRATEGIES.names()


@pytest.mark.parametrize("name", NAMES)
def test_local_layers_stay_and_come_back(name: str) -> None:
    strategy = plugins.STRATEGIES.build(name)
    assert "head.weight" not in strategy.shared(Net())
    memory: Memory = {}
    model = Net()
    strategy.begin(model, strategy.initial(model), memory)
    with torch.no_grad():
        model.head.weight.fill_(7)
    travels = strategy.reply(model, 1, memory)
    assert not any("head" in key for key in travels)
    again = Net()
    strategy.begin(again, {key: value.clone() for key, value in travels.items()}, memory)
    assert (again.head.weight == 7).all()


@pytest.mark.parametrize("name", NAMES)
def test_what_travels_has_the_names_of_what_came(name: str) -> None:
    strategy = plugins.STRATEGIES.build(name)
    model = Net()
    incoming = strategy.initial(model)
    strategy.begin(model, incoming, {})
    strategy.adjust(model)
    assert strategy.reply(model, 1, {}).keys() == incoming.keys()


@pytest.mark.parametrize("name", NAMES)
def test_arrays_of_another_model_are_refused(name: str) -> None:
    strategy = plugins.STRATEGIES.build(name)
    with pytest.raises(RunError, match="versions differ"):
        strategy.begin(Net(), {"stranger": torch.zeros(1)}, {})


@pytest.mark.parametrize("name", ["fedavg", "fedprox"])
def test_the_average_is_weighted_by_images(name: str) -> None:
    flower = plugins.STRATEGIES.build(name).server()
    one, other = {"w": torch.tensor([1.0, 2.0])}, {"w": torch.tensor([5.0, -2.0])}
    arrays, _ = flower.aggregate_train(1, [reply(1, one, 3), reply(2, other, 1)])
    assert arrays is not None
    assert wire.unpack(arrays, PLAIN)["w"].tolist() == [2.0, 1.0]


def test_fedprox_pulls_towards_the_round_model() -> None:
    strategy = plugins.STRATEGIES.build("fedprox(mu=0.5)")
    model = Net()
    strategy.begin(model, strategy.initial(model), {})
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    with torch.no_grad():
        model.body.weight.add_(2.0)
        model.head.weight.add_(2.0)
    strategy.adjust(model)
    assert model.body.weight.grad is not None
    assert model.head.weight.grad is not None
    assert torch.allclose(model.body.weight.grad, torch.ones(2, 2))
    assert (model.head.weight.grad == 0).all()  # a local layer has no shared model to stay near


class Scaffold(Strategy):
    """SCAFFOLD (Karimireddy et al. 2020, option II), to show that the hooks carry it.

    The control variates travel as ``control:<parameter>``; the average of the sites' variates is
    the coordinator's, which is SCAFFOLD's where all sites have as many images.
    """

    step = 0.1

    def initial(self, model: nn.Module) -> dict[str, torch.Tensor]:
        weights = super().initial(model)
        return weights | {f"control:{k}": torch.zeros_like(v) for k, v in weights.items()}

    def begin(self, model: nn.Module, incoming: Mapping[str, torch.Tensor], memory: Memory) -> None:
        super().begin(model, incoming, memory)
        self.start = {k: v.clone() for k, v in super().initial(model).items()}
        self.common = {k: incoming[f"control:{k}"] for k in self.start}
        self.own = {
            k: memory.get(f"control:{k}", torch.zeros_like(v)) for k, v in self.start.items()
        }

    def adjust(self, model: nn.Module) -> None:
        for name, parameter in model.named_parameters():
            if name in self.common and parameter.grad is not None:
                parameter.grad += self.common[name] - self.own[name]

    def reply(self, model: nn.Module, steps: int, memory: Memory) -> dict[str, torch.Tensor]:
        weights = super().reply(model, steps, memory)
        for name, value in weights.items():
            drift = (self.start[name] - value) / (steps * self.step)
            memory[f"control:{name}"] = self.own[name] - self.common[name] + drift
        return weights | {f"control:{k}": memory[f"control:{k}"] for k in weights}


def descend(strategy: Strategy, rounds: int) -> torch.Tensor:
    """Minimise two sites' unlike quadratics by federated gradient descent, ten local steps."""
    goals = [torch.tensor([[4.0, 0.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 2.0]])]
    stiffness = [1.0, 9.0]
    memories: list[Memory] = [{}, {}]
    flower = strategy.server()
    torch.manual_seed(0)
    arrays = strategy.initial(Net())
    for number in range(rounds):
        replies = []
        for site, (goal, stiff) in enumerate(zip(goals, stiffness, strict=True)):
            model = Net()
            strategy.begin(model, arrays, memories[site])
            for _ in range(10):
                model.zero_grad()
                loss = stiff / 2 * (model.body.weight - goal).square().sum()
                loss.backward()  # type: ignore[no-untyped-call]
                model.head.weight.grad = torch.zeros_like(model.head.weight)
                strategy.adjust(model)
                with torch.no_grad():
                    for parameter in model.parameters():
                        assert parameter.grad is not None
                        parameter.sub_(parameter.grad, alpha=Scaffold.step)
            sent = strategy.reply(model, 10, memories[site])
            permitted = {k: v.shape for k, v in model.state_dict().items()}
            content = wire.outgoing(sent, permitted, 1, {}, PLAIN)
            content[wire.ARRAYS] = parcel.opened(content.array_records[wire.ARRAYS])
            message = Message(RecordDict(), site + 1, "train")
            message.metadata.__dict__["_src_node_id"] = 1
            replies.append(Message(content, reply_to=message))
        merged, _ = flower.aggregate_train(number, replies)
        assert merged is not None
        arrays = wire.unpack(merged, PLAIN)
    return arrays["body.weight"]


def test_the_hooks_carry_control_variates() -> None:
    """FedAvg drifts to the stiff site's side of the optimum; SCAFFOLD finds the optimum."""
    optimum = torch.tensor([[0.4, 0.0], [0.0, 1.8]])
    with torch.random.fork_rng():
        drifted = descend(Strategy(), 60)
        corrected = descend(Scaffold(), 60)
    assert (drifted - optimum).abs().max() > 0.3
    assert (corrected - optimum).abs().max() < 0.05
