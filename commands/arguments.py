"""What a command was asked for: an experiment file, overlaid by ``key=value`` words."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from fedmend import checks, plugins, spec
from fedmend.errors import SettingsError
from fedmend.settings import HIDDEN, RUNS, SITES, Value, defaults, flattened

_WORD = re.compile(r"([A-Za-z][\w.-]*)=(.*)", re.DOTALL)
_BOOLS = {"true": True, "false": False}
_OF_A_LAUNCH = {"run-dir", "run-name", "resume", "cache-dir"}
_OPENS_A_PATH = ("/", "~", "./", "../")


class Request(NamedTuple):
    """What was asked for, not yet checked by :meth:`fedmend.settings.Settings.parse`."""

    settings: dict[str, Value]
    """Flat settings that differ from the defaults, paths absolute."""
    simulation: dict[str, Any]
    """The experiment's ``[simulation]`` table."""


def read(words: Sequence[str]) -> Request:
    """Read a command line's words: at most one experiment file, and settings that win over it.

    Relative paths, in the file as on the command line, are taken from the working directory. With
    ``resume=NAME`` the settings are those that run began with, unless others are given.

    Raises:
        SettingsError: a second file, one that cannot be read, an unknown key, a wrong type.
        SpecError: a spec that cannot be read, or that names what does not exist.
    """
    files = [word for word in words if not _WORD.fullmatch(word)]
    if len(files) > 1:
        raise SettingsError(
            "one experiment file is expected, then key=value words; "
            f"{len(files)} words have no '='",
            local=f"got {', '.join(files)}",
        )
    settings, simulation = _experiment(Path(files[0])) if files else ({}, {})
    given = _settings(word for word in words if word not in files)
    if given.get("resume"):
        began, sites = _began(given)
        settings, simulation = began | settings, sites | simulation
    place = given.get("data")
    if isinstance(place, str) and _is_plain_path(place):
        given["data"] = _filled(settings.get("data", defaults()["data"]), place)
    merged = {**settings, **given}
    _check_whole(merged)
    return Request(_absolute(merged), simulation)


def _began(given: Mapping[str, Value]) -> tuple[dict[str, Value], dict[str, int]]:
    """Return the settings and the simulation's size that the run to be resumed began with.

    Paths are not among them: a run folder keeps none.
    """
    folder = Path(str(given.get("run-dir") or RUNS)).expanduser() / str(given["resume"])
    try:
        kept = json.loads((folder / "settings.json").read_text(encoding="utf-8"))
    except OSError as error:
        name = given["resume"]
        raise SettingsError(f"there is no run {name!r} to resume", local=str(folder)) from error
    known = (kept.keys() & defaults().keys()) - _OF_A_LAUNCH
    joined = folder / SITES
    asked = json.loads(joined.read_text(encoding="utf-8"))["asked"] if joined.is_file() else 0
    return {key: kept[key] for key in known}, {"sites": asked} if asked else {}


def _check_whole(settings: Mapping[str, Value]) -> None:
    """Refuse a path that the run folder has kept to itself.

    Raises:
        SettingsError: by the setting's name.
    """
    for key in checks.SPEC_KEYS:
        if f"={HIDDEN}" in str(settings.get(key, "")):
            raise SettingsError(
                f"{key}: a run folder keeps no paths; say it again, such as {key}=/srv/images"
                if key == "data"
                else f"{key}: a run folder keeps no paths; give the whole spec again"
            )


def _experiment(file: Path) -> tuple[dict[str, Value], dict[str, Any]]:
    try:
        table = tomllib.loads(file.expanduser().read_text(encoding="utf-8"))
    except OSError as error:
        local = f"{file}: {error.strerror}; the working directory is {Path.cwd()}"
        raise SettingsError("the experiment file cannot be read", local=local) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the experiment file is not TOML: {error}", local=str(file)) from error
    simulation = table.pop("simulation", {})
    if not isinstance(simulation, Mapping):
        raise SettingsError("simulation must be a table, such as [simulation] with sites = 10")
    settings = flattened(table)
    for key in settings:
        _check_known(key)
    return settings, dict(simulation)


def _settings(words: Iterable[str]) -> dict[str, Value]:
    given: dict[str, Value] = {}
    for word in words:
        match = _WORD.fullmatch(word)
        assert match is not None  # the others were taken for files
        key, text = match.groups()
        _check_known(key)
        if key in given:
            raise SettingsError(f"{key} is given twice")
        given[key] = typed(key, text, defaults()[key])
    return given


def _check_known(key: str) -> None:
    known = defaults()
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
        raise SettingsError(f"unknown setting {key}; {hint}")


def typed(key: str, text: str, default: Value) -> Value:
    """Read a value as its default's type.

    Raises:
        SettingsError: with the key, what is allowed and what was given.

    >>> typed("noise-known", "true", False)
    True
    >>> typed("data", '"phantom(count=100)"', "phantom()")
    'phantom(count=100)'
    """
    text = _unquoted(text.strip())
    if isinstance(default, bool):
        if text.lower() not in _BOOLS:
            raise SettingsError(f"{key} must be true or false; got {text!r}")
        return _BOOLS[text.lower()]
    if isinstance(default, str):
        return text
    wanted = "a whole number" if isinstance(default, int) else "a number"
    try:
        return type(default)(text)
    except ValueError as error:
        raise SettingsError(f"{key} must be {wanted}; got {text!r}") from error


def _unquoted(text: str) -> str:
    """Take off one pair of quotes: Flower's own command line wants them, so habit brings them."""
    if len(text) >= 2 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    return text


def _is_plain_path(text: str) -> bool:
    """Say whether ``data=`` was given a folder or file instead of a spec."""
    if text.startswith(_OPENS_A_PATH) or text in {".", ".."}:
        return True
    if "(" in text or text in plugins.READERS.names():
        return False
    return "/" in text or Path(text).exists()


def _filled(data: Value, path: str) -> str:
    """Return the experiment's own ``data`` spec with ``path`` put into it."""
    term = spec.parse_term(str(data))
    if "path" not in plugins.READERS.parameters(term.name):
        raise SettingsError(
            f"data: a plain path fills the path of the experiment's own reader, but {term.name!r} "
            "has none; give a whole spec, such as data=folder(path=…, labels=…)"
        )
    return str(spec.Term(term.name, {**term.values, "path": path}))


def _absolute(settings: dict[str, Value]) -> dict[str, Value]:
    """Return the settings with every path made absolute; a spec's ``{site}`` stays as it is."""
    for key in ("run-dir", "cache-dir"):
        text = settings.get(key)
        if isinstance(text, str) and text:
            settings[key] = _from_here(text)
    for key, registry in checks.SPEC_KEYS.items():
        text = settings.get(key)
        if isinstance(text, str) and text:
            with checks.named(key):
                settings[key] = checks.with_paths(text, registry, _from_here)
    return settings


def _from_here(text: str) -> str:
    return str(Path(text).expanduser().absolute()) if text else text
