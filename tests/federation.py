"""Small whole runs in this process, shared by the tests of both apps."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from flwr.app import Error, Message

from client_app.app import app as client_app
from fedmend.settings import Settings
from server_app.federation import federate
from tests.grid import Fault, LocalGrid

TINY: dict[str, Any] = {
    "detector": "residual()",  # of pictures as small as these, more is asked than they can show
    "data": "phantom(count=96, size=32)",
    "image-size": 32,
    "imputation.model": "unet(width=8)",
    "imputation.rounds": 2,
    "imputation.epochs": 1,
    "classification.model": "small_cnn(width=8)",
    "classification.rounds": 2,
    "classification.epochs": 1,
    "join-deadline": 0.2,
    "deadline": 0.2,  # everything answers at once in one process, or never
}


def tiny(folder: Path, **changes: Any) -> Settings:
    """Return the settings of a run of seconds; ``__`` in a name stands for a dot."""
    given = {key.replace("__", ".").replace("_", "-"): value for key, value in changes.items()}
    own = {"run-dir": str(folder / "runs"), "cache-dir": str(folder / "cache"), "run-name": "tiny"}
    return Settings.parse(TINY | own | given)


def grid(
    settings: Settings, sites: int = 3, faults: Mapping[int, Fault] | None = None
) -> LocalGrid:
    """Return simulated sites."""
    return LocalGrid.simulated(client_app, settings.flat(), sites, faults)


def run(
    settings: Settings, sites: int = 3, faults: Mapping[int, Fault] | None = None
) -> tuple[Path, dict[str, Any]]:
    """Run both phases; return the run folder and its summary."""
    folder = federate(grid(settings, sites, faults), settings, "1").path
    return folder, json.loads((folder / "summary.json").read_text(encoding="utf-8"))


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Return a model of a run folder."""
    return safetensors.torch.load_file(folder / f"{name}.safetensors")


def same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    """Return whether two models are equal to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def failing(*kinds: str) -> Fault:
    """Return a fault: an error reply to messages of these types."""

    def fault(message: Message, reply: Message) -> Message:
        if message.metadata.message_type not in kinds:
            return reply
        return Message(Error(100, "the disk is full"), reply_to=message)

    return fault


def silent(*kinds: str) -> Fault:
    """Return a fault: no reply to messages of these types."""
    return lambda message, reply: None if message.metadata.message_type in kinds else reply
