"""Small pictures of the worst images: no more of them are ever held than are shown."""

from __future__ import annotations

import io
from collections.abc import Iterable

import numpy as np
import torch
from PIL import Image

from client_app.fit import fit
from client_app.pictures import Picture
from client_app.survey.scores import Score
from fedmend.records import Pixels

LARGEST = 256
"""Side in pixels."""


class Thumbnails:
    """The pictures of the images that rank first, as PNG files.

    Args:
        number: of them, at most.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self._kept: list[tuple[Score, bytes]] = []

    def add(self, seen: Iterable[tuple[Score, Picture]]) -> None:
        """Take those that rank before what is kept, and let go of what ranks behind them."""
        last = self._kept[-1][0].rank() if len(self._kept) == self.number > 0 else None
        fresh = sorted(seen, key=lambda each: each[0].rank())[: self.number]
        self._kept += [
            (score, encoded(picture))
            for score, picture in fresh
            if last is None or score.rank() < last
        ]
        self._kept.sort(key=lambda each: each[0].rank())
        del self._kept[self.number :]

    def worst(self) -> list[tuple[Score, bytes]]:
        """Return the scores and their PNG files, worst first."""
        return list(self._kept)


def encoded(picture: Picture) -> bytes:
    """Return a picture as the detector saw it, as a PNG of 8 bits and at most 256 pixels a side."""
    image = Pixels(picture.pixels[None]).take([0])[0]
    if image.shape[-1] > LARGEST:
        image = fit(image, LARGEST, image.shape[0])
    values = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(np.squeeze(values, 2) if values.shape[2] == 1 else values).save(file, "PNG")
    return file.getvalue()
