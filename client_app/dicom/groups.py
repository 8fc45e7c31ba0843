"""Where an enhanced multi-frame file keeps what a simple one has at its top (PS3.3 C.7.6.16)."""

from __future__ import annotations

from pydicom import Dataset

from client_app.dicom.values import items, value


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
    own = items(dataset, "PerFrameFunctionalGroupsSequence")
    shared = items(dataset, "SharedFunctionalGroupsSequence")
    for group in [*own[frame : frame + 1], *shared[:1]]:
        for item in items(group, macro)[:1]:
            if value(item, keyword) is not None:
                return item
    return dataset
