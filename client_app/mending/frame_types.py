"""What an image says of where its frames come from: Image Type and Frame Type (PS3.3 C.8.16.1)."""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator

from pydicom import DataElement, Dataset
from pydicom.uid import (
    UID,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
)

from client_app.dicom.values import items, text

_SHARED, _OWN = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
_DERIVED, _MIXED = "DERIVED", "MIXED"
_ENHANCED = frozenset({
    EnhancedCTImageStorage, EnhancedMRImageStorage, EnhancedMRColorImageStorage,
    EnhancedPETImageStorage,
})  # fmt: skip
_MIXABLE = _ENHANCED | {
    LegacyConvertedEnhancedCTImageStorage, LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
}  # fmt: skip
"""Whose frames can differ in their types; frames of others that share one are derived together."""
_OF_ACQUIRED = (
    "PulseSequenceName", "MRAcquisitionType", "EchoPulseSequence", "MultipleSpinEcho",
    "MultiPlanarExcitation", "PhaseContrast", "TimeOfFlightContrast", "SteadyStatePulseSequence",
    "EchoPlanarPulseSequence", "SaturationRecovery", "SpectrallySelectedSuppression",
    "OversamplingPhase", "GeometryOfKSpaceTraversal", "RectilinearPhaseEncodeReordering",
    "SegmentedKSpaceTraversal", "CoverageOfKSpace", "NumberOfKSpaceTrajectories",
    "BulkMotionCompensationTechnique", "BulkMotionSignalSource", "CardiacRRIntervalSpecified",
    "IntervalsAcquired", "IntervalsRejected",
)  # fmt: skip
"""What enhanced images say of their acquisition, and must not where all is derived (PS3.3 C.8.13.4,
C.7.6.18): whoever wants it finds it in the source."""


def mark(dataset: Dataset, frames: Collection[int], count: int) -> None:
    """Say which frames of an image are derived, in place.

    Args:
        dataset: of the image.
        frames: those that are, counted from 0.
        count: of all frames.
    """
    sop_class = UID(text(dataset, "SOPClassUID"))
    mixable = sop_class in _MIXABLE
    if mixable and len(frames) < count:
        _divide(dataset, count)
    former, *others = text(dataset, "ImageType").split("\\")
    types = _marked(dataset, frames)
    if not types and len(frames) < count:  # the image speaks for its frames
        types = {former or _DERIVED, _DERIVED}
    first = _MIXED if mixable and {_DERIVED} < types else _DERIVED
    dataset.ImageType = [first, *(others or ["SECONDARY"])]
    if sop_class in _ENHANCED and first == _DERIVED:
        for keyword in _OF_ACQUIRED:
            if keyword in dataset:
                del dataset[keyword]


def _marked(dataset: Dataset, frames: Collection[int]) -> set[str]:
    """Mark the frames that are derived; return the first values of all frame types there are."""
    shared, own = items(dataset, _SHARED), items(dataset, _OWN)
    for group in (*shared, *(own[frame] for frame in frames if frame < len(own))):
        for holder in _holders(group):
            holder.FrameType = [_DERIVED, *text(holder, "FrameType").split("\\")[1:]]
    return {
        text(holder, "FrameType").split("\\")[0]
        for group in (*shared, *own)
        for holder in _holders(group)
    }


def _divide(dataset: Dataset, count: int) -> None:
    """Give each frame the frame type that all of them share, so that they can differ in it."""
    own = items(dataset, _OWN)
    if len(own) != count:
        return
    for group in items(dataset, _SHARED):
        for element in [each for each in group if any(_typed(each))]:
            for each in own:
                each.add(copy.deepcopy(element))
            del group[element.tag]


def _holders(group: Dataset) -> Iterator[Dataset]:
    """Yield what holds frame types in a functional group."""
    for element in group:
        yield from _typed(element)


def _typed(element: DataElement) -> Iterator[Dataset]:
    if element.VR == "SQ":
        yield from (item for item in element.value if text(item, "FrameType"))
