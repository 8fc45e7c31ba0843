"""A site, a detector and a network whose every answer can be foretold."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fedmend.records import Pixels, quantised
from fedmend.site import Examined, Mended, MissingImputerError, View
from imputation.denoisers.base import Denoiser, Restored

KINDS = {"grain": False, "blocks": True}


def examined(images: Tensor) -> Examined:
    """Score the share of dark pixels (grain) or of white ones (blocks), whichever is larger."""
    dark, white = (images < 0.2).float().mean((1, 2, 3)), (images > 0.9).float().mean((1, 2, 3))
    score = (torch.maximum(dark, white) * 100 - 1).numpy().astype(np.float32)
    return Examined(score, score > 0, (white > dark).long().numpy())


class Painter(Denoiser):
    """Paints everything in one grey, a bit darker above, and takes white pixels for holes.

    Args:
        grey: what it paints.
        sigma: that it sees everywhere.
        error: log-variance that it answers; None: it answers none.
    """

    def __init__(self, grey: float = 0.5, sigma: float = 1.0, error: float | None = None) -> None:
        super().__init__()
        self.grey, self.sigma, self.error = grey, sigma, error
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, noisy: Tensor) -> Restored:
        one = torch.ones_like(noisy[:, :1])
        shade = torch.linspace(-0.1, 0.1, noisy.shape[2])[:, None].to(noisy)
        image = torch.full_like(noisy, self.grey) + shade + 0 * self.weight
        hole = torch.where(noisy[:, :1] > 0.9, 5.0, -5.0)
        doubt = None if self.error is None else one * self.error
        return Restored(image, hole, one * self.sigma, doubt)


class FakeSite:
    """The same images in every view, some of them flagged; it remembers what is mended."""

    name = "site-0"

    def __init__(self, images: Tensor, flagged: list[bool]) -> None:
        self.images, self.flagged = images, np.array(flagged, dtype=np.bool_)
        self.made: dict[str, Mended] = {}

    def view(self, name: str) -> View:
        count = len(self.images)
        seen = examined(self.images)
        return View(
            uids=tuple(f"{row:064x}" for row in range(count)),
            images=Pixels(quantised(self.images)),
            original=None,
            labels=np.zeros(count, np.int64),
            noisy=np.full(count, -1, np.int8),
            score=seen.score,
            alarm=seen.alarm,
            flagged=self.flagged,
            clean=~self.flagged,
            group=np.zeros(count, np.int64),
        )

    @property
    def kinds(self) -> Mapping[str, bool]:
        return KINDS

    def examine(self, images: Tensor, group: int) -> Examined:
        assert group == 0
        return examined(images)

    def mended(self, name: str, by: str) -> Mended:
        if name not in self.made:
            raise MissingImputerError(by)
        return self.made[name]

    def keep_mended(self, name: str, by: str, made: Mended) -> None:
        self.made[name] = made
