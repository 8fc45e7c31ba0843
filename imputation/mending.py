"""Mending that does no harm: an image is changed as little as will do, and only for the better.

Each image that is held to be noisy goes through up to three attempts, and keeps the first that is
accepted: the imputer inside its map of holes alone, for noise that leaves pixels as they were
elsewhere; whatever mends its kind of noise best; and the imputer. An attempt is accepted where the
site's detector finds the result less noisy than the image was, and a picture is left of it; the
first one, where besides the detector sees no noise any more, or the imputer none outside of the
holes.

Nothing is painted where there is no picture: margins stay as they are, and where holes take up
most of a picture, or margins nearly all of an image, the imputer would make it up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from imputation import restoration, routing
from imputation.content import LEAST_CONTRAST, contrast, margins

MOST_HOLES = 0.6
"""Share of a picture in holes above which what is left says too little about it."""
LEAST_PICTURE = 0.25
"""Share of an image that is no margin, below which it looks like nothing that the imputer knows."""
NEXT_TO_NOTHING = 0.0125
"""Root mean square of what the imputer would change outside of holes, below which it may as well
be left."""
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


class Attempt(NamedTuple):
    """What might become of some of the images."""

    rows: Rows
    images: Tensor
    inside: bool = False
    """Whether it leaves everything outside of holes as it is."""


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
        beside = margins(images)
        made = made._replace(
            image=torch.where(beside, images, made.image), hole=made.hole & ~beside
        )
        made_up = _made_up(made.hole, ~beside)
        intact = _change_outside(images, made) < NEXT_TO_NOTHING
        result, accepted = images.clone(), np.zeros(len(images), dtype=np.bool_)
        for attempt in self._attempts(images, made, seen.kind, made_up):
            left = ~accepted[attempt.rows]
            rows, mended = attempt.rows[left], attempt.images[torch.from_numpy(left)]
            mended = torch.where(beside[rows], images[rows], mended)
            after = self.examine(mended)
            better = (after.score < seen.score[rows]) & (contrast(mended) >= LEAST_CONTRAST).numpy()
            if attempt.inside:
                better &= ~after.alarm | intact[rows]
            result[rows[better]] = mended[torch.from_numpy(better)]
            accepted[rows[better]] = True
        changed = (result - made.image).square().mean((1, 2, 3))
        error = torch.where(torch.from_numpy(accepted), made.error.mean((1, 2, 3)), changed)
        return Outcome(
            result,
            accepted,
            ~accepted & (seen.score > HOPELESS),
            restoration.confidence(result, error).float().numpy(),
        )

    def _attempts(
        self,
        images: Tensor,
        made: restoration.Restoration,
        kind: Rows,
        made_up: npt.NDArray[np.bool_],
    ) -> Iterator[Attempt]:
        """Yield attempts in order; the imputer has no part in those of images it would make up."""
        methods = np.array(self.methods)[routing.classified(kind, images, made.image)]
        routed = methods == routing.IMPUTER
        # Of an image without holes it would leave all as it is.
        holed = made.hole.any((1, 2, 3)).numpy()
        inside = np.flatnonzero(holed & ~made_up & (routed | self.structural[kind]))
        yield Attempt(
            inside, torch.where(made.hole[inside], made.image[inside], images[inside]), inside=True
        )
        for method in sorted(set(methods[~routed].tolist())):
            by_imputer = routing.IMPUTER in method
            rows = np.flatnonzero((methods == method) & ~(made_up & by_imputer))
            answer = routing.mended_by(method, images[rows], made.image[rows], self.examine)
            yield Attempt(rows, answer)
        yield Attempt(np.flatnonzero(~made_up), made.image[~made_up])


def _made_up(hole: Tensor, picture: Tensor) -> npt.NDArray[np.bool_]:
    """Return (n,): whether too little is to be seen; a hole without the pixels next to it."""
    core = 1 - functional.max_pool2d((~hole).float(), 3, 1, 1)
    seen = picture.float().mean((1, 2, 3))
    hidden = core.mean((1, 2, 3))
    too_little: Tensor = (seen < LEAST_PICTURE) | (hidden > MOST_HOLES * seen)
    return too_little.numpy()


def _change_outside(images: Tensor, made: restoration.Restoration) -> npt.NDArray[np.float32]:
    """Return (n,): the root mean square of what the imputer would change outside of holes."""
    outside = ~made.hole
    change = ((made.image - images) * outside).square().mean(1, keepdim=True).sum((1, 2, 3))
    mean: Tensor = change / outside.sum((1, 2, 3)).clamp_min(1)
    return mean.sqrt().numpy()
