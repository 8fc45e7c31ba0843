from __future__ import annotations

from typing import Any

import pytest

from server_app import finding


def arms(key: str = "auroc", **values: float | None) -> dict[str, Any]:
    return {name: {"clean": {key: value}, "noisy": None} for name, value in values.items()}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (arms(raw=0.9, imputed=0.95), {"imputed"}),
        (arms(raw=0.9501, imputed=0.9499, removed=0.9), {"raw", "imputed"}),
        (arms(raw=0.9, imputed=0.9), set()),
        (arms(raw=0.9), set()),
        (arms(raw=0.9, imputed=None), set()),
        (arms(raw=0.9, removed=0.8, clean=0.99), {"raw"}),
        (arms(raw=0.9, clean=0.99), set()),
        ({}, set()),
    ],
)
def test_best_is_the_largest_as_far_as_it_is_shown(given: Any, expected: set[str]) -> None:
    assert finding.best(given, "clean", "auroc", digits=3) == expected
    assert finding.best(given, "noisy", "auroc", digits=3) == set()


def test_of_calibration_errors_the_least_is_best() -> None:
    assert finding.best(arms("ece", raw=0.1, imputed=0.05), "clean", "ece", digits=3) == {"imputed"}


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            arms(raw=0.9, imputed=0.95, removed=0.92),
            "the imputed arm has the highest AUROC, 0.950 (removed: 0.920, raw: 0.900).",
        ),
        (
            arms(raw=0.95, imputed=0.95, removed=0.92),
            "the raw and imputed arms share the highest AUROC, 0.950 (removed: 0.920).",
        ),
        (arms(raw=0.9, imputed=0.9), "all arms have the same AUROC, 0.900."),
        (arms(raw=0.9, clean=1.0), "the raw arm has an AUROC of 0.900; there is no other."),
        (arms(raw=None), "no AUROC is known."),
    ],
)
def test_says_no_more_than_is_known(given: Any, sentence: str) -> None:
    first, second, *_ = finding.sentences({"arms": given})
    assert first == f"On the clean test images {sentence}"
    assert second == "On the test images with noise no AUROC is known."


def test_caution_comes_last_and_always() -> None:
    for summary in ({}, {"arms": None}, {"arms": arms(raw=0.9, clean=1.0)}):
        assert "one run with one seed" in finding.sentences(summary)[-1]
    assert "oracle" in finding.sentences({"arms": arms(raw=0.9, clean=1.0)})[-2]
