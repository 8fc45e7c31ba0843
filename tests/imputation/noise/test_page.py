"""The page on noises names every one, and every spec on it can be built."""

import re
from pathlib import Path

import pytest

from fedmend.plugins import NOISES
from imputation.noise.mixture import from_spec

PAGE = (Path(__file__).parents[3] / "docs" / "noises.md").read_text(encoding="utf-8")
SPECS = re.findall(r"`(\w+\([^`]*\))`|noise = \"(.*)\"", PAGE)


def rows(name: str) -> list[str]:
    """Return the tables' lines that are about a noise."""
    return [line for line in PAGE.splitlines() if line.startswith(f"| `{name}`")]


@pytest.mark.parametrize("name", NOISES.names())
def test_every_noise_has_its_cause_and_its_parameters(name: str) -> None:
    cause, parameters = rows(name)
    assert cause.count("|") == 4
    for key in NOISES.parameters(name):
        assert f"`{key}`" in parameters


def test_nothing_on_the_page_is_missing_from_the_registry() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    assert named == set(NOISES.names())


def test_every_spec_can_be_built() -> None:
    assert len(SPECS) > 15
    for pair in SPECS:
        from_spec("".join(pair))
