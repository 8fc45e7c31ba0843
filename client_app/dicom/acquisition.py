"""How enhanced multi-frame files were acquired: functional groups of CT and MR (PS3.3 C.7.6.16)."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pydicom import Dataset

from client_app.dicom.groups import own, shared
from client_app.dicom.values import item, number, numbers, text

Facts = dict[str, str | float]

MOST_FRAMES = 2**12
"""Of a file whose frames are asked one by one."""

SPACINGS = ("PixelSpacing", "ImagerPixelSpacing")
"""Facts in mm that come as a pair: ``PixelSpacingRow`` is the distance between two rows."""
_MEASURES: dict[str, dict[str, str]] = {
    "PixelMeasuresSequence": {"SliceThickness": "SliceThickness"}
}
_CT: dict[str, dict[str, str]] = {
    "CTXRayDetailsSequence": {"KVP": "KVP"},
    "CTExposureSequence": {
        "ExposureInmAs": "Exposure",
        "ExposureTimeInms": "ExposureTime",
        "XRayTubeCurrentInmA": "XRayTubeCurrent",
    },
    "CTReconstructionSequence": {},
}
"""By functional group: its numbers, and what a simple file calls the same in the same unit."""


def of_all(dataset: Dataset) -> Facts:
    """Return what the shared functional groups say of all frames; empty where there are none."""
    group = shared(dataset)
    return {} if group is None else _facts(group, _macros(dataset))


def of_each(dataset: Dataset, frames: int) -> tuple[Facts, ...]:
    """Return what each frame's own functional groups say; empty where they say nothing.

    Only those groups are looked for that the shared ones lack: a group is in one of the two, and
    parsing a frame's takes a millisecond. They are left out of files with thousands of frames.
    """
    if frames > MOST_FRAMES:
        return ()
    group = shared(dataset)
    missing = {
        name: facts
        for name, facts in _macros(dataset).items()
        if group is None or item(group, name, 0) is None
    }
    if not missing:
        return ()
    groups = (own(dataset, frame) for frame in range(frames))
    found = tuple({} if each is None else _facts(each, missing) for each in groups)
    return found if any(found) else ()


def spacings(dataset: Dataset) -> Facts:
    """Return the pairs that a data set has, as two facts each."""
    facts: Facts = {}
    for keyword in SPACINGS:
        pair = numbers(dataset, keyword)
        if len(pair) == 2:
            facts[f"{keyword}Row"], facts[f"{keyword}Column"] = pair
    return facts


def _macros(dataset: Dataset) -> Mapping[str, Mapping[str, str]]:
    return _MEASURES | _CT if text(dataset, "Modality") == "CT" else _MEASURES


def _facts(group: Dataset, macros: Mapping[str, Mapping[str, str]]) -> Facts:
    facts: Facts = {}
    for name, named in macros.items():
        macro = item(group, name, 0)
        if macro is None:
            continue
        for keyword, fact in named.items():
            if (found := number(macro, keyword)) is not None:
                facts[fact] = found
        if name == "PixelMeasuresSequence":
            facts |= spacings(macro)
        elif kernel := text(macro, "ConvolutionKernel"):
            facts["ConvolutionKernel"] = sys.intern(kernel)
    return facts
