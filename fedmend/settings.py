"""Settings: what one run was asked to do, checked before the first message.

Defaults live in ``pyproject.toml`` alone (``[tool.flwr.app.config]``); the wheel carries that
file as data, so an installed fedmend has the same ones. A field ``image_size`` is the key
``image-size``; a nested group's field is ``imputation.rounds``.
"""

from __future__ import annotations

import dataclasses
import functools
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fedmend import checks, spec
from fedmend.errors import SettingsError

Value = int | float | str | bool
"""What a Flower run config can hold."""

SITES = Path("checkpoints/sites.json")
"""Where a run folder keeps how many sites were asked, and the images of those that joined."""

HIDDEN = "…"
"""What stands for a path in settings that leave this machine."""

RUNS = Path("~/.fedmend/runs")
"""The folder of run folders, where ``run-dir`` names no other."""


@dataclass(frozen=True, kw_only=True)
class PhaseSettings:
    """How one phase is trained."""

    model: str
    """Spec of the network."""
    rounds: int
    """Federated rounds; 0 keeps the initial weights."""
    epochs: int
    """Local epochs a round."""
    batch_size: int
    """Images a step."""
    learning_rate: float
    """The step size at the first round."""
    schedule: str
    """``cosine``: the step size falls over the rounds towards 0; ``constant``: it does not."""
    optimiser: str
    """Spec of what steps along the gradients; it begins anew in each round."""
    ema: float
    """What an exponential moving average of the rounds' models keeps of itself in each round,
    from 0 (there is none) to 1. After the last round it is kept if it validates best."""
    patience: int
    """Rounds without a better validation score after which training ends; 0: never before all
    rounds are done."""


@dataclass(frozen=True, kw_only=True)
class ImputationSettings(PhaseSettings):
    """Phase 1."""

    noise: str
    """Spec of the mixture the imputer learns from; empty: the run's ``noise``."""
    loss: str
    """Spec of the reconstruction loss."""
    filters: str
    """Classical filters, ``a() | b()``, of which one mends a kind of noise in the imputer's place
    where it validates better; empty: the imputer mends every kind."""
    self_supervised: str
    """Where noisy images are learnt from, without clean ones: ``never``, ``missing`` (at sites
    that have no clean images) or ``always``."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(PhaseSettings):
    """Phase 2."""

    weighting: str
    """What mended images count for in training: ``even``, as much as others; ``balanced``, shown a
    third as often; ``confidence``, as much as they are to be believed."""
    as_acquired: float
    """How far at most a mended image goes back to what it was as acquired at the end of training,
    from 0 to 1: each time it is shown a share is drawn, up to one that grows evenly from 0 to
    this."""
    class_weights: str
    """What an image counts for by its class: ``inverse``, the more the rarer its class is at the
    site, a quarter to four times; ``none``, all the same."""
    augment: str
    """How training images are varied: ``shift``, moved by up to 1/16 of the side, and their grey
    values stretched a little; ``none``."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything that one run was asked to do."""

    data: str
    """Spec of the reader, in a simulation; a real site uses its own node-config's instead."""
    classes: str
    """Comma list of class names; empty: the sorted union of what the sites have."""
    channels: int
    """1 (grey) or 3 (RGB): what every image is converted to."""
    image_size: int
    """Side of the square that every image is fitted into, in pixels."""
    split: str
    """Shares of patients for train/val/test in per cent, where the data do not say themselves."""
    site_column: str
    """Label column that names each image's site; short for ``partition="column(name=…)"``."""
    partition: str
    """Spec of how a simulation divides the data among its sites."""
    seed: int
    """Of everything random in the run."""
    noise: str
    """Spec of the noise that a simulation adds; ``none()`` on real sites."""
    noise_fraction: float
    """Share of the training and validation images that a simulation corrupts."""
    noise_known: bool
    """Whether sites are told which images are noisy, or must detect it themselves."""
    detector: str
    """Spec of the blind noise detector."""
    filter: str
    """Spec of the classical filter that the imputer is compared with."""
    arms: str
    """Comma list of the training sets to compare; see fedmend/arms.py."""
    strategy: str
    """Spec of the federated algorithm."""
    codec: str
    """Spec of how arrays are encoded on the wire."""
    privacy: str
    """Spec of what protects a site's updates beyond staying at home."""
    min_sites: int
    """Fewest sites with which a round counts; below it the run ends with the reason."""
    site_fraction: float
    """Share of the sites that is asked in each round, drawn anew; at least ``min-sites``."""
    deadline: float
    """Seconds after which a round goes on without the sites that have not answered."""
    failures_allowed: int
    """Failures in a row after which a site is not asked any more; 0: it is asked in every round."""
    join_deadline: float
    """Seconds that sites have to join, decoding all of their images where that is to be done."""
    threads: int
    """CPU threads a worker computes with; part of what makes results repeat to the bit."""
    device: str
    """auto, cpu, cuda, cuda:N or mps."""
    cache_dir: str
    """Folder of a site's decoded images; empty: ``~/.fedmend/cache``."""
    cache_quota: float
    """Largest size of that folder in GiB; the least recently used entries go first."""
    run_dir: str
    """Folder of run folders; empty: ``~/.fedmend/runs``."""
    run_name: str
    """Name of this run's folder; empty: the run id."""
    resume: str
    """Name of a run folder to go on with; empty: a fresh run."""
    imputation: ImputationSettings
    classification: ClassificationSettings

    @property
    def arm_list(self) -> tuple[str, ...]:
        """The arms in the order asked for."""
        return tuple(part.strip() for part in self.arms.split(",") if part.strip())

    @property
    def class_list(self) -> tuple[str, ...]:
        """The classes asked for; empty where the sites decide."""
        return tuple(part.strip() for part in self.classes.split(",") if part.strip())

    @property
    def imputer_noise(self) -> str:
        """The mixture that the imputer learns from."""
        return self.imputation.noise or self.noise

    @property
    def partition_spec(self) -> str:
        """The partition, with ``site-column`` taken into account."""
        return f"column(name='{self.site_column}')" if self.site_column else self.partition

    @property
    def simulates_noise(self) -> bool:
        """Whether the run adds noise itself, and so knows the truth beneath it."""
        return any(term.name != "none" for chain in spec.parse(self.noise) for term in chain)

    @property
    def split_shares(self) -> tuple[float, float, float]:
        """Shares of train, val and test; they sum to 1."""
        train, val, test = (float(part) / 100 for part in self.split.split("/"))
        return train, val, test

    def flat(self) -> dict[str, Value]:
        """Return the settings as a flat run config, dotted keys and all."""
        return _flattened(self, "")

    def public(self) -> dict[str, Value]:
        """Return the flat settings without paths of this machine: fit for a run folder."""
        flat = self.flat() | {"run-dir": "", "cache-dir": ""}
        for key, registry in checks.SPEC_KEYS.items():
            flat[key] = checks.with_paths(str(flat[key]), registry, lambda _: HIDDEN)
        return flat

    def portable(self, key: str) -> str:
        """Return a setting's spec without its paths: what builds the same plug-in elsewhere."""
        return checks.with_paths(str(self.flat()[key]), checks.SPEC_KEYS[key], lambda _: None)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Settings:
        """Check a run config, flat or nested, laid over the defaults, and every spec in it.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
            SpecError: a spec that cannot be built.
        """
        settings = cls.read(given)
        with torch.random.fork_rng(devices=[]):  # building a network draws its weights
            checks.specs(settings)
        return settings

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Settings:
        """Do what ``parse`` does, but build no spec: sites build only what a task needs.

        Specs are spelt one way: what is kept by their text is found again.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
        """
        values: dict[str, Any] = {**defaults(), **flattened(given)}
        values |= {key: checks.spelt(values[key]) for key in checks.SPEC_KEYS}
        settings: Settings = _built(cls, values, "")
        if values:
            raise _unknown(sorted(values))
        checks.ranges(settings)
        checks.choices(settings)
        checks.lists(settings)
        return settings


