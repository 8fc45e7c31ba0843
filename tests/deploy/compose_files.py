"""The compose files as compose reads them: variables filled in, anchors resolved."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILES = (
    "docker-compose.yml",
    "deploy/coordinator/compose.yml",
    "deploy/site/compose.yml",
)
GPU = "deploy/site/compose.gpu.yml"
GIVEN = {
    "FEDMEND_VERSION": "0.1.0",
    "FEDMEND_COORDINATOR": "coordinator.example:8443",
    "FEDMEND_DATA": "/srv/images",
}
_VARIABLE = re.compile(r"\$(?:\$|\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\})")


def substituted(text: str, given: Mapping[str, str]) -> str:
    """Fill in ``${NAME}``, ``${NAME:-default}`` and ``${NAME:?error}``; ``$$`` is a dollar."""

    def value(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return "$"
        if given.get(name):
            return given[name]
        if found["kind"] == "-":
            return found["rest"]
        raise KeyError(name)

    return _VARIABLE.sub(value, text)


def text(name: str, given: Mapping[str, str] = GIVEN) -> str:
    return substituted((ROOT / name).read_text(encoding="utf-8"), given)


def compose(name: str, given: Mapping[str, str] = GIVEN) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text(name, given))
    return loaded


def move_gateway(file: Path, listen: str, health: int, superlink: int, scratch: Path) -> None:
    """Let the gateway's configuration speak of a machine's own ports and folders, in place.

    Args:
        file: gateway.conf, as it was handed over.
        listen: port, or address and port, for the sites.
        health: port of its own health check.
        superlink: port of the SuperLink on the same machine.
        scratch: folder for what it writes.
    """
    text = file.read_text()
    for there, here in (
        ("listen 8443 ssl", f"listen {listen} ssl"),
        ("listen 127.0.0.1:8080", f"listen 127.0.0.1:{health}"),
        ("superlink:8000", f"127.0.0.1:{superlink}"),
        ("/tmp/", f"{scratch}/"),
    ):
        assert there in text, there
        text = text.replace(there, here)
    file.write_text(text)


def services() -> list[tuple[str, str, dict[str, Any]]]:
    """Return (file, name, service) of every service."""
    return [(name, key, each) for name in FILES for key, each in compose(name)["services"].items()]


def image_environment() -> dict[str, str]:
    """Return what the images set for every process, without the folders inside of them."""
    block = re.search(r"^ENV (.*?[^\\\\])$", _dockerfile(), re.MULTILINE | re.DOTALL)
    assert block is not None
    found = dict(re.findall(r"(\w+)=(\S+)", block[1]))
    return {key: value for key, value in found.items() if not value.startswith("/")}


def _dockerfile() -> str:
    return (ROOT / "deploy" / "image" / "Dockerfile").read_text(encoding="utf-8")
