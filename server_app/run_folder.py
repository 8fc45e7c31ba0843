"""The run folder: all that a run leaves behind, written so that no reader sees half a file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from fedmend.errors import RunError
from fedmend.files import write_atomically
from fedmend.models import ModelFile
from fedmend.settings import RUNS, SITES, Settings
from server_app.checkpoint import Checkpoint

_PUBLIC = 0o644  # of what a run leaves for others to read
_MAY_DIFFER = {
    "resume",
    "run-name",
    "run-dir",
    "cache-dir",
    "cache-quota",
    "deadline",
    "join-deadline",
    "failures-allowed",
    "device",
}
"""Settings under which a run may be resumed that began with others."""


class RunFolder:
    """One run's folder.

    Args:
        path: an existing folder of its own.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.listeners: list[Callable[[Mapping[str, Any]], None]] = []
        """Told every line of metrics.jsonl as it is written."""

    @classmethod
    def open(cls, settings: Settings, run_id: str) -> RunFolder:
        """Make the folder of a fresh run, or open that of the run to resume.

        Raises:
            RunError: the folder is in use, is not there, or belongs to other settings.
        """
        parent = Path(settings.run_dir or RUNS).expanduser()
        name = settings.resume or settings.run_name or run_id
        folder = cls(parent / name)
        if settings.resume:
            folder._check_same(settings)
            return folder
        if folder.path.exists() and any(folder.path.iterdir()):
            raise RunError(
                f"run folder {name} is in use: choose another run-name, or resume={name}"
            )
        (folder.path / "checkpoints").mkdir(parents=True, exist_ok=True)
        write_atomically(
            folder.path / "settings.json", json.dumps(settings.public(), indent=1), _PUBLIC
        )
        return folder

    def _check_same(self, settings: Settings) -> None:
        """Refuse to go on with a run under other settings than it began with."""
        source = self.path / "settings.json"
        if not source.is_file():
            raise RunError(f"there is no run {self.name} to resume", local=f"looked in {self.path}")
        began, now = json.loads(source.read_text(encoding="utf-8")), settings.public()
        changed = sorted(k for k in began.keys() | now.keys() if began.get(k) != now.get(k))
        changed = [key for key in changed if key not in _MAY_DIFFER]
        if changed:
            listed = ", ".join(f"{k} was {began.get(k)!r}, is {now.get(k)!r}" for k in changed)
            raise RunError(f"run {self.name} cannot be resumed with other settings: {listed}")

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    def joined(self, asked: int, images: Mapping[str, int]) -> list[str]:
        """Note which sites take part; of a resumed run, return what is not as it began.

        Args:
            asked: number of sites that were asked to take part.
            images: number of training images by site that does.
        """
        kept = self.path / SITES
        if not kept.is_file():
            text = json.dumps({"asked": asked, "images": dict(images)}, indent=1)
            write_atomically(kept, text, _PUBLIC)
            return []
        began = json.loads(kept.read_text(encoding="utf-8"))["images"]
        return [
            f"{name} had {began.get(name, 0)} training images, has {images.get(name, 0)}"
            for name in sorted(began.keys() | images.keys())
            if began.get(name) != images.get(name)
        ]

    def note(self, line: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl, clear of the half line of a killed coordinator."""
        with (self.path / "metrics.jsonl").open("a+b") as file:
            file.seek(-min(file.tell(), 1), os.SEEK_END)
            broken = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * broken + json.dumps(line).encode() + b"\n")
        for listener in self.listeners:
            listener(line)

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of metrics.jsonl; of a round noted twice (after a resume), the last."""
        source = self.path / "metrics.jsonl"
        if not source.is_file():
            return []
        found: dict[tuple[Any, ...], dict[str, Any]] = {}
        for text in source.read_text(encoding="utf-8").splitlines():
            try:
                line = json.loads(text)
            except ValueError:
                continue  # the line that a killed coordinator was writing
            found[line["phase"], line["arm"], line["round"], line["final"]] = line
        return list(found.values())

    def checkpoint(self, name: str) -> Checkpoint | None:
        """Return an arm's checkpoint, if there is one."""
        path = self.path / "checkpoints" / f"{name}.safetensors"
        return Checkpoint.load(path) if path.is_file() else None

    def keep_checkpoint(self, name: str, point: Checkpoint) -> None:
        """Write an arm's checkpoint."""
        point.save(self.path / "checkpoints" / f"{name}.safetensors")

    def keep_model(self, name: str, model: ModelFile) -> None:
        """Write a model, with what is needed to build and use it."""
        model.write(self.path / f"{name}.safetensors")

    def conclude(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json, by which others know that the run is complete."""
        write_atomically(self.path / "summary.json", json.dumps(summary, indent=1), _PUBLIC)
