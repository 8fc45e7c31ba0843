from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest

from fedmend import plugins
from fedmend.errors import SpecError
from fedmend.registry import Registry
from fedmend.spec import Range


def thing(
    channels: int,
    *,
    count: int = 1,
    ratio: float = 0.5,
    loud: bool = False,
    mode: Literal["soft", "hard"] = "soft",
    path: Path | None = None,
    span: Range = Range(0, 1),  # noqa: B008 - a named tuple is immutable
) -> tuple[Any, ...]:
    if count < 0:
        raise ValueError(f"count must not be negative; got {count}")
    return channels, count, ratio, loud, mode, path, span


@pytest.fixture
def registry() -> Registry[tuple[Any, ...]]:
    made: Registry[tuple[Any, ...]] = Registry("thing", "fedmend.privacy")
    made.register("thing")(thing)
    return made


def test_values_are_typed_by_annotation(registry: Registry[tuple[Any, ...]]) -> None:
    text = "thing(count=3, ratio=2, loud=true, mode=hard, path=/a b, span=0.1..0.5)"
    assert registry.build(text, 7) == (7, 3, 2.0, True, "hard", Path("/a b"), Range(0.1, 0.5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("other()", "'other' does not exist; there is thing"),
        ("thing(x=1)", "no parameter 'x'; it has count, ratio"),
        ("thing(channels=1)", "no parameter 'channels'"),
        ("thing(count=1.5)", "count must be a whole number; got '1.5'"),
        ("thing(ratio=a)", "ratio must be a number"),
        ("thing(loud=yes)", "loud must be true or false"),
        ("thing(mode=x)", "mode must be one of soft, hard"),
        ("thing(span=1..0)", "span must be a number or a range"),
        ("thing(count=-1)", "count must not be negative; got -1"),
    ],
)
def test_what_is_wrong_is_said(
    registry: Registry[tuple[Any, ...]], text: str, message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        registry.build(text, 1)
    assert message in str(caught.value)


def test_a_relative_path_is_refused_with_the_working_directory(
    registry: Registry[tuple[Any, ...]],
) -> None:
    with pytest.raises(SpecError, match="absolute") as caught:
        registry.build("thing(path=scans)", 1)
    assert str(Path.cwd()) in caught.value.full()
    assert "scans" not in str(caught.value)


def test_a_name_belongs_to_one_file(registry: Registry[tuple[Any, ...]]) -> None:
    with pytest.raises(ValueError, match="registered by"):
        registry.register("thing")(Path)  # type: ignore[arg-type]


@pytest.mark.parametrize("registry", plugins.ALL, ids=lambda registry: str(registry.kind))
def test_every_registry_has_plugins_whose_parameters_a_spec_can_set(
    registry: Registry[Any],
) -> None:
    assert registry.names()
    for name in registry.names():
        for key, parameter in registry.parameters(name).items():
            assert parameter.annotation is not None, f"{name}: {key}"
        with pytest.raises(SpecError, match="no parameter 'nonsense'"):
            registry.build(f"{name}(nonsense=1)")
