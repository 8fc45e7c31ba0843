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
from torch import nn

from fedmend import arms as arm_table
from fedmend import plugins, spec
from fedmend.errors import SettingsError, UserError
from fedmend.registry import Registry
from fedmend.weights import Pretrained

Value = int | float | str | bool
"""What a Flower run config can hold."""


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
    """AdamW's step size at the first round; it falls over the rounds along a cosine."""


@dataclass(frozen=True, kw_only=True)
class ImputationSettings(PhaseSettings):
    """Phase 1."""

    noise: str
    """Spec of the mixture the imputer learns from; empty: the run's ``noise``."""
    loss: str
    """Spec of the reconstruction loss."""


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings(PhaseSettings):
    """Phase 2."""


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
        for key, registry in _SPEC_KEYS.items():
            flat[key] = _without_paths(str(flat[key]), registry, marked=True)
        return flat

    def portable(self, key: str) -> str:
        """Return a setting's spec without its paths: what builds the same plug-in elsewhere."""
        return _without_paths(str(self.flat()[key]), _SPEC_KEYS[key], marked=False)

    @classmethod
    def parse(cls, given: Mapping[str, Any]) -> Settings:
        """Check a run config, flat or nested, laid over the defaults, and every spec in it.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
            SpecError: a spec that cannot be built.
        """
        settings = cls.read(given)
        with torch.random.fork_rng(devices=[]):  # building a network draws its weights
            _check_specs(settings)
        return settings

    @classmethod
    def read(cls, given: Mapping[str, Any]) -> Settings:
        """Do what ``parse`` does, but build no spec: sites build only what a task needs.

        Raises:
            SettingsError: an unknown key, a wrong type or a value out of range.
        """
        values: dict[str, Any] = {**defaults(), **flattened(given)}
        settings: Settings = _built(cls, values, "")
        if values:
            raise _unknown(sorted(values))
        _check_ranges(settings)
        _check_lists(settings)
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


_RANGES: Mapping[str, tuple[float, float]] = types.MappingProxyType(
    {
        "channels": (1, 3),
        "image-size": (16, 4096),
        "noise-fraction": (0, 1),
        "min-sites": (1, 1e6),
        "site-fraction": (0, 1),
        "deadline": (0.1, 1e7),
        "join-deadline": (0.1, 1e7),
        "threads": (1, 1024),
        "cache-quota": (0, 1e6),
        "seed": (0, 2**31 - 1),
        "imputation.rounds": (0, 1e6),
        "imputation.epochs": (1, 1e6),
        "imputation.batch-size": (1, 1e6),
        "imputation.learning-rate": (0, 10),
        "classification.rounds": (0, 1e6),
        "classification.epochs": (1, 1e6),
        "classification.batch-size": (1, 1e6),
        "classification.learning-rate": (0, 10),
    }
)


def _check_ranges(settings: Settings) -> None:
    flat = settings.flat()
    for key, (low, high) in _RANGES.items():
        value = flat[key]
        if not low <= float(value) <= high:
            raise SettingsError(f"{key} must be from {low:g} to {high:g}; got {value}")
    if settings.channels == 2:
        raise SettingsError("channels must be 1 (grey) or 3 (RGB); got 2")
    if settings.device.split(":")[0] not in {"auto", "cpu", "cuda", "mps"}:
        raise SettingsError(
            f"device must be auto, cpu, cuda, cuda:N or mps; got {settings.device!r}"
        )
    for key in ("run-name", "resume"):
        if Path(str(flat[key])).name != flat[key]:
            raise SettingsError(f"{key} must be a plain folder name; got {flat[key]!r}")
    for key in ("cache-dir", "run-dir"):
        if flat[key] and not Path(str(flat[key])).expanduser().is_absolute():
            local = f"got {flat[key]!r}; the working directory here is {Path.cwd()}"
            raise SettingsError(f"{key} must be an absolute path", local=local)


