"""The size of a simulation: how many sites, and how many of them compute at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fedmend.errors import SettingsError
from fedmend.settings import Settings

DEFAULT_SITES = 4
_WORKERS_PER_GPU = 4
_KINDS: Mapping[str, type[Any]] = {"sites": int, "workers": int, "gpus-per-worker": float}


class Simulation(NamedTuple):
    """What Flower's simulation is told."""

    sites: int
    """Simulated sites."""
    workers: int
    """Processes that compute; each serves one site at a time."""
    threads: int
    """CPU threads of each."""
    gpus_per_worker: float
    """Share of a GPU that each holds; 0 computes on the CPU."""


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> int:
    """Return the number of NVIDIA GPUs, as the driver lists them: importing torch takes seconds."""
    listed = Path("/proc/driver/nvidia/gpus")
    return len(list(listed.iterdir())) if listed.is_dir() else 0


def merged(table: Mapping[str, Any], options: Mapping[str, int | float | None]) -> dict[str, Any]:
    """Lay the command line's options over an experiment's ``[simulation]`` table.

    Raises:
        SettingsError: an unknown key, a wrong type or a value below what makes sense.
    """
    chosen = {**table, **{key: value for key, value in options.items() if value is not None}}
    for key, value in chosen.items():
        if key not in _KINDS:
            raise SettingsError(
                f"unknown key {key!r} in [simulation]; there is {', '.join(_KINDS)}"
            )
        kind = _KINDS[key]
        if isinstance(value, bool) or not isinstance(value, (int, kind)):
            word = "a whole number" if kind is int else "a number"
            raise SettingsError(f"simulation.{key} must be {word}; got {value!r}")
        if value < (1 if kind is int else 0):
            raise SettingsError(f"simulation.{key} is too small: {value}")
    return chosen


def sized(
    settings: Settings, wanted: Mapping[str, Any], *, core_count: int, gpu_count: int
) -> Simulation:
    """Choose what was not asked for, and refuse what this machine cannot hold.

    As many workers as sites are of use, and workers times threads never exceeds the cores.
    Each worker's arithmetic depends on ``threads`` alone: results do not change with the machine.

    Raises:
        SettingsError: fewer sites than ``min-sites``, or more threads than cores.
    """
    sites = int(wanted.get("sites", DEFAULT_SITES))
    if sites < settings.min_sites:
        raise SettingsError(
            f"the number of sites, {sites}, is below min-sites = {settings.min_sites}"
        )
    on_gpu = gpu_count > 0 and settings.device.split(":")[0] in {"auto", "cuda"}
    room = max(1, core_count // settings.threads)
    usual = min(room, sites, gpu_count * _WORKERS_PER_GPU if on_gpu else sites)
    workers = int(wanted.get("workers", usual))
    if workers * settings.threads > max(core_count, settings.threads):
        raise SettingsError(
            f"{workers} workers of {settings.threads} threads need {workers * settings.threads} "
            f"cores; there are {core_count}"
        )
    share = min(1.0, gpu_count / workers) if on_gpu else 0.0
    share = float(wanted.get("gpus-per-worker", share))
    if share > gpu_count or share * workers > gpu_count:
        raise SettingsError(
            f"{workers} workers with {share:g} GPU each need {share * workers:g} GPUs; "
            f"there are {gpu_count}"
        )
    return Simulation(sites, workers, settings.threads, share)
