from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from client_app.dicom.parsed import parse
from client_app.dicom.window import Window
from client_app.mending.derived import Made
from client_app.mending.file import Mended, mended
from client_app.mending.mender import Mender, Seen, Whole
from client_app.mending.unmendable import NO_BETTER, NOT_FINITE
from fedmend.errors import RunError
from fedmend.records import Record
from tests.dicom_files import encoded, pixels
from tests.imputers import mender

MADE = Made("f" * 64, "detector evidence(), scale both")


def png(height: int = 24, width: int = 24) -> bytes:
    file = io.BytesIO()
    Image.fromarray((pixels(1, (height, width)) >> 4).astype(np.uint8)).save(file, "png")
    return file.getvalue()


def worked(data: bytes, by: Mender, *, noisy: bool | None = None, dicom: bool = False) -> Mended:
    """Mend a picture, or a DICOM file of one frame."""
    digest = parse(data).digest if dicom else hashlib.sha256(data).hexdigest()
    record = Record(digest, None, "", "", noisy, {})
    return mended(data, [record], by, MADE, Window() if dicom else None)


@pytest.mark.parametrize("sides", [(1, 1), (5, 40), (7, 7)])
@pytest.mark.parametrize("noisy", [None, True])
def test_small_images_are_judged_like_any_other(sides: tuple[int, int], noisy: bool | None) -> None:
    by = mender(detector="evidence()")
    data = encoded(1, shape=sides)
    for done in (worked(png(*sides), by, noisy=noisy), worked(data, by, noisy=noisy, dicom=True)):
        (verdict,) = done.verdicts
        assert verdict.outcome != "unusable"
        assert verdict.score is not None


def test_an_image_too_small_for_the_only_scale_says_so() -> None:
    (verdict,) = worked(png(5, 40), mender("full", detector="evidence()")).verdicts
    assert (verdict.outcome, verdict.flagged) == ("unusable", None)
    assert verdict.reason == "the image has fewer than 8 pixels a side"


@pytest.mark.parametrize(
    "error", [ZeroDivisionError, IndexError, RuntimeError, TypeError, ValueError, RecursionError]
)
@pytest.mark.parametrize("dicom", [False, True])
def test_whatever_a_detector_trips_over_costs_the_image_alone(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception], dicom: bool
) -> None:
    def trips(self: Mender, image: Tensor) -> Seen:
        raise error("two\nlines")

    monkeypatch.setattr(Mender, "seen", trips)
    data = encoded(1, shape=(24, 24)) if dicom else png()
    done = worked(data, mender(), dicom=dicom)
    (verdict,) = done.verdicts
    assert (verdict.outcome, verdict.flagged, verdict.score) == ("unusable", None, None)
    assert verdict.reason == f"cannot be looked at ({error.__name__})"
    assert verdict.detail == "two\nlines"
    assert done.data is None


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RunError("the disk fails"), "the disk fails"),
        (torch.OutOfMemoryError("CUDA out of memory"), "the imputer's device failed"),
        (torch.AcceleratorError("CUDA error", 700), "the imputer's device failed"),
    ],
    ids=["disk", "memory", "device"],
)
def test_what_is_no_fault_of_the_image_ends_the_work(
    monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    def fails(self: Mender, image: Tensor) -> Seen:
        raise error

    monkeypatch.setattr(Mender, "seen", fails)
    with pytest.raises(RunError, match=told):
        worked(png(), mender())


def test_a_picture_of_no_numbers_is_not_called_clean() -> None:
    data = encoded(
        1, shape=(24, 24), RescaleSlope="1e300", RescaleIntercept="0", WindowWidth="1e-300"
    )
    for noisy in (None, True):
        done = worked(data, mender(detector="evidence()"), noisy=noisy, dicom=True)
        (verdict,) = done.verdicts
        assert (verdict.outcome, verdict.flagged, verdict.score) == ("unusable", None, None)
        assert verdict.reason == "the image has values outside 0 to 1"
        assert done.data is None
    (vouched,) = worked(data, mender(), noisy=False, dicom=True).verdicts
    assert vouched.outcome == "clean"


@pytest.mark.parametrize("noisy", [None, True])
def test_a_score_that_is_no_number_mends_nothing(
    monkeypatch: pytest.MonkeyPatch, noisy: bool | None
) -> None:
    monkeypatch.setattr(Mender, "seen", lambda self, image: Seen(float("nan"), False, False))
    done = worked(png(), mender(), noisy=noisy)
    (verdict,) = done.verdicts
    assert (verdict.outcome, verdict.reason, verdict.score) == ("not mended", NOT_FINITE, None)
    assert done.data is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dicom", [False, True])
def test_a_mended_picture_of_no_numbers_is_not_taken(
    monkeypatch: pytest.MonkeyPatch, value: float, dicom: bool
) -> None:
    tiles = Whole._tiles

    def lost(self: Whole, images: Tensor) -> Tensor:
        made = tiles(self, images)
        made[0, 0, 3, 3] = value
        return made

    monkeypatch.setattr(Whole, "_tiles", lost)
    data = encoded(1, shape=(24, 24)) if dicom else png()
    done = worked(data, mender(), dicom=dicom)
    (verdict,) = done.verdicts
    assert (verdict.outcome, verdict.flagged, verdict.reason) == ("not mended", True, NOT_FINITE)
    assert verdict.score is not None
    assert done.data is None


def test_a_mended_picture_whose_score_is_no_number_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nothing = Seen(float("nan"), full=False, model=False)
    seen = iter([Seen(5.0, full=True, model=False)])
    monkeypatch.setattr(Mender, "seen", lambda self, image: next(seen, nothing))
    (verdict,) = worked(png(), mender()).verdicts
    assert (verdict.outcome, verdict.reason, verdict.score) == ("not mended", NO_BETTER, 5.0)
