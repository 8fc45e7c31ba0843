"""Who this site is: its name, its data and its private folders, from its own configuration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from client_app.cache import Cache
from client_app.folders import private_folder
from client_app.site import LocalSite, Share
from client_app.source import Progress
from client_app.states import states
from client_app.workers import cores
from fedmend import checks, plugins
from fedmend.errors import DataError, SettingsError
from fedmend.files import write_atomically
from fedmend.settings import Settings
from fedmend.store import SiteStore
from fedmend.wire import Task

_GIB = 1024**3


def own_settings(node: Mapping[str, object], settings: Settings) -> Settings:
    """Return a run's settings with the site's own ``device`` and ``threads``, where it sets them.

    What to compute on is for whoever owns the machine to say, as with the data.

    Raises:
        SettingsError: a value that cannot be, or a device that this machine lacks.
    """
    device, threads = node.get("device", settings.device), node.get("threads", settings.threads)
    _whole(node, "keep-warm", 0, "seconds, 0 or more")
    if not isinstance(device, str):
        raise SettingsError(f"this site's device must be text in quotes; got {device!r}")
    if type(threads) is not int:
        raise SettingsError(f"this site's threads must be a whole number; got {threads!r}")
    own = replace(settings, device=device, threads=threads)
    checks.ranges(own)
    if not _usable(device):
        raise SettingsError(f"this site's machine has no device {device}")
    return own


def _whole(node: Mapping[str, object], key: str, least: int, wanted: str) -> int:
    """Return a whole number of a node's configuration; the least it may be where it is not set.

    Raises:
        SettingsError: it is none, or less.
    """
    value = node.get(key, least)
    if type(value) is not int or value < least:
        raise SettingsError(f"this site's {key} must be {wanted}; got {value!r}")
    return value


def _usable(device: str) -> bool:
    kind, _, index = device.partition(":")
    if kind == "cuda":
        return int(index or 0) < torch.cuda.device_count()
    return kind != "mps" or torch.backends.mps.is_available()


@dataclass(frozen=True)
class Member:
    """A site's own configuration; on a real site nothing of it comes from the coordinator."""

    name: str
    data: str
    """Spec of the reader."""
    share: Share
    folder: Path
    busy: bool = False
    """Whether other sites decode images of their own on this machine at the same time."""
    workers: int = 0
    """Processes that decode; 0: one a core."""
    least_images: int = 0
    """Policy: training images below which the site takes part in no run."""

    @classmethod
    def of(cls, node: Mapping[str, object], node_id: int, settings: Settings) -> Member:
        """Read a node's configuration.

        A simulated node has ``partition-id`` and ``num-partitions`` and takes the run's ``data``.
        A real one has its own ``data``, and perhaps ``name``, ``cache-dir``, ``workers`` and
        ``least-images``; its ``device`` and ``threads`` are for :func:`own_settings`.

        Raises:
            DataError: a real site without data of its own.
            SettingsError: a number that cannot be.
        """
        folder = private_folder(str(node.get("cache-dir", settings.cache_dir)))
        if "data" in node:
            name = str(node.get("name", f"site-{node_id}"))
            return cls(
                name,
                str(node["data"]),
                Share(),
                folder,
                workers=_whole(node, "workers", 0, "a number of processes, 0 (one a core) or more"),
                least_images=_whole(node, "least-images", 0, "a number of images, 0 or more"),
            )
        if "partition-id" not in node or "num-partitions" not in node:
            raise DataError(
                'this site has no data: set data="<reader>(…)" in its own node-config; a path '
                "from the coordinator is not accepted"
            )
        number, of = int(str(node["partition-id"])), int(str(node["num-partitions"]))
        partition = plugins.PARTITIONS.build(settings.partition_spec)
        own = bool(partition.own_source)
        if own and "{site}" not in settings.data:
            raise DataError(
                "partition sites() needs {site} in the reader's parameters: otherwise every site "
                "would have the same images"
            )
        data = settings.data.replace("{site}", str(number))
        share = Share() if own else Share(number, of)
        return cls(f"site-{number}", data, share, folder, busy=own and of > 1)

    def site(
        self,
        settings: Settings,
        classes: Sequence[str],
        run: str = "",
        *,
        joining: bool = False,
        progress: Progress | None = None,
    ) -> LocalSite:
        """Open the site's images.

        Args:
            settings: of the run.
            classes: the run's class names.
            run: its name: the images are taken for what they were when the site joined it.
                Empty: they are looked at afresh, and nothing is noted.
            joining: whether the site joins the run just now.
            progress: told how many images are decoded; None: nobody is.

        Raises:
            DataError, SpecError: they cannot be read.
        """
        reader = plugins.READERS.build(self.data)
        cache = Cache(self.folder / "images", int(settings.cache_quota * _GIB))
        noted = states(self.folder) / run / self.name / "fingerprint"
        if run and noted.is_file() and not joining:
            fingerprint = noted.read_text(encoding="utf-8")
        else:
            fingerprint = reader.fingerprint()
        if run and (joining or not noted.is_file()):
            noted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(noted, fingerprint)
        # In a simulation the sites share one source: the first speaks for what it rejected.
        listed = noted.parent if run and self.share.number == 0 else None
        return LocalSite(
            self.name,
            reader,
            self.share,
            settings,
            cache,
            classes,
            fingerprint,
            listed,
            # Where simulated sites share a source, one decodes and the others wait for it, so that
            # a machine's cores are as free for it as a real site's. Sites with images of their own
            # decode side by side, as many as the simulation has workers of so many threads.
            workers=settings.threads if self.busy else self.workers or cores(),
            progress=progress,
        )

    def check_policy(self, images: int) -> None:
        """Check that the site may take part with so many training images.

        Raises:
            DataError: it may not.
        """
        if images < self.least_images:
            raise DataError(
                "its own policy keeps it out: it takes part with so many training images "
                "(least-images in its site file) and has fewer"
            )

    def store(self, task: Task) -> SiteStore:
        """Return the site's own state in one arm of one run."""
        arm = f"{task.phase}-{task.arm}" if task.arm else task.phase
        return SiteStore(states(self.folder) / task.run / self.name / arm)
