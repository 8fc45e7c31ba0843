"""Ends before the last round, and models that no round has made."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedmend import phase as phases
from fedmend.errors import SettingsError
from server_app import rounds
from server_app.checkpoint import Checkpoint
from tests.federation import run, same, tiny, weights


def lines(folder: Path, phase: str) -> list[dict[str, Any]]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [line for line in map(json.loads, text.splitlines()) if line["phase"] == phase]


def test_training_ends_when_it_gets_no_better(tmp_path: Path) -> None:
    """Without a step size nothing changes, so that no round is better than the first."""
    settings = tiny(
        tmp_path, arms="raw", classification__rounds=9, classification__patience=2,
        **{"classification__learning-rate": 0.0},
    )  # fmt: skip
    folder, summary = run(settings)
    # The initial model is scored in round 1, two more are not better: the third round is the last.
    assert [line["round"] for line in lines(folder, "classification")] == [1, 2, 3, 4, 4]
    assert summary["status"] == "complete"


def test_without_patience_all_rounds_are_made(tmp_path: Path) -> None:
    settings = tiny(
        tmp_path, arms="raw", classification__rounds=4, **{"classification__learning-rate": 0.0}
    )
    folder, _ = run(settings)
    assert [line["round"] for line in lines(folder, "classification")] == [1, 2, 3, 4, 5, 5]


def test_the_average_is_kept_where_it_validates_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tiny(tmp_path, arms="raw", classification__rounds=3, classification__ema=0.5)
    made: list[dict[str, torch.Tensor]] = []
    plain = rounds.Trainer._aggregate

    def watched(trainer: rounds.Trainer, *given: Any) -> None:
        plain(trainer, *given)
        made.append(dict(trainer.point.arrays))

    monkeypatch.setattr(rounds.Trainer, "_aggregate", watched)
    folder, _ = run(settings)
    first, second, third = made
    average = {
        name: 0.5 * (0.5 * first[name] + 0.5 * second[name]) + 0.5 * third[name] for name in first
    }
    point = Checkpoint.load(folder / "checkpoints" / "classification-raw.safetensors")
    assert all(torch.allclose(point.average[name], average[name], atol=1e-6) for name in average)
    kept = weights(folder, "classifier-raw")
    better = point.best_score > max(point.scores)
    assert same(kept, point.average) == better
    assert better or any(same(kept, each) for each in made) or point.best_round == 0


def test_an_average_that_is_better_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = tiny(tmp_path, arms="raw", classification__rounds=2, classification__ema=0.9)
    plain = rounds.Trainer._validate_average

    def modest(trainer: rounds.Trainer) -> None:
        trainer.point.top_score = -1.0  # whatever the average scores, it is more
        plain(trainer)

    monkeypatch.setattr(rounds.Trainer, "_validate_average", modest)
    folder, _ = run(settings)
    point = Checkpoint.load(folder / "checkpoints" / "classification-raw.safetensors")
    assert same(weights(folder, "classifier-raw"), point.average)
    assert point.best_round == 2


def test_that_nothing_can_be_scored_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """No clean image anywhere: every model is as good as the next, and the last one is kept."""
    settings = tiny(
        tmp_path, noise="gaussian(std=0.3)", noise_fraction=1.0, noise_known=True,
        arms="imputed", imputation__rounds=3, imputation__patience=1, imputation__ema=0.5,
        classification__rounds=0,
    )  # fmt: skip
    with caplog.at_level(logging.WARNING, "fedmend.coordinator"):
        folder, _ = run(settings, sites=2)
    said = [text for text in caplog.messages if text.startswith("nothing says how good")]
    assert len(said) == 1
    assert "no site that answered has a validation image that is held to be clean" in said[0]
    assert "patience and ema have no effect" in said[0]
    assert [line["score"] for line in lines(folder, "imputation")] == [None] * 5
    assert Checkpoint.load(folder / "checkpoints" / "imputation.safetensors").best_round == 3


def test_where_models_are_scored_nothing_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fedmend.coordinator"):
        run(tiny(tmp_path, arms="imputed", noise_fraction=0.5, classification__rounds=0), sites=2)
    assert "nothing says how good" not in caplog.text


def test_impossible_values_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"imputation.ema must be from 0 to 0.9999"):
        tiny(tmp_path, imputation__ema=1.0)


class Said:
    """What the sites answer, as far as a judge looks at it: a score and its error."""

    def __init__(self, score: float, error: float) -> None:
        self.sums = {"val/score": np.array([score]), "val/error": np.array([error])}

    def merged(self) -> dict[str, np.ndarray]:
        return self.sums


PHASE = dataclasses.replace(
    phases.load("classification"),
    score=lambda total: float(total["score"][0]),
    error=lambda total: float(total["error"][0]),
)
NAN = math.nan


@pytest.mark.parametrize(
    ("scores", "error", "kept"),
    [
        ([0.5, 0.9, 0.7], 0.0, 1),  # certain scores: the best
        ([0.5, 0.9, 0.9, 0.7], 0.0, 2),  # of equal ones the last
        ([0.5, 0.9, 0.88, 0.87], 0.05, 3),  # all within one error of the best: the last
        ([0.5, 0.9, 0.88, 0.84], 0.05, 2),  # not what lies farther below it
        ([0.5, 0.84, 0.9, 0.84], 0.05, 2),
        ([0.9, 0.88, 0.95, 0.89], 0.05, 2),  # of the best of all, not of the one that is kept
        ([0.9, 0.87, 0.83], 0.05, 1),  # errors do not add up from round to round
        ([NAN, NAN], 0.05, 1),  # nobody can tell: the newest
        ([0.9, NAN, 0.5], 0.05, 2),
        ([NAN, 0.9, 0.5], 0.05, 1),
    ],
)
def test_the_last_model_within_an_error_of_the_best_is_kept(
    scores: list[float], error: float, kept: int
) -> None:
    trainer = rounds.Trainer.__new__(rounds.Trainer)
    trainer.phase, trainer.point = PHASE, Checkpoint(arrays={}, best={})
    trainer._tell_unscored = lambda: None  # type: ignore[method-assign]
    for number, score in enumerate(scores):
        trainer.point.round = number
        trainer.point.arrays = {"round": torch.tensor(number)}
        trainer._judge(Said(score, error))  # type: ignore[arg-type]
    assert trainer.point.best_round == int(trainer.point.best["round"]) == kept
    assert trainer.point.best_score == pytest.approx(scores[kept], nan_ok=True)
