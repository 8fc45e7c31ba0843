"""The versions of what computes, and the device it computes on."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata

from commands.diagnosis.finding import Finding, ok, problem
from fedmend import __version__
from fedmend.errors import SettingsError

_OLDEST_PYTHON = (3, 11)
_FLOWER = "1.41.0"
_NEEDED = ("torch", "torchvision", "pydicom", "cryptography")


def versions() -> Iterator[Finding]:
    """Look at Python, Flower and torch."""
    python = platform.python_version()
    if sys.version_info < _OLDEST_PYTHON:
        yield problem("python", f"{python}; fedmend needs 3.11 or newer")
    else:
        yield ok("python", f"{python}, fedmend {__version__}")
    flower = _version("flwr")
    if flower != _FLOWER:
        yield problem(
            "flwr", f"{flower or 'not installed'}; this fedmend works with {_FLOWER} alone"
        )
    else:
        yield ok("flwr", flower)
    for name in _NEEDED:
        found = _version(name)
        yield ok(name, found) if found else problem(name, f"not installed: pip install {name}")


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def device(wanted: str) -> Iterator[Finding]:
    """Look whether the device that is asked for is there.

    Args:
        wanted: auto, cpu, cuda, cuda:N or mps.

    Raises:
        SettingsError: it is not.
    """
    import torch

    gpus = [torch.cuda.get_device_name(each) for each in range(torch.cuda.device_count())]
    mps = torch.backends.mps.is_available()
    kind, _, number = wanted.partition(":")
    if kind == "cuda" and int(number or 0) >= len(gpus):
        raise SettingsError(
            f"{wanted} is asked for, and torch sees {len(gpus)} GPUs; a driver is missing, or the "
            "container was given none (compose.gpu.yml), or torch is a CPU build"
        )
    if kind == "mps" and not mps:
        raise SettingsError("mps is asked for, and this is no Mac that torch can compute on")
    if kind == "cuda" or (kind == "auto" and gpus):
        yield ok("device", f"cuda: {gpus[int(number or 0)]}")
    elif kind == "mps" or (kind == "auto" and mps):
        yield ok("device", "mps")
    else:
        yield ok("device", "cpu" + (", as there is no GPU here" if kind == "auto" else ""))