@functools.cache
def defaults() -> Mapping[str, Value]:
    """Return the default of every key, from the pyproject.toml that this code came with."""
    here = Path(__file__).parent
    candidates = (here / "pyproject.toml", here.parent / "pyproject.toml")
    source = next((path for path in candidates if path.is_file()), None)
    if source is None:
        raise SettingsError("this installation of fedmend lacks its pyproject.toml; reinstall it")
    table = tomllib.loads(source.read_text(encoding="utf-8"))
    return types.MappingProxyType(flattened(table["tool"]["flwr"]["app"]["config"]))


def flattened(table: Mapping[str, Any]) -> dict[str, Value]:
    """Return nested tables as one level of dotted keys.

    >>> flattened({"seed": 1, "imputation": {"rounds": 3}})
    {'seed': 1, 'imputation.rounds': 3}
    """
    flat: dict[str, Value] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= {f"{key}.{inner}": each for inner, each in flattened(value).items()}
        else:
            flat[key] = value
    return flat


def _flattened(group: Any, prefix: str) -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for entry in dataclasses.fields(group):
        value = getattr(group, entry.name)
        key = prefix + entry.name.replace("_", "-")
        flat |= _flattened(value, f"{key}.") if dataclasses.is_dataclass(value) else {key: value}
    return flat


def _unknown(keys: list[str]) -> SettingsError:
    known = ", ".join(defaults())
    return SettingsError(f"unknown setting {', '.join(keys)}; the settings are {known}")


def _built(group: type[Any], values: dict[str, Any], prefix: str) -> Any:
    """Take the group's fields out of ``values`` and build it."""
    hints = typing.get_type_hints(group)
    made = {}
    for entry in dataclasses.fields(group):
        kind = hints[entry.name]
        key = prefix + entry.name.replace("_", "-")
        if dataclasses.is_dataclass(kind):
            made[entry.name] = _built(typing.cast("type[Any]", kind), values, f"{key}.")
        else:
            made[entry.name] = _checked(key, values.pop(key), kind)
    return group(**made)


_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def _checked(key: str, value: object, kind: type[Any]) -> object:
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        given = _WORDS.get(type(value), type(value).__name__)
        raise SettingsError(f"{key} must be {_WORDS[kind]}; got {value!r}, which is {given}")
    return value
