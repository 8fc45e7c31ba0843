from __future__ import annotations

import numpy as np
import pytest
import torch
from flwr.app import MetricRecord

from fedmend import plugins, wire
from fedmend.wire import Introduction, LeakError, Task

CODEC = plugins.CODECS.build("none()")
PERMITTED = {"head.weight": torch.Size([2, 3])}
WEIGHT = torch.arange(6.0).reshape(2, 3)


def test_a_task_survives_its_record() -> None:
    task = Task("r", "imputation", "", 3, 7, 42, ("a", "b"), imputer="ff", best=2, final=True)
    record = task.record()
    record["server-round"] = 3  # as Flower's strategies do
    assert Task.read(record) == task


def test_an_introduction_survives_its_record() -> None:
    said = Introduction("s", "1", "m", ("a",), 1, {"empty": 2}, {"train": np.array([3.0])})
    read = Introduction.read(said.record())
    assert read.reasons == {"empty": 2}
    assert (read.name, read.classes, read.sums["train"].tolist()) == ("s", ("a",), [3.0])


def test_shared_parameters_and_prefixed_state_may_leave() -> None:
    arrays = {"head.weight": WEIGHT, "control:head.weight": -WEIGHT}
    content = wire.outgoing(arrays, PERMITTED, 5, {"val/n": np.array([1.0])}, CODEC)
    back = wire.unpack(content.array_records[wire.ARRAYS], CODEC)
    assert torch.equal(back["control:head.weight"], -WEIGHT)
    metrics = content.metric_records[wire.METRICS]
    assert metrics[wire.EXAMPLES] == 5
    assert wire.read_sums(metrics)["val/n"].tolist() == [1.0]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("image", torch.zeros(1, 64, 64)),
        ("head.weight", torch.zeros(3, 3)),
        ("control:image", torch.zeros(2, 3)),
    ],
)
def test_no_other_array_may_leave(name: str, value: torch.Tensor) -> None:
    with pytest.raises(LeakError, match="may not leave the site"):
        wire.outgoing({name: value}, PERMITTED, 1, {}, CODEC)


@pytest.mark.parametrize(
    ("name", "value"),
    [("a b", np.zeros(1)), ("image", np.zeros((2, 2))), ("n", np.zeros(1, dtype=np.float32))],
)
def test_no_other_metric_may_leave(name: str, value: np.ndarray) -> None:
    with pytest.raises(LeakError, match="is no sum"):
        wire.outgoing({}, PERMITTED, 1, {name: value}, CODEC)


def test_non_finite_sums_are_refused() -> None:
    with pytest.raises(ValueError, match="loss is not finite"):
        wire.read_sums(MetricRecord({"sum.loss": [float("nan")]}))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({}, "missing or unknown"),
        ({"head.weight": WEIGHT, "more": WEIGHT}, "missing or unknown"),
        ({"head.weight": WEIGHT.T}, "has shape"),
        ({"head.weight": WEIGHT / 0}, "not finite"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wire.check_arrays(arrays, PERMITTED)


@pytest.mark.parametrize("name", plugins.CODECS.names())
def test_every_codec_keeps_names_shapes_and_dtypes(name: str) -> None:
    codec = plugins.CODECS.build(name)
    arrays = {"a": torch.rand(3, 1, 2), "b": torch.rand(()), "c": torch.rand(0, 4)}
    back = codec.decode(codec.encode(arrays))
    assert {k: (v.shape, v.dtype) for k, v in back.items()} == {
        k: (v.shape, v.dtype) for k, v in arrays.items()
    }
