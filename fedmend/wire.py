"""The wire: what one message asks for, and what may leave a site in answer to it.

Every training or evaluation reply has one ArrayRecord and one MetricRecord, with the same keys at
every site. Whatever a site sends is made by :func:`outgoing` or :meth:`Introduction.record`, which
let nothing else through.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
import torch
from flwr.app import (
    Array,
    ArrayRecord,
    ConfigRecord,
    ConfigRecordValues,
    MetricRecord,
    RecordDict,
)
from torch import Tensor

from fedmend import parcel
from fedmend.codecs.base import Codec
from fedmend.sums import Sums

ARRAYS, METRICS, CONFIG = "arrays", "metrics", "config"
EXAMPLES = "num-examples"
"""The key by which Flower's strategies weight a reply."""
ONE = "num-replies"
"""A key by which they weight every reply the same; added at the coordinator."""
_SUM = "sum."
_NAME = re.compile(r"[A-Za-z0-9_./:-]{1,200}")


class Trouble(IntEnum):
    """Error codes of our own, clear of those that Flower uses."""

    FAILED = 100
    NEEDS_IMPUTER = 101


class Task(NamedTuple):
    """What one message asks for."""

    run: str
    """Name of the run: where the site keeps its state."""
    phase: str
    arm: str
    """Empty in phases that have no arms."""
    round: int
    """From 1; the round after the last evaluates only."""
    rounds: int
    seed: int
    classes: tuple[str, ...]
    imputer: str = ""
    """SHA-256 of the imputer that the images are mended with."""
    best: int = 0
    """The round whose outgoing model would be kept so far (0: the initial model)."""
    comparing: bool = False
    """Whether the arrays are the model that is kept, to be compared with its alternatives."""
    final: bool = False
    """Whether the arrays are the model that is kept: test it, and finish the phase."""
    routes: tuple[str, ...] = ()
    """What came of the comparison, "kind=method" each; empty: the imputer mends everything."""

    def record(self) -> ConfigRecord:
        """Return a fresh record: Flower's strategies write into the one they are given."""
        fields = self._asdict()
        return ConfigRecord(
            {
                key.replace("_", "-"): list(value) if isinstance(value, tuple) else value
                for key, value in fields.items()
            }
        )

    @classmethod
    def read(cls, record: ConfigRecord) -> Task:
        """Return the task that a message's record carries, ignoring what strategies added."""
        values: dict[str, Any] = {key: record[key.replace("_", "-")] for key in cls._fields}
        lists = {key: tuple(values[key]) for key in ("classes", "routes")}
        return cls(**values | lists)


@dataclass(frozen=True)
class Introduction:
    """How a site answers the first query: counts and class names, no more."""

    name: str
    version: str
    """Of fedmend there."""
    models: str
    """Fingerprint of the networks that the site's program builds of the run's settings."""
    classes: tuple[str, ...]
    channels: int
    """Most channels that any of its images has."""
    reasons: Mapping[str, int]
    """Files that cannot be used, counted by reason."""
    sums: Sums
    """Counts of images and the detector's histogram, as sums that merge."""

    def record(self) -> RecordDict:
        """Return the reply's records."""
        texts: dict[str, ConfigRecordValues] = {
            "name": self.name,
            "version": self.version,
            "models": self.models,
            "classes": list(self.classes),
            "channels": self.channels,
            "reasons": list(self.reasons),
            "reason-counts": list(self.reasons.values()),
        }
        return RecordDict({CONFIG: ConfigRecord(texts), METRICS: _metrics(0, self.sums)})

    @classmethod
    def read(cls, content: RecordDict) -> Introduction:
        """Read a reply.

        Raises:
            KeyError, TypeError, ValueError: it is not an introduction.
        """
        texts = content.config_records[CONFIG]
        reasons = dict(zip(_texts(texts["reasons"]), _numbers(texts["reason-counts"]), strict=True))
        return cls(
            name=str(texts["name"]),
            version=str(texts["version"]),
            models=str(texts.get("models", "")),  # versions that do not say are refused by name
            classes=tuple(_texts(texts["classes"])),
            channels=int(str(texts["channels"])),
            reasons=reasons,
            sums=read_sums(content.metric_records[METRICS]),
        )


