"""Checks of a run's settings: ranges, lists, and every spec by building it."""

from __future__ import annotations

import contextlib
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from fedmend import arms as arm_table
from fedmend import plugins, spec
from fedmend.errors import SettingsError, SpecError, UserError
from fedmend.registry import Registry
from fedmend.weights import Pretrained

if TYPE_CHECKING:
    from fedmend.settings import Settings

SPEC_KEYS: Mapping[str, Registry[Any]] = types.MappingProxyType(
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
        "imputation.filters": plugins.FILTERS,
        "imputation.optimiser": plugins.OPTIMISERS,
        "classification.model": plugins.BACKBONES,
        "classification.optimiser": plugins.OPTIMISERS,
    }
)
"""The settings that are specs, and the registry of each."""

_MIXTURES = ("noise", "imputation.noise", "imputation.filters")
_CHOICES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "imputation.schedule": ("cosine", "constant"),
        "classification.schedule": ("cosine", "constant"),
        "imputation.self-supervised": ("never", "missing", "always"),
        "classification.weighting": ("even", "balanced", "confidence"),
        "classification.class-weights": ("inverse", "none"),
        "classification.augment": ("shift", "none"),
    }
)
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
_RANGES: Mapping[str, tuple[float, float]] = types.MappingProxyType(
    {
        "channels": (1, 3),
        "image-size": (16, 4096),
        "noise-fraction": (0, 1),
        "min-sites": (1, 1e6),
        "site-fraction": (0, 1),
        "deadline": (0.1, 1e7),
        "failures-allowed": (0, 1e6),
        "join-deadline": (0.1, 1e7),
        "threads": (1, 1024),
        "cache-quota": (0, 1e6),
        "seed": (0, 2**31 - 1),
        "imputation.rounds": (0, 1e6),
        "imputation.epochs": (1, 1e6),
        "imputation.batch-size": (1, 1e6),
        "imputation.learning-rate": (0, 10),
        "imputation.ema": (0, 0.9999),
        "imputation.patience": (0, 1e6),
        "classification.rounds": (0, 1e6),
        "classification.epochs": (1, 1e6),
        "classification.batch-size": (1, 1e6),
        "classification.learning-rate": (0, 10),
        "classification.ema": (0, 0.9999),
        "classification.patience": (0, 1e6),
        "classification.as-acquired": (0, 1),
    }
)


def spelt(given: Any) -> Any:
    """Return a spec as it is written out; as given where that is no spec, for others to refuse."""
    try:
        return spec.written(spec.parse(given)) if isinstance(given, str) and given else given
    except SpecError:
        return given


def ranges(settings: Settings) -> None:
    """Check every number, and the texts that are names or folders.

    Raises:
        SettingsError: one that is out of range.
    """
    flat = settings.flat()
    for key, (low, high) in _RANGES.items():
        value = flat[key]
        if not low <= float(value) <= high:
            raise SettingsError(f"{key} must be from {low:g} to {high:g}; got {value}")
    if settings.channels == 2:
        raise SettingsError("channels must be 1 (grey) or 3 (RGB); got 2")
    if not _DEVICE.fullmatch(settings.device):
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


def choices(settings: Settings) -> None:
    """Check the settings that are one of a few words.

    Raises:
        SettingsError: one that is not.
    """
    for key, words in _CHOICES.items():
        given = settings.flat()[key]
        if given not in words:
            raise SettingsError(f"{key} must be one of {', '.join(words)}; got {given!r}")


def lists(settings: Settings) -> None:
    """Check the lists: shares of the split, arms and classes.

    Raises:
        SettingsError: one that is empty, unknown or named twice, or shares that do not add up.
        SpecError: ``noise``, which decides what arms there can be, is no spec.
    """
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
    with named("noise"):
        spec.parse(settings.noise)
    for name in settings.arm_list:
        arm_table.check(name, simulated=settings.simulates_noise)
    for key in ("arm_list", "class_list"):
        names = getattr(settings, key)
        if len(set(names)) < len(names):
            raise SettingsError(f"{key.removesuffix('_list')}: {', '.join(names)} names one twice")


def specs(settings: Settings) -> None:
    """Build every spec once, so that nothing is found wrong after the first message.

    Raises:
        SpecError, SettingsError, DataError: one that cannot be built, its key in front.
    """
    given: dict[str, tuple[object, ...]] = {
        "imputation.model": (settings.channels,),
        "classification.model": (settings.channels, 2),
        "imputation.optimiser": ((), 0.1),
        "classification.optimiser": ((), 0.1),
    }
    for key, registry in SPEC_KEYS.items():
        with named(key):
            text = settings.partition_spec if key == "partition" else str(settings.flat()[key])
            chains = spec.parse(text.replace("{site}", "0")) if text else ()
            if key not in _MIXTURES:
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


def with_paths(text: str, registry: Registry[Any], change: Callable[[str], str | None]) -> str:
    """Return a spec's text with the values of its path parameters changed; None leaves one out.

    Raises:
        SpecError: the text is no spec, or names what does not exist.
    """
    mixture = spec.parse(text) if text else ()
    return spec.written(
        tuple(tuple(_changed(term, registry, change) for term in chain) for chain in mixture)
    )


def _changed(
    term: spec.Term, registry: Registry[Any], change: Callable[[str], str | None]
) -> spec.Term:
    kinds = {name: each.annotation for name, each in registry.parameters(term.name).items()}
    paths = {name for name, kind in kinds.items() if Path in (kind, *typing.get_args(kind))}
    values = {key: change(value) if key in paths else value for key, value in term.values.items()}
    kept = {key: value for key, value in values.items() if value is not None}
    return spec.Term(term.name, kept)


@contextlib.contextmanager
def named(key: str) -> Iterator[None]:
    """Put the setting's key in front of whatever is wrong with its value."""
    try:
        yield
    except UserError as error:
        raise type(error)(f"{key}: {error}", local=error.local) from error
