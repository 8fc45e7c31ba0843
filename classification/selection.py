"""Which images an arm shows its classifier, read row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from fedmend import arms
from fedmend.errors import DataError
from fedmend.phase import Batch
from fedmend.records import Pixels
from fedmend.settings import Settings
from fedmend.site import Mended, Site, View
from fedmend.wire import Task

Rows = npt.NDArray[np.int64]

EVALUATION_BATCH = 16
"""Images a forward pass in evaluation; on a CPU, twice as many take twice as long per image."""

_TESTS = ("test-clean", "test-noisy")


@dataclass(frozen=True)
class Selection:
    """An arm's images of one view; nothing is read before it is asked for."""

    labels: npt.NDArray[np.int64]
    """(n,) of all the view's rows; -1 where unlabelled."""
    labelled: Rows
    """The rows that have a label, whatever the arm."""
    kept: Rows
    """Those of them that the arm uses, ascending."""
    images: Pixels
    """What the rows show, unless they are mended."""
    mended: Pixels | None
    """The mended images of the rows that ``place`` names."""
    place: Rows
    """(n,): a row's place in ``mended``; -1 where the row is not mended."""
    confidence: npt.NDArray[np.float32]
    """(n,) in [0, 1]: how much a row is to be believed; 1 where it is not mended."""

    def take(self, rows: Rows, acquired: Tensor | None = None) -> Tensor:
        """Return the images of some rows of the view.

        Args:
            rows: of the view.
            acquired: (len(rows),) in [0, 1]: how far a mended image goes back to what it was as
                acquired; None: not at all.

        Returns:
            (len(rows), C, H, W) float32 in [0, 1].
        """
        place = self.place[rows]
        where = torch.from_numpy(place >= 0)
        if self.mended is None or not where.any():
            return self.images.take(rows)
        shown = torch.empty(len(rows), *self.images.shape)
        shown[~where] = self.images.take(rows[place < 0])
        shown[where] = self.mended.take(place[place >= 0])
        if acquired is not None:
            share = acquired[where][:, None, None, None]
            shown[where] = shown[where].lerp(self.images.take(rows[place >= 0]), share)
        return shown

    def targets(self, rows: Rows) -> Tensor:
        """Return the classes of some rows of the view, (len(rows),) int64."""
        return torch.from_numpy(self.labels[rows])

    def batches(self) -> Iterator[Batch]:
        """Yield the images that the arm uses, each once and in order, to be evaluated."""
        for start in range(0, len(self.kept), EVALUATION_BATCH):
            rows = self.kept[start : start + EVALUATION_BATCH]
            yield Batch(image=self.take(rows), target=self.targets(rows))


def select(site: Site, name: str, settings: Settings, task: Task) -> Selection:
    """Return an arm's images of one view.

    In training and validation an arm may go back to the images before the simulated noise, or
    leave out what is held to be noisy. In the tests no arm does: all arms answer for the same
    images, and only what mends its images mends them here too.

    Args:
        site: whose images.
        name: of the view, one of :data:`fedmend.site.VIEWS`.
        settings: name the classical filter.
        task: names the arm and the imputer.

    Raises:
        MissingImputerError: this site has mended nothing with the task's imputer.
        DataError: the arm needs images that this site does not have.
    """
    arm = arms.ARMS[task.arm]
    view = site.view(name)
    training = name not in _TESTS
    labelled = np.flatnonzero(view.labels >= 0)
    by = {"imputer": task.imputer, "filter": settings.filter}.get(arm.mend, "")
    made = _mended(site, name, by, view) if by else None
    flagged = np.flatnonzero(view.flagged)
    left_out = np.zeros_like(view.flagged)
    place = np.full(len(view.uids), -1)
    confidence = np.ones(len(view.uids), dtype=np.float32)
    if made is not None:
        place[flagged] = np.arange(len(flagged))
        confidence[flagged] = made.confidence
    if training:
        left_out[flagged] = made.dropped if made is not None else arm.drop
    return Selection(
        labels=view.labels,
        labelled=labelled,
        kept=labelled[~left_out[labelled]],
        images=_original(view) if arm.original and training else view.images,
        mended=None if made is None else made.images,
        place=place,
        confidence=confidence,
    )


def _original(view: View) -> Pixels:
    if view.original is None:
        raise DataError(
            "the clean arm needs the images from before the noise; nobody has them here"
        )
    return view.original


def _mended(site: Site, name: str, by: str, view: View) -> Mended | None:
    """Return what became of the view's flagged rows; None where nothing is flagged."""
    flagged = int(view.flagged.sum())
    if not flagged:
        return None
    made = site.mended(name, by)
    if len(made.images) != flagged:
        raise DataError(
            f"{len(made.images)} images of {name} were mended where {flagged} are held to be "
            "noisy; start afresh with `fedmend purge`"
        )
    return made
