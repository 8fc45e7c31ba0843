"""Mending that does no harm: an image is changed as little as will do, and only for the better.

Each image that is held to be noisy goes through up to three attempts, and keeps the first that is
accepted: the imputer inside its map of holes alone, for noise that leaves pixels as they were
elsewhere; whatever mends its kind of noise best; and the imputer. An attempt is accepted where the
site's detector finds the result less noisy than the image was, or saw no noise in either; the
first one, where it finds no noise any more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from imputation import restoration, routing

HOPELESS = math.log(999)
"""Log-odds of noise above which an image that cannot be mended is not to be trained on."""

Rows = npt.NDArray[np.int64]


class Outcome(NamedTuple):
    """What became of images that were held to be noisy."""

    images: Tensor
    """(n, C, H, W) in [0, 1]: mended, or bit for bit as given."""
    accepted: npt.NDArray[np.bool_]
    """(n,): mended."""
    hopeless: npt.NDArray[np.bool_]
    """(n,): not mended, and all but surely noisy."""
    confidence: npt.NDArray[np.float32]
    """(n,) in [0, 1]: see :func:`imputation.restoration.confidence`."""


class Mending:
    """An imputer at work, watched by a detector.

    Args:
        model: the imputer, in evaluation mode.
        routes: "class=method" each; classes that are not named are the imputer's.
        kinds: the detector's, True for structural ones.
        examine: asks the detector.
    """

    def __init__(
        self,
        model: nn.Module,
        routes: Sequence[str],
        kinds: Mapping[str, bool],
        examine: routing.Examine,
    ) -> None:
        self.model = model
        self.examine = examine
        self.structural = np.array(list(kinds.values()), dtype=np.bool_)
        routed = routing.read(routes)
        self.methods = [routed.get(name, routing.IMPUTER) for name in routing.classes(kinds)]

    def __call__(self, images: Tensor) -> Outcome:
        """Mend (n, C, H, W) in [0, 1], all of them held to be noisy; n may be 0."""
        seen = self.examine(images)
        made = restoration.restored(self.model, images)
        result, accepted = images.clone(), np.zeros(len(images), dtype=np.bool_)
        for rows, mended, strict in self._attempts(images, made, seen.kind):
            left = ~accepted[rows]
            rows, mended = rows[left], mended[torch.from_numpy(left)]
            after = self.examine(mended)
            # Of noise that it does not see, the detector cannot say whether it is gone.
            unseen = ~seen.alarm[rows] & ~after.alarm
            better = (after.score < seen.score[rows]) | unseen
            if strict:
                better &= ~after.alarm
            result[rows[better]] = mended[torch.from_numpy(better)]
            accepted[rows[better]] = True
        changed = (result - made.image).square().mean((1, 2, 3))
        error = torch.where(torch.from_numpy(accepted), made.error, changed)
        return Outcome(
            result,
            accepted,
            ~accepted & (seen.score > HOPELESS),
            restoration.confidence(result, error).float().numpy(),
        )

    def _attempts(
        self, images: Tensor, made: restoration.Restoration, kind: Rows
    ) -> list[tuple[Rows, Tensor, bool]]:
        """Return attempts in order: rows, what becomes of them, and whether to be strict."""
        methods = np.array(self.methods)[routing.classified(kind, images, made.image)]
        routed = methods == routing.IMPUTER
        inside = np.flatnonzero(routed & self.structural[kind])
        attempts = [
            (inside, torch.where(made.hole[inside], made.image[inside], images[inside]), True)
        ]
        for method in sorted(set(methods[~routed].tolist())):
            rows = np.flatnonzero(methods == method)
            answer = routing.mended_by(method, images[rows], made.image[rows], self.examine)
            attempts.append((rows, answer, False))
        every = np.arange(len(images))
        return [*attempts, (every, made.image, False)]
