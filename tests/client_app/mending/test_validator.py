"""Derived files have no error that a validator does not find in their sources too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from pydicom import Sequence as Items
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedXAImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundMultiFrameImageStorage,
    VLWholeSlideMicroscopyImageStorage,
)

from client_app.dicom.window import Window
from client_app.mending.derived import Made
from client_app.mending.dicom import Changed
from tests.dicom_files import encoded
from tests.validator import errors, needs_validator, plain

PULSE = {
    "PulseSequenceName": "SE", "MRAcquisitionType": "3D", "EchoPulseSequence": "SPIN",
    "MultipleSpinEcho": "NO", "MultiPlanarExcitation": "NO", "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO", "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO", "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE", "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR", "RectilinearPhaseEncodeReordering": "LINEAR",
    "SegmentedKSpaceTraversal": "FULL", "CoverageOfKSpace": "FULL",
    "NumberOfKSpaceTrajectories": 1, "BulkMotionCompensationTechnique": "NONE",
    "CardiacSynchronizationTechnique": "PROSPECTIVE", "CardiacSignalSource": "ECG",
    "CardiacRRIntervalSpecified": 1.0, "CardiacBeatRejectionTechnique": "NONE",
    "LowRRValue": 1, "HighRRValue": 2, "IntervalsAcquired": 1, "IntervalsRejected": 1,
    "AcquisitionDateTime": "20200101", "AcquisitionDuration": 1.0,
}  # fmt: skip
CLASSES: dict[str, tuple[str, str]] = {
    "Enhanced MR": (EnhancedMRImageStorage, "MRImageFrameTypeSequence"),
    "Enhanced CT": (EnhancedCTImageStorage, "CTImageFrameTypeSequence"),
    "Enhanced XA": (EnhancedXAImageStorage, ""),
    "whole slide": (
        VLWholeSlideMicroscopyImageStorage, "WholeSlideMicroscopyImageFrameTypeSequence",
    ),
    "ultrasound": (UltrasoundMultiFrameImageStorage, ""),
    "CT": (CTImageStorage, ""),
    "secondary capture": (SecondaryCaptureImageStorage, ""),
}  # fmt: skip


def item(**own: object) -> Dataset:
    made = Dataset()
    for keyword, value in own.items():
        setattr(made, keyword, value)
    return made


def several(name: str, *, shared: bool = True) -> bytes:
    """Return a file of three frames, as complete as this needs."""
    sop_class, macro = CLASSES[name]
    own: dict[str, Any] = {"ImageType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]}
    if macro:
        groups: list[dict[str, object]] = [
            {"FrameContentSequence": Items([item(FrameAcquisitionNumber=number)])}
            for number in range(3)
        ]
        kind = [{macro: Items([item(FrameType=own["ImageType"])])} for _ in range(3)]
        if not shared:
            groups = [group | each for group, each in zip(groups, kind, strict=True)]
        own["SharedFunctionalGroupsSequence"] = Items([item(**(kind[0] if shared else {}))])
        own["PerFrameFunctionalGroupsSequence"] = Items([item(**each) for each in groups])
    if name == "Enhanced MR":
        own |= PULSE
    return encoded(1, shape=(3, 24, 24), SOPClassUID=sop_class, Modality="OT", **own)


def derived(data: bytes, frames: Sequence[int]) -> bytes:
    changed = Changed(data, Window())
    for frame in frames:
        assert changed.mend(frame, 1 - changed.shown(frame))
    return changed.encoded(Made("f" * 64, "detector residual(), scale both"))


def new_errors(data: bytes, folder: Path, frames: Sequence[int]) -> set[str]:
    before, after = folder / "before.dcm", folder / "after.dcm"
    before.write_bytes(plain(data))
    after.write_bytes(derived(data, frames))
    return errors(after) - errors(before)


@needs_validator
@pytest.mark.parametrize("frames", [(1,), (0, 1, 2)])
@pytest.mark.parametrize("name", CLASSES)
def test_files_of_several_frames_stay_as_valid_as_they_were(
    tmp_path: Path, name: str, frames: Sequence[int]
) -> None:
    assert not new_errors(several(name), tmp_path, frames)


@needs_validator
@pytest.mark.parametrize("name", ["Enhanced MR", "Enhanced CT"])
def test_frame_types_of_their_own_stay_valid_too(tmp_path: Path, name: str) -> None:
    for frames in ((1,), (0, 1, 2)):
        assert not new_errors(several(name, shared=False), tmp_path, frames)


@pytest.mark.data
@needs_validator
@pytest.mark.parametrize(
    "name", ["highdicom/sm_image_jpegls_nobot.dcm", "pydicom-data/emri_small_big_endian.dcm"]
)
def test_published_files_of_several_frames_stay_as_valid_as_they_were(
    real_data: Path, tmp_path: Path, name: str
) -> None:
    path = real_data / "dicom-torture" / name
    if not path.is_file():
        pytest.skip("no torture set here")
    data = path.read_bytes()
    for frames in ([0], range(Changed(data, Window()).claimed.frames)):
        assert not new_errors(data, tmp_path, list(frames))
