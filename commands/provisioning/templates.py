"""The files of ``deploy/`` that are handed over; a checkout has them, and so has the wheel."""

from __future__ import annotations

from pathlib import Path
from string import Template

from commands.provisioning.names import ProvisionError


def source(*parts: str) -> Path:
    """Return the path of one of the files.

    Raises:
        ProvisionError: this installation lacks it.
    """
    here = Path(__file__).parents[1]
    for root in (here / "deploy", here.parent / "deploy"):
        path = root.joinpath(*parts)
        if path.is_file():
            return path
    raise ProvisionError("this installation of fedmend lacks its deployment files; reinstall it")


def text(*parts: str) -> str:
    """Return one of the files as it is."""
    return source(*parts).read_text(encoding="utf-8")


def filled(words: dict[str, str], *parts: str) -> str:
    """Return one of the files with its ``$words`` filled in; an unknown one is an error."""
    return Template(text(*parts)).substitute(words)