def _check_lists(settings: Settings) -> None:
    try:
        shares = settings.split_shares
    except ValueError:
        shares = (0.0, 0.0, 0.0)
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-9 or shares[0] == 0:
        raise SettingsError(
            "split must be three shares train/val/test that sum to 100, such as 70/10/20; "
            f"got {settings.split!r}"
        )
    if not settings.arm_list:
        raise SettingsError(f"arms must name at least one of {', '.join(arm_table.ARMS)}")
    with _named("noise"):
        spec.parse(settings.noise)
    for name in settings.arm_list:
        arm_table.check(name, simulated=settings.simulates_noise)
    for key in ("arm_list", "class_list"):
        names = getattr(settings, key)
        if len(set(names)) < len(names):
            raise SettingsError(f"{key.removesuffix('_list')}: {', '.join(names)} names one twice")


def _check_specs(settings: Settings) -> None:
    """Build every spec once, so that nothing is found wrong after the first message."""
    given: dict[str, tuple[object, ...]] = {
        "imputation.model": (settings.channels,),
        "classification.model": (settings.channels, 2),
    }
    for key, registry in _SPEC_KEYS.items():
        with _named(key):
            text = settings.partition_spec if key == "partition" else str(settings.flat()[key])
            chains = spec.parse(text.replace("{site}", "0")) if text else ()
            if registry is not plugins.NOISES:
                made = registry.build(text.replace("{site}", "0"), *given.get(key, ()))
                _check_start(settings, made)
                continue
            for term in (term for chain in chains for term in chain):
                registry.build(term)


def _check_start(settings: Settings, model: object) -> None:
    """Open the file of weights that a model starts from; the sites must get all of them."""
    if not isinstance(model, nn.Module) or not isinstance(model, Pretrained):
        return
    loaded = model.pretrain()
    for arm in settings.arm_list:
        strategy = arm_table.ARMS[arm].strategy or settings.strategy
        if not loaded <= plugins.STRATEGIES.build(strategy).shared(model):
            raise SettingsError(
                f"the sites of arm {arm!r} would start without the pretrained weights, which "
                f"strategy {strategy} does not send; leave out the arm or the weights"
            )


def _without_paths(text: str, registry: Registry[Any], *, marked: bool) -> str:
    """Return a spec's text without the values of its path parameters: "…", or nothing at all."""
    mixture = spec.parse(text) if text else ()
    return spec.written(
        tuple(tuple(_without(term, registry, marked) for term in chain) for chain in mixture)
    )


def _without(term: spec.Term, registry: Registry[Any], marked: bool) -> spec.Term:
    kinds = {name: each.annotation for name, each in registry.parameters(term.name).items()}
    paths = {name for name, kind in kinds.items() if Path in (kind, *typing.get_args(kind))}
    values = {key: "…" if key in paths else value for key, value in term.values.items()}
    if not marked:
        values = {key: value for key, value in values.items() if key not in paths}
    return spec.Term(term.name, values)


_SPEC_KEYS: Mapping[str, Registry[Any]] = types.MappingProxyType(
    {
        "data": plugins.READERS,
        "partition": plugins.PARTITIONS,
        "noise": plugins.NOISES,
        "detector": plugins.DETECTORS,
        "filter": plugins.FILTERS,
        "strategy": plugins.STRATEGIES,
        "codec": plugins.CODECS,
        "privacy": plugins.PRIVACY,
        "imputation.model": plugins.DENOISERS,
        "imputation.noise": plugins.NOISES,
        "imputation.loss": plugins.LOSSES,
        "classification.model": plugins.BACKBONES,
    }
)


class _named:  # noqa: N801 - reads as a statement: with _named(key)
    """Put the setting's key in front of whatever is wrong with its value."""

    def __init__(self, key: str) -> None:
        self.key = key

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        if isinstance(error, UserError):
            raise type(error)(f"{self.key}: {error}", local=error.local) from error
