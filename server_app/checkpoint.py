"""Checkpoints: one safetensors file per arm, from which an interrupted run goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.torch
import torch
from torch import Tensor

from fedmend.errors import RunError
from fedmend.sums import Sums
from server_app.sites import Traffic

_PLAIN = (
    "round", "best_round", "best_score", "top_score", "bar", "done", "imputer", "seconds",
    "scores", "used",
)  # fmt: skip


@dataclass
class Checkpoint:
    """Where one arm of a phase stands."""

    arrays: Mapping[str, Tensor]
    """The model that goes out next, and whatever else the strategy sends."""
    best: Mapping[str, Tensor]
    """Those that are kept: the last of those that validated as well as the best."""
    average: Mapping[str, Tensor] = field(default_factory=dict)
    """Exponential moving average of the rounds' models; empty where none is kept."""
    round: int = 0
    """Rounds that are done."""
    best_round: int = 0
    best_score: float = float("-inf")
    """The validation score of the model that is kept."""
    top_score: float = float("-inf")
    """The best validation score, whether or not that model is kept."""
    bar: float = float("-inf")
    """What a later model must reach to be kept: the best score, less its standard error."""
    scores: list[float] = field(default_factory=list)
    """Validation score of each model that went out, the initial one first."""
    strategy: Mapping[str, Tensor] = field(default_factory=dict)
    """The state of the strategy's coordinator half."""
    done: bool = False
    """Whether the best model has been tested and put to use."""
    imputer: str = ""
    """SHA-256 of the imputer that was broadcast."""
    compared: Sums = field(default_factory=dict)
    """The merged sums that decide what mends each kind of noise."""
    sites: Mapping[str, Sums] = field(default_factory=dict)
    """Each site's sums from the test."""
    used: list[str] = field(default_factory=list)
    """The sites that the model has learnt from, sorted."""
    seconds: float = 0.0
    traffic: Traffic = field(default_factory=Traffic)

    def model(self) -> dict[str, Tensor]:
        """Return the best model's shared arrays, without what the strategy sends beside them."""
        return {name: value for name, value in self.best.items() if ":" not in name}

    def save(self, path: Path) -> None:
        """Write the checkpoint beside ``path``, then rename it there."""
        tensors = {f"arrays|{name}": value for name, value in self.arrays.items()}
        tensors |= {f"best|{name}": value for name, value in self.best.items()}
        tensors |= {f"average|{name}": value for name, value in self.average.items()}
        tensors |= {f"strategy|{name}": value for name, value in self.strategy.items()}
        for site, sums in self.sites.items():
            tensors |= {f"sums|{site}|{k}": torch.from_numpy(v) for k, v in sums.items()}
        tensors |= {f"compared|{k}": torch.from_numpy(v) for k, v in self.compared.items()}
        plain = {key: getattr(self, key) for key in _PLAIN} | {"traffic": list(self.traffic)}
        beside = path.with_suffix(".partial")
        # Shared storage (at the start arrays and best are the same) is not for safetensors.
        own = {name: value.clone().contiguous() for name, value in tensors.items()}
        safetensors.torch.save_file(own, beside, metadata={"checkpoint": json.dumps(plain)})
        beside.replace(path)

    @classmethod
    def load(cls, path: Path) -> Checkpoint:
        """Read what ``save`` wrote.

        Raises:
            RunError: the file is damaged, or another version of fedmend wrote it.
        """
        try:
            return cls._read(path)
        except (safetensors.SafetensorError, LookupError, TypeError, ValueError) as error:
            raise RunError(
                f"checkpoint {path.name} is damaged, or of another version of fedmend: "
                "choose another run-name to start afresh",
                local=f"{path}: {error}",
            ) from error

    @classmethod
    def _read(cls, path: Path) -> Checkpoint:
        kinds = ("arrays", "best", "average", "strategy")
        groups: dict[str, dict[str, Tensor]] = {kind: {} for kind in kinds}
        sites: dict[str, dict[str, npt.NDArray[np.float64]]] = {}
        compared: dict[str, npt.NDArray[np.float64]] = {}
        with safetensors.safe_open(path, framework="pt") as file:
            plain = json.loads(file.metadata()["checkpoint"])
            for key in file.keys():  # noqa: SIM118 - a safetensors file is no mapping
                kind, _, name = key.partition("|")
                if kind == "sums":
                    site, _, name = name.partition("|")
                    sites.setdefault(site, {})[name] = file.get_tensor(key).numpy()
                elif kind == "compared":
                    compared[name] = file.get_tensor(key).numpy()
                else:
                    groups[kind][name] = file.get_tensor(key)
        traffic = Traffic(*plain.pop("traffic"))
        return cls(
            arrays=groups["arrays"],
            best=groups["best"],
            average=groups["average"],
            strategy=groups["strategy"],
            sites=dict(sorted(sites.items())),
            compared=compared,
            traffic=traffic,
            **plain,
        )
