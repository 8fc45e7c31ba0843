"""The app as one bundle: what the coordinator and every simulated site import.

Built from wherever this code is installed, a checkout or a wheel. Handing over a bundle instead
of a live tree keeps a run from changing under an edit.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

from fedmend.errors import RunError

PACKAGES = ("fedmend", "imputation", "classification", "client_app", "server_app")


def files() -> dict[str, Path]:
    """Return the app's files by their POSIX path inside the bundle.

    Raises:
        RunError: the installation is incomplete.
    """
    found = {"pyproject.toml": _pyproject()}
    for package in PACKAGES:
        root = _folder(package)
        found |= {
            f"{package}/{each.relative_to(root).as_posix()}": each
            for each in root.rglob("*")
            if each.is_file() and "__pycache__" not in each.parts
        }
    return found


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RunError(f"this installation of fedmend lacks its package {package}; reinstall it")
    return Path(spec.submodule_search_locations[0])


def _pyproject() -> Path:
    """Return the pyproject.toml: a wheel carries it inside the package, a checkout beside it."""
    inside = _folder("fedmend")
    for path in (inside / "pyproject.toml", inside.parent / "pyproject.toml"):
        if path.is_file():
            return path
    raise RunError("this installation of fedmend lacks its pyproject.toml; reinstall it")


def build() -> bytes:
    """Return the Flower App Bundle.

    Raises:
        RunError: Flower refuses it; its words say why.
    """
    from flwr.cli.build import build_fab_from_files

    try:
        return build_fab_from_files(files())[0]
    except ValueError as error:
        raise RunError(f"the app cannot be bundled: {error}") from error
