from __future__ import annotations

import pytest

from client_app.pairing import checked, of_one_run
from fedmend.arms import ARMS
from fedmend.errors import DataError, SettingsError
from fedmend.models import Kind, ModelFile
from fedmend.settings import Settings


def file(
    kind: Kind, arm: str = "", *, channels: int = 1, image_size: int = 64, seed: int = 0
) -> ModelFile:
    own = Settings.read({"channels": channels, "image-size": image_size, "seed": seed})
    return ModelFile(
        kind=kind,
        spec="",
        channels=own.channels,
        image_size=own.image_size,
        classes=("ill", "well"),
        arm=arm,
        settings=own,
        arrays={},
    )


@pytest.mark.parametrize("arm", ARMS)
def test_an_arm_that_mends_with_an_imputer_needs_one_and_no_other_takes_one(arm: str) -> None:
    classifier, imputer = file("classifier", arm), file("imputer")
    needs = arm == "imputed"
    assert checked(classifier, imputer if needs else None).name == arm
    wanted = "give the imputer of its run too, --imputer" if needs else "leave out --imputer"
    with pytest.raises(SettingsError, match=wanted):
        checked(classifier, None if needs else imputer)


@pytest.mark.parametrize(
    ("imputer", "sentence"),
    [
        (
            file("imputer", channels=3),
            "mends images of 3 channels, the classifier was trained on 1",
        ),
        (
            file("imputer", image_size=32),
            "trained on images of 32 pixels a side, the classifier on 64",
        ),
    ],
    ids=["channels", "size"],
)
def test_an_imputer_that_does_not_fit_is_refused_by_name(imputer: ModelFile, sentence: str) -> None:
    with pytest.raises(DataError, match=sentence):
        checked(file("classifier", "imputed"), imputer)


def test_an_arm_of_another_version_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="arm 'dreamt', which this version of fedmend does not"):
        checked(file("classifier", "dreamt"), None)


def test_files_of_one_run_have_the_same_settings() -> None:
    assert of_one_run(file("classifier", "imputed"), file("imputer"))
    assert not of_one_run(file("classifier", "imputed"), file("imputer", seed=1))
