"""Model files: safetensors that say how to build and use what they hold.

A file's metadata carry, as JSON under ``fedmend``, the model's kind, spec and channels, the size
of the images it was trained on, the classes, the arm and the run's settings without paths. Nothing
is unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from fedmend import __version__, plugins
from fedmend.errors import DataError
from fedmend.settings import Settings

Kind = Literal["imputer", "classifier"]

_KEY = "fedmend"
_KINDS: tuple[Kind, ...] = typing.get_args(Kind)


@dataclass(frozen=True)
class ModelFile:
    """A model as it is kept."""

    kind: Kind
    spec: str
    """What builds it: a denoiser's or a backbone's."""
    channels: int
    """1 (grey) or 3 (RGB)."""
    image_size: int
    """Side in pixels of the squares that it was trained on."""
    classes: tuple[str, ...]
    """In the order of a classifier's answers."""
    arm: str
    """Which images a classifier was trained on; empty for an imputer."""
    settings: Settings
    """Of the run it comes from, without its paths."""
    arrays: Mapping[str, Tensor]
    routes: tuple[str, ...] = ()
    """Which method mends which kind of noise, for an imputer; see :mod:`imputation.routing`."""
    version: str = __version__
    """fedmend's, by which it was written."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of the model: its spec, and its arrays by name."""
        return digest(self.arrays, self.spec)

    def write(self, path: Path) -> None:
        """Write the file beside ``path``, then rename it there."""
        about = {
            "kind": self.kind,
            "version": self.version,
            "model": self.spec,
            "channels": self.channels,
            "image-size": self.image_size,
            "classes": list(self.classes),
            "arm": self.arm,
            "routes": list(self.routes),
            "settings": self.settings.public(),
        }
        beside = path.with_name(f".{path.name}.partial")
        own = {key: value.contiguous() for key, value in self.arrays.items()}
        safetensors.torch.save_file(own, beside, metadata={_KEY: json.dumps(about)})
        beside.replace(path)

    def build(self) -> nn.Module:
        """Return the model with its weights, in evaluation mode, on the CPU.

        Raises:
            DataError: the arrays do not fit the model that the file names, are not finite, or the
                model takes more memory than there is.
            SpecError: this version of fedmend has no such model.
        """
        model = self._drawn()
        wanted = {name: tuple(value.shape) for name, value in model.state_dict().items()}
        given = {name: tuple(value.shape) for name, value in self.arrays.items()}
        for name in sorted(wanted.keys() | given.keys()):
            if wanted.get(name) != given.get(name):
                raise DataError(
                    f"the {self.kind} file does not fit {self.spec}: {name} should be "
                    f"{wanted.get(name, 'absent')}, is {given.get(name, 'absent')}"
                )
        model.load_state_dict(dict(self.arrays))
        # As loaded: a number of another type may be too large for the model's own.
        _check_finite(model.state_dict(), self.kind)
        return model.eval()

    def _drawn(self) -> nn.Module:
        """Return the model with random weights; torch's own generator stays as it was."""
        try:
            with torch.random.fork_rng(devices=[]):
                model: nn.Module = (
                    plugins.DENOISERS.build(self.spec, self.channels)
                    if self.kind == "imputer"
                    else plugins.BACKBONES.build(self.spec, self.channels, len(self.classes))
                )
        except (MemoryError, OverflowError, RuntimeError, TypeError) as error:
            # Torch raises any of these for a size that it cannot allocate.
            raise DataError(
                f"the model of the {self.kind} file cannot be built on this machine: {self.spec} "
                "is too large for its memory",
                local=str(error).partition("\n")[0],
            ) from error
        return model


def digest(arrays: Mapping[str, Tensor], spec: str) -> str:
    """Return the SHA-256 (hex) of a model: its spec, and its arrays by name."""
    made = hashlib.sha256(spec.encode())
    for name in sorted(arrays):
        made.update(
            name.encode() + b"\0" + arrays[name].detach().cpu().contiguous().numpy().tobytes()
        )
    return made.hexdigest()


def read(path: Path, kind: Kind) -> ModelFile:
    """Read a model file that a run has left.

    Args:
        path: such as ``imputer.safetensors`` or ``classifier-imputed.safetensors``.
        kind: what it must hold.

    Raises:
        DataError: there is no such file, it is none of fedmend's, it holds another kind, it
            contradicts itself, or its weights are not finite.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get(_KEY, "null"))
            arrays = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except OSError as error:
        reason = os.strerror(error.errno).lower() if error.errno else "no such file"
        raise DataError(f"the {kind} file cannot be read: {reason}", local=str(path)) from error
    except (safetensors.SafetensorError, RecursionError, ValueError) as error:
        raise _strange(path, kind, str(error)) from error
    if not isinstance(about, Mapping):
        raise _strange(path, kind, "its metadata do not say how to build it")
    held = about.get("kind")
    if held not in _KINDS:
        raise _strange(path, kind, "its metadata do not say what it holds")
    if held != kind:
        raise DataError(
            f"expected {'an' if kind == 'imputer' else 'a'} {kind} file, got one that holds "
            f"{held!r}",
            local=str(path),
        )
    try:
        file = _parsed(about, arrays, kind)
    except (KeyError, OverflowError, RecursionError, TypeError, ValueError) as error:
        version = about.get("version")
        by = version if isinstance(version, str) else "of no version"
        why = f"written by fedmend {by}: {type(error).__name__} {error}"
        raise _strange(path, kind, why) from error
    _check_itself(file)
    _check_finite(arrays, kind)
    return file


def _parsed(about: Mapping[str, Any], arrays: Mapping[str, Tensor], kind: Kind) -> ModelFile:
    if not isinstance(about["settings"], Mapping):
        raise TypeError("its settings are no table")
    return ModelFile(
        kind=kind,
        spec=str(about["model"]),
        channels=int(about["channels"]),
        image_size=int(about["image-size"]),
        classes=tuple(str(name) for name in about["classes"]),
        arm=str(about.get("arm", "")),
        settings=Settings.read(about["settings"]),
        arrays=arrays,
        routes=tuple(str(route) for route in about.get("routes", ())),
        version=str(about["version"]),
    )


def _check_itself(file: ModelFile) -> None:
    """Hold what a file says of its model to what it says of the run.

    Raises:
        DataError: they differ, or a classifier's classes make no sense.
    """
    settings = file.settings
    if (file.channels, file.image_size) != (settings.channels, settings.image_size):
        raise DataError(
            f"the {file.kind} file contradicts itself: {file.channels} channels and "
            f"{file.image_size} pixels a side, in its settings {settings.channels} and "
            f"{settings.image_size}; take the file as its run has written it"
        )
    if file.kind == "classifier" and len(set(file.classes)) < max(len(file.classes), 2):
        raise DataError("the classifier file does not name two classes or more, each once")


def _check_finite(arrays: Mapping[str, Tensor], kind: Kind) -> None:
    """Refuse weights that turn every image into nothing.

    Raises:
        DataError: one is infinite, or no number at all.
    """
    for name in sorted(arrays):
        if not bool(arrays[name].isfinite().all()):
            raise DataError(
                f"the {kind} file has weights that are not finite numbers: expected finite ones; "
                "its training failed or the file is damaged, take that of another run",
                local=f"in {name!r}",
            )


def _strange(path: Path, kind: Kind, why: str) -> DataError:
    return DataError(
        f"this is no {kind} file of fedmend's: expected the {kind}….safetensors of a run folder",
        local=f"{path}: {why}",
    )
