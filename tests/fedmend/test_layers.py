"""Imports point one way: this is checked on the syntax trees of all modules."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ABOVE = {
    "fedmend": set[str](),
    "imputation": {"fedmend"},
    "classification": {"fedmend"},
    "client_app": {"fedmend", "imputation", "classification"},
    "server_app": {"fedmend", "imputation", "classification"},
    "commands": {"fedmend", "imputation", "classification", "client_app", "server_app"},
}


def imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", ABOVE)
def test_a_package_imports_only_what_lies_below_it(package: str) -> None:
    modules = list((ROOT / package).rglob("*.py"))
    assert modules
    for module in modules:
        ours = set(imported(module)) & (ABOVE.keys() | {"tests", "benchmarks"})
        assert ours <= ABOVE[package] | {package}, module


def test_no_module_is_a_drawer_for_odds_and_ends() -> None:
    for package in ABOVE:
        for module in (ROOT / package).rglob("*.py"):
            assert module.stem not in {"utils", "util", "helpers", "common", "misc"}, module
