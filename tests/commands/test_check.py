from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from PIL import Image
from typer.testing import CliRunner

from commands import forecast
from commands.main import app

_QUICK = ("imputation.rounds=1", "classification.rounds=1", "--sites", "2")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder of 20 images in two classes, and one file that is none."""
    generator = np.random.default_rng(0)
    for label in ("ill", "well"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(0, 255, (16, 16), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "data" / label / f"{number}.png")
    (tmp_path / "data" / "ill" / "broken.png").write_bytes(b"\x89PNG no image")
    return tmp_path / "data"


def _checked(images: Path, *words: str) -> Result:
    cache = images.parent / "cache"
    given = [f"data=folder(path={images})", f"cache-dir={cache}", "image-size=16", *_QUICK, *words]
    return CliRunner().invoke(app, ["check", *given], env={"COLUMNS": "200"})


def test_images_are_counted_and_costs_foreseen(images: Path) -> None:
    result = _checked(images, "arms=raw")
    assert result.exit_code == 0, result.output
    rows = [re.split(r"\s*│\s*", line)[1:-1] for line in result.stdout.splitlines() if "│" in line]
    table = {row[0]: row[1:] for row in rows}
    splits = np.array([[int(n) for n in re.findall(r"\d+", c)] for c in table["all"]])
    assert splits[0].sum() == 20
    assert (splits[1] + splits[2] == splits[0]).all()
    assert table.keys() == {"site-0", "site-1", "all", "classification"}
    assert "images (train / val / test)" in result.stdout


def test_rejected_files_are_counted_by_reason_and_named_on_request(images: Path) -> None:
    quiet, named = _checked(images), _checked(images, "--list")
    assert quiet.exit_code == named.exit_code == 0
    assert re.search(r"^1 files cannot be used: ", quiet.stderr, re.MULTILINE)
    assert "broken.png" not in quiet.output
    assert "broken.png" in named.stdout


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["classes=ill,dead"], "no site has images of class dead"),
        (["classes=ill"], "a classifier needs two classes or more; the sites have ill"),
        (["--sites", "19"], "cannot be divided among 19 sites"),
    ],
)
def test_data_that_no_run_could_use_are_refused(
    images: Path, words: list[str], sentence: str
) -> None:
    result = _checked(images, *words)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_more_rounds_and_arms_cost_more() -> None:
    one = forecast.Cost("imputation", 1, 10, 0.1, 30.0, 0, 0)
    assert forecast.total([one, one]) - forecast.total([one]) == 30.0
