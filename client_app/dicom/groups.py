"""Where an enhanced multi-frame file keeps what a simple one has at its top (PS3.3 C.7.6.16)."""

from __future__ import annotations

from pydicom import Dataset

from client_app.dicom.values import item, value


def own(dataset: Dataset, frame: int) -> Dataset | None:
    """Return a frame's own functional groups; None where there are none.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
    """
    return item(dataset, "PerFrameFunctionalGroupsSequence", frame)


def shared(dataset: Dataset) -> Dataset | None:
    """Return the functional groups that all frames share; None where there are none."""
    return item(dataset, "SharedFunctionalGroupsSequence", 0)


def holder(dataset: Dataset, frame: int, macro: str, keyword: str) -> Dataset:
    """Return the data set that has an element for a frame.

    Args:
        dataset: of the whole file.
        frame: counted from 0.
        macro: the functional group's sequence, such as FrameVOILUTSequence.
        keyword: the element looked for.

    Returns:
        the item of the frame's own functional group, else of the shared one, else ``dataset``.
    """
    for group in (own(dataset, frame), shared(dataset)):
        found = None if group is None else item(group, macro, 0)
        if found is not None and value(found, keyword) is not None:
            return found
    return dataset
