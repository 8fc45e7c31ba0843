"""A site's own state from round to round, on its disk.

Of every arm the state after the last round, the one before it and the best one are kept, so that
a resumed coordinator can step back and the best round's local layers are still there. Files are
safetensors, written beside and renamed; nothing is ever unpickled.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

import safetensors.torch

from fedmend.strategies.base import Memory

_FILE = re.compile(r"(round|best)-(\d+)\.safetensors")
_KEPT_ROUNDS = 2


class SiteStore:
    """The states of one site in one arm of one run.

    Args:
        folder: this arm's own; made, with mode 0700, when something is first written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _files(self, kind: str) -> dict[int, Path]:
        if not self.folder.is_dir():
            return {}
        found = ((_FILE.fullmatch(path.name), path) for path in self.folder.iterdir())
        return {int(match[2]): path for match, path in found if match and match[1] == kind}

    def read(self, before: int) -> Memory:
        """Return the newest state from a round earlier than ``before``; empty if there is none."""
        rounds = {number: path for number, path in self._files("round").items() if number < before}
        return safetensors.torch.load_file(rounds[max(rounds)]) if rounds else {}

    def read_best(self, number: int) -> Memory:
        """Return the state after round ``number``, or the newest one before it."""
        best = self._files("best")
        if number in best:
            return safetensors.torch.load_file(best[number])
        return self.read(number + 1)

    def write(self, number: int, memory: Memory) -> None:
        """Keep the state after round ``number`` and forget all but the one before it."""
        if not memory:
            return
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self.folder, suffix=".partial")
        os.close(handle)
        safetensors.torch.save_file(memory, name)
        Path(name).replace(self.folder / f"round-{number}.safetensors")
        for old, path in self._files("round").items():
            if old <= number - _KEPT_ROUNDS or old > number:
                path.unlink(missing_ok=True)

    def promote(self, number: int) -> None:
        """Keep the state after round ``number`` as the best one, beyond its round's time."""
        current = self._files("round").get(number)
        if current is None or number in self._files("best"):
            return
        (self.folder / f"best-{number}.safetensors").hardlink_to(current)
        for old, path in self._files("best").items():
            if old != number:
                path.unlink(missing_ok=True)
