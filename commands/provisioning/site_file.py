"""``site.toml``: what a site says about itself.

The SuperNode reads this very file (``--node-config site.toml``), so nothing is quoted twice and
nothing is translated: its keys are the node configuration's. Flower drops words of a node
configuration on a command line that it cannot read; of a file it refuses what it cannot read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from commands.provisioning import names
from commands.provisioning.names import Address
from fedmend import checks, plugins
from fedmend.errors import SettingsError, SpecError
from fedmend.spec import parse_term

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:[0-9]+)?")
_THREADS = range(1, 1025)
_WORKERS = range(1025)
_NUMBERS = ("threads", "workers", "keep-warm", "least-images")
REQUIRED = ("name", "data", "coordinator")


@dataclass(frozen=True)
class SiteFile:
    """A checked ``site.toml``."""

    name: str
    data: str
    """Spec of the reader, its path absolute."""
    coordinator: Address
    cache_dir: str = ""
    """Folder of what is derived from the images; empty: ``~/.fedmend/cache``."""
    device: str = "auto"
    threads: int = 1


def read(path: Path) -> SiteFile:
    """Return a site's file, every key of it checked; its data are not opened.

    Raises:
        SettingsError: it is no TOML, or a key is missing, unknown or wrong.
        SpecError: ``data`` is no spec of a reader.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SettingsError("there is no such site file", local=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError("the site file is no TOML", local=f"{path}: {error}") from error
    if strays := sorted(table.keys() - _CHECKS.keys()):
        raise SettingsError(
            f"unknown key {', '.join(strays)} in the site file; the keys are {', '.join(_CHECKS)}"
        )
    if missing := [key for key in REQUIRED if not table.get(key)]:
        raise SettingsError(f"the site file must set {', '.join(missing)}")
    return _checked(table)


def _checked(table: Mapping[str, object]) -> SiteFile:
    for key, value in table.items():
        kind = int if key in _NUMBERS else str
        if type(value) is not kind:
            raise SettingsError(
                f"{key} must be {'a whole number' if kind is int else 'text in quotes'}",
                local=f"got {value!r}",
            )
        with checks.named(key):
            _CHECKS[key](value)
    texts = {key: str(value) for key, value in table.items()}
    threads = table.get("threads", 1)
    assert isinstance(threads, int)
    return SiteFile(
        texts["name"],
        texts["data"],
        Address.parse(texts["coordinator"]),
        texts.get("cache-dir", ""),
        texts.get("device", "auto"),
        threads,
    )


def _data(value: object) -> None:
    term = parse_term(str(value))
    if "{site}" in str(value):
        raise SpecError("{site} is for simulations; name this site's own folder")
    for key, given in term.values.items():
        if _is_path(term.name, key) and not Path(given).is_absolute():
            raise SpecError(f"{key} must be an absolute path", local=f"got {given!r}")
    plugins.READERS.build(str(value))


def _is_path(reader: str, key: str) -> bool:
    # A label file's path may be relative: it then lies in the folder that `path` names.
    return key == "path" and key in plugins.READERS.parameters(reader)


def _cache_dir(value: object) -> None:
    if not Path(str(value)).expanduser().is_absolute():
        raise SettingsError("it must be an absolute path", local=f"got {value!r}")


def _device(value: object) -> None:
    if not _DEVICE.fullmatch(str(value)):
        raise SettingsError(f"it must be auto, cpu, cuda, cuda:N or mps; got {value!r}")


def _keep_warm(value: object) -> None:
    if not isinstance(value, int) or value < 0:
        raise SettingsError(f"it must be seconds, 0 or more; got {value}")


def _workers(value: object) -> None:
    if value not in _WORKERS:
        raise SettingsError(f"it must be from 0 (one a core) to {_WORKERS.stop - 1}; got {value}")


def _least_images(value: object) -> None:
    if not isinstance(value, int) or value < 0:
        raise SettingsError(f"it must be a number of images, 0 or more; got {value}")


def _threads(value: object) -> None:
    if value not in _THREADS:
        raise SettingsError(f"it must be from 1 to {_THREADS.stop - 1}; got {value}")


_CHECKS: Mapping[str, Callable[[object], object]] = {
    "name": lambda value: names.site(str(value)),
    "data": _data,
    "coordinator": lambda value: Address.parse(str(value)),
    "cache-dir": _cache_dir,
    "device": _device,
    "threads": _threads,
    "workers": _workers,
    "keep-warm": _keep_warm,
    "least-images": _least_images,
}
