from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands import results
from fedmend.errors import RunError

SUMMARY: dict[str, Any] = {
    "schema": 1,
    "status": "complete",
    "run": "first",
    "sites": {"asked": 10, "used": 9},
    "imputation": {
        "test": {
            "noisy": {"n": 128, "psnr": 14.125, "ssim": 0.25},
            "imputed": {"n": 128, "psnr": 24.5, "ssim": 0.875},
            "filter:median": None,
        }
    },
    "arms": {
        "raw": {"clean": {"n": 9, "accuracy": 0.75, "auroc": 0.875}, "noisy": None},
        "imputed": {
            "clean": {"n": 9, "accuracy": 1, "auroc": None},
            "noisy": {"n": 9, "accuracy": 0.5, "auroc": 0.625},
        },
    },
}


def _shown(summary: dict[str, Any], folder: Path, width: int = 120) -> str:
    written = io.StringIO()
    results.show(Console(file=written, width=width), summary, folder)
    return written.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_every_arm_has_its_row_and_what_is_unknown_a_dash(tmp_path: Path, width: int) -> None:
    shown = _shown(SUMMARY, tmp_path, width)
    rows = [
        [cell.strip() for cell in line.split("│")[1:6]]
        for line in shown.splitlines()
        if "│" in line
    ]
    assert [row for row in rows if row[0]] == [
        ["raw", "0.750", "0.875", "-", "-"],
        ["imputed", "1.000", "-", "0.500", "0.625"],
    ]
    assert "run first: 9 of 10 sites" in shown


def test_the_imputer_stands_beside_the_noisy_input(tmp_path: Path) -> None:
    lines = _shown(SUMMARY, tmp_path).splitlines()
    assert "         noisy: PSNR 14.12 dB, SSIM 0.250 over 128 noisy test images" in lines
    assert "       imputed: PSNR 24.50 dB, SSIM 0.875 over 128 noisy test images" in lines
    assert not any("median" in line for line in lines)
    assert lines[-1] == f"run folder: {tmp_path}"


def test_a_report_is_named_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").touch()
    assert _shown(SUMMARY, tmp_path).splitlines()[-1] == f"report:     {tmp_path}/report.html"


def test_a_run_without_imputation_has_a_table_too(tmp_path: Path) -> None:
    assert "raw" in _shown({**SUMMARY, "imputation": {"test": None}}, tmp_path)


def test_a_summary_is_read(tmp_path: Path) -> None:
    (tmp_path / "summary.json").write_text(json.dumps(SUMMARY))
    assert results.load(tmp_path) == SUMMARY


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (None, "holds no summary.json"),
        ("{", "not JSON"),
        ("[]", "does not say that the run is complete"),
        ('{"status": "running"}', "does not say that the run is complete"),
    ],
)
def test_a_run_that_is_not_complete_has_no_table(
    tmp_path: Path, text: str | None, sentence: str
) -> None:
    if text is not None:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(RunError, match=sentence) as caught:
        results.load(tmp_path)
    assert str(tmp_path) not in str(caught.value)
    assert str(tmp_path) in caught.value.full()
