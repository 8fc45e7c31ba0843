from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from pydicom import Dataset

from client_app.dicom import headers
from client_app.dicom.parsed import parse
from client_app.dicom.upright import LIMBS, Turn, turn, turned
from tests.dicom_files import encoded

OPPOSITE = dict(zip("RLAPHF", "LRPAFH", strict=True))


def header(orientation: str, modality: str = "DX", **own: str) -> Dataset:
    made = Dataset()
    made.Modality = modality
    made.PatientOrientation = orientation.split("\\")
    for keyword, value in own.items():
        setattr(made, keyword, value)
    return made


def marked(rows: str, columns: str) -> torch.Tensor:
    """Return a picture (1, 3, 3) whose middle pixels say what they lie towards."""
    picture = torch.zeros(1, 3, 3)
    picture[0, 1, 2], picture[0, 1, 0] = ord(rows), ord(OPPOSITE[rows])
    picture[0, 2, 1], picture[0, 0, 1] = ord(columns), ord(OPPOSITE[columns])
    return picture


def sides(picture: torch.Tensor) -> str:
    """Return what lies right and down."""
    return chr(int(picture[0, 1, 2])) + chr(int(picture[0, 2, 1]))


FRONTAL = [f"{a}\\{b}" for x, z in product("RL", "HF") for a, b in ((x, z), (z, x))]


@pytest.mark.parametrize("orientation", FRONTAL)
@pytest.mark.parametrize("modality", ["CR", "DX", "RF", "XA"])
def test_frontal_radiographs_hang_head_up_and_left_at_the_right(
    orientation: str, modality: str
) -> None:
    picture = marked(*orientation.split("\\"))
    assert sides(turned(picture, turn(header(orientation, modality)))) == "LF"


@pytest.mark.parametrize(
    "orientation", [f"{a}\\{b}" for y, z in product("AP", "HF") for a, b in ((y, z), (z, y))]
)
def test_lateral_ones_hang_head_up_and_are_never_mirrored(orientation: str) -> None:
    picture = marked(*orientation.split("\\"))
    shown = turned(picture, turn(header(orientation)))
    assert sides(shown)[1] == "F"
    rotations = [torch.rot90(picture, times, (1, 2)) for times in range(4)]
    assert any(torch.equal(shown, each) for each in rotations)


@pytest.mark.parametrize(
    ("side", "view", "hung"), [("R", "RL", "PL"), ("L", "RL", "AR"), ("R", "HF", "PF"),
                               ("L", "HF", "AF")],
)  # fmt: skip
def test_mammograms_hang_back_to_back(side: str, view: str, hung: str) -> None:
    for a, b in product("AP", view):
        for rows, columns in ((a, b), (b, a)):
            said = header(f"{rows}\\{columns}", "MG", ImageLaterality=side, BodyPartExamined="ARM")
            assert sides(turned(marked(rows, columns), turn(said))) == hung


@pytest.mark.parametrize(
    "said",
    [header("L\\F"), header("F\\L", "CT"), header("F\\L", "OT"), header("R\\A"), header("L\\R"),
     header("LE\\V"), header(""), header("F"), header("F\\L", BodyPartExamined="HAND"),
     header("F\\L", BodyPartExamined="UPPER EXTREMITY"), header("H\\A", "MG"), header("P\\F"),
     header("H\\L", "MG", ImageLaterality="R"), header("A\\F", "MG", ImageLaterality="B"),
     Dataset()],
)  # fmt: skip
def test_what_is_upright_or_in_doubt_stays(said: Dataset) -> None:
    assert turn(said) == Turn()
    picture = marked("L", "F")
    assert turned(picture, turn(said)) is picture


def test_only_the_first_letter_of_an_oblique_direction_counts() -> None:
    assert turn(header("FA\\LP")) == turn(header("F\\L")) == Turn(transposed=True)
    assert turn(header("LF\\RH")) == Turn()


def test_every_turn_has_a_name_of_its_own() -> None:
    turns = [Turn(*each) for each in product((False, True), repeat=3)]
    assert len({each.name for each in turns}) == 8
    assert [each.name for each in turns if not each.name] == [""]
    picture = torch.arange(6.0).reshape(1, 2, 3)
    assert turned(picture, Turn(True, False, True)).equal(torch.rot90(picture, -1, (1, 2)))
    assert Turn(True, False, True).name == "clockwise"
    assert "HAND" in LIMBS


def test_a_turned_image_is_known_by_its_facts() -> None:
    for orientation, name in (("F\\R", "clockwise"), ("L\\F", None)):
        data = encoded(1, Modality="DX", PatientOrientation=orientation.split("\\"))
        facts = headers.header(parse(data)).facts
        assert facts.get("turned") == name
        assert facts["PatientOrientation"] == orientation


def test_colour_is_turned_too() -> None:
    picture = torch.from_numpy(np.random.default_rng(0).random((3, 4, 6), dtype=np.float32))
    shown = turned(picture, Turn(True, True, False))
    assert shown.shape == (3, 6, 4)
    assert torch.equal(shown[:, -1, 0], picture[:, 0, 0])
