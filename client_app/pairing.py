"""Which model files work together."""

from __future__ import annotations

from fedmend.arms import ARMS, Arm
from fedmend.errors import DataError, SettingsError
from fedmend.models import ModelFile


def checked(classifier: ModelFile, imputer: ModelFile | None) -> Arm:
    """Return the classifier's arm, once it is known that the files can work together.

    Raises:
        DataError: they do not fit each other.
        SettingsError: the arm needs an imputer, or has no use for one.
    """
    if classifier.arm not in ARMS:
        raise DataError(
            f"the classifier is of arm {classifier.arm!r}, which this version of fedmend does not "
            f"know; there is {', '.join(ARMS)}"
        )
    arm = ARMS[classifier.arm]
    if imputer is None and arm.mend == "imputer":
        raise SettingsError(
            f"this classifier was trained on mended images (arm {arm.name!r}): give the imputer of "
            "its run too, --imputer …/imputer.safetensors"
        )
    if imputer is not None and arm.mend != "imputer":
        raise SettingsError(
            f"this classifier's arm {arm.name!r} does not mend with an imputer: leave out --imputer"
        )
    if imputer is not None:
        _check_pair(classifier, imputer)
    return arm


def _check_pair(classifier: ModelFile, imputer: ModelFile) -> None:
    if imputer.channels != classifier.channels:
        raise DataError(
            f"the imputer mends images of {imputer.channels} channels, the classifier was trained "
            f"on {classifier.channels}: give the imputer of the classifier's own run"
        )
    if imputer.image_size != classifier.image_size:
        raise DataError(
            f"the imputer was trained on images of {imputer.image_size} pixels a side, the "
            f"classifier on {classifier.image_size}: give the imputer of the classifier's own run"
        )


def of_one_run(classifier: ModelFile, imputer: ModelFile) -> bool:
    """Say whether two files come from runs of the same settings, the seed among them."""
    return classifier.settings.public() == imputer.settings.public()
