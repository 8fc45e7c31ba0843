"""Detectors by modality."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from client_app import modalities
from fedmend.records import Pixels, Record, quantised
from fedmend.site import Examined
from imputation.detectors.base import Calibration, Detector

FEWEST = 5


class Brightness(Detector):
    """Scores how far an image's mean is from that of what it was calibrated on."""

    unknown = False
    kinds: Mapping[str, bool] = {"grain": False}

    def __init__(self, usual: float = 0.5) -> None:
        self.usual = usual

    def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
        if len(images) < FEWEST:
            return {}
        return {"usual": np.array([float(images[vouched != 1].mean())])}

    def calibrated(self, kept: Calibration) -> Brightness:
        return Brightness(float(kept["usual"][0])) if kept else self

    def score(self, images: Tensor) -> Tensor:
        return (images.mean((1, 2, 3)) - self.usual).abs()

    def flag(self, scores: Tensor) -> Tensor:
        return scores > 0.1

    def examine(self, images: Tensor) -> Examined:
        scores = self.score(images)
        return Examined(scores.numpy(), self.flag(scores).numpy(), np.zeros(len(images), np.int64))


def pixels(*levels: float) -> Pixels:
    return Pixels(quantised(torch.tensor(levels)[:, None, None, None].expand(-1, 1, 8, 8)))


def record(modality: str | None) -> Record:
    facts: dict[str, str | float] = {} if modality is None else {"Modality": modality}
    return Record("0" * 64, None, "", "", None, facts)


def test_each_modality_has_a_calibration_of_its_own() -> None:
    kinds = ["DX", "CT"] * FEWEST + ["MR"]
    images = pixels(*[0.8, 0.2] * FEWEST, 0.2)
    words = np.full(len(kinds), -1, np.int8)
    learnt = modalities.learn(Brightness(), images, words, kinds)
    assert learnt.names == ("", "CT", "DX")
    groups = learnt.groups([*kinds, "US", ""])
    assert groups.tolist() == [2, 1] * FEWEST + [0, 0, 0]
    detectors = learnt.detectors(Brightness())
    seen = modalities.examined_by(detectors, images, groups[: len(kinds)])
    assert seen.alarm.tolist() == [False] * 10 + [True]
    together = modalities.examined_by(detectors, images, np.zeros(len(kinds), np.int64))
    assert together.alarm.all()


def test_of_one_modality_there_is_one_calibration() -> None:
    images, words = pixels(*[0.8] * 6), np.full(6, -1, np.int8)
    learnt = modalities.learn(Brightness(), images, words, ["DX"] * 6)
    assert learnt.names == ("",)
    assert learnt.groups(["DX", "CT"]).tolist() == [0, 0]


def test_the_sites_word_counts_within_a_modality() -> None:
    kinds = ["CT"] * 6 + ["DX"] * 6
    images = pixels(*[0.2] * 5, 0.9, *[0.7] * 6)
    words = np.array([-1] * 5 + [1] + [-1] * 6, np.int8)
    learnt = modalities.learn(Brightness(), images, words, kinds)
    assert [round(float(each["usual"][0]), 2) for each in learnt.kept][1:] == [0.2, 0.7]


def test_it_is_kept_and_read_again() -> None:
    kinds = ["CT", "DX"] * FEWEST
    learnt = modalities.learn(
        Brightness(), pixels(*[0.2, 0.7] * FEWEST), np.full(10, -1, np.int8), kinds
    )
    again = modalities.Learnt.read(learnt.arrays() | {"score": np.zeros(3)})
    assert again == learnt
    nothing = modalities.Learnt(("",), ({},))
    assert modalities.Learnt.read(nothing.arrays()) == nothing


def test_a_records_modality() -> None:
    assert [modalities.modality(record(each)) for each in ("CT", None)] == ["CT", ""]


def test_what_is_vouched_for_is_looked_at_wherever_it_lies() -> None:
    class Remembering(Brightness):
        def calibration(self, images: Tensor, vouched: Tensor) -> Calibration:
            seen.append(((images[:, 0, 0, 0] * 65535).round().int().tolist(), vouched.tolist()))
            return {}

    seen: list[tuple[list[int], list[int]]] = []
    grey = np.arange(300, dtype=np.uint16).reshape(300, 1, 1, 1).repeat(2, 2).repeat(2, 3)
    words = np.full(300, -1, np.int8)
    words[275:] = 0
    modalities.learn(Remembering(), Pixels(grey), words, [""] * 300)
    assert seen == [([*range(275, 300), *range(231)], [0] * 25 + [-1] * 231)]