def _texts(value: object) -> list[str]:
    assert isinstance(value, list)
    return [str(each) for each in value]


def _numbers(value: object) -> list[int]:
    assert isinstance(value, list)
    return [int(each) for each in value]


class LeakError(RuntimeError):
    """Something was about to leave the site that must not; a defect, never a user's mistake."""


def outgoing(
    arrays: Mapping[str, Tensor],
    permitted: Mapping[str, torch.Size],
    examples: int,
    sums: Sums,
    codec: Codec,
) -> RecordDict:
    """Return a reply's records, after checking that each of them may leave the site.

    An array may leave if it is named after a shared parameter and has that parameter's shape;
    an algorithm's own state (say, a control variate) carries a prefix: ``control:head.weight``.

    Args:
        arrays: what the strategy wants to send.
        permitted: shapes of the shared parameters by name.
        examples: training images behind the arrays; the reply's weight.
        sums: metrics as one-dimensional float64 arrays.
        codec: how arrays are encoded.

    Raises:
        LeakError: an array or a metric that may not leave.
    """
    for name, value in arrays.items():
        base = name.rpartition(":")[2]
        if base not in permitted or value.shape != permitted[base]:
            raise LeakError(f"array {name!r} of shape {tuple(value.shape)} may not leave the site")
    packed = parcel.packed(pack(arrays, codec))
    return RecordDict({ARRAYS: packed, METRICS: _metrics(examples, sums)})


def _metrics(examples: int, sums: Sums) -> MetricRecord:
    record = MetricRecord({EXAMPLES: examples})
    for name, value in sums.items():
        if not _NAME.fullmatch(name) or value.ndim != 1 or value.dtype != np.float64:
            raise LeakError(f"metric {name!r} ({value.dtype}, {value.ndim} axes) is no sum")
        record[_SUM + name] = value.tolist()
    return record


def read_sums(record: MetricRecord) -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Return a reply's sums, sorted by name.

    Raises:
        ValueError: one that is not finite.
    """
    sums = {}
    for key in sorted(record):
        if key.startswith(_SUM):
            value = np.asarray(record[key], dtype=np.float64)
            if not np.isfinite(value).all():
                raise ValueError(f"metric {key.removeprefix(_SUM)} is not finite")
            sums[key.removeprefix(_SUM)] = value
    return sums


def pack(arrays: Mapping[str, Tensor], codec: Codec) -> ArrayRecord:
    """Return tensors as a record, encoded, in the order of their names."""
    encoded = codec.encode({name: arrays[name].detach().cpu() for name in sorted(arrays)})
    return ArrayRecord({name: Array(value) for name, value in encoded.items()})


def unpack(record: ArrayRecord, codec: Codec) -> dict[str, Tensor]:
    """Return a record's tensors, decoded; they may have come as a parcel.

    Raises:
        ValueError, TypeError: the parcel is damaged.
    """
    arrays = parcel.opened(record)
    return codec.decode({name: value.numpy() for name, value in arrays.items()})


def check_arrays(arrays: Mapping[str, Tensor], expected: Mapping[str, torch.Size]) -> None:
    """Check arrays against the model they are for.

    Raises:
        ValueError: a missing, unknown, misshapen or non-finite array, by name.
    """
    strays: Sequence[str] = sorted(set(arrays) ^ set(expected))
    if strays:
        raise ValueError(f"{len(strays)} arrays are missing or unknown, the first is {strays[0]}")
    for name, value in arrays.items():
        if value.shape != expected[name]:
            raise ValueError(f"{name} has shape {tuple(value.shape)}, not {tuple(expected[name])}")
        if not bool(torch.isfinite(value).all()):
            raise ValueError(f"{name} is not finite")
