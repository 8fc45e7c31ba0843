"""``fedmend purge``: delete what a site has derived from its images."""

from __future__ import annotations

from pathlib import Path

import typer
from rich.text import Text

from client_app.cache import Cache
from client_app.folders import private_folder
from client_app.states import forget
from commands.console import out
from fedmend.errors import DataError

_IMAGES = "images"
_MIB = 1024**2


def purge(cache_dir: Path | None, *, asked: bool) -> None:
    """Delete every entry of the cache, and say how much room that made.

    What is kept of runs that are a day old goes too: a run under way is not to lose its state.

    Args:
        cache_dir: as in the setting ``cache-dir``; None: the usual one.
        asked: whether to ask first.

    Raises:
        DataError: the folder is there, but is not a cache; nothing was deleted.
    """
    root = private_folder(str(cache_dir or "")).absolute() / _IMAGES
    console = out()
    if not root.exists():
        console.print(Text(f"there is no cache at {root}: nothing to delete"), soft_wrap=True)
        return
    if not root.is_dir() or not any(root.iterdir()):
        raise DataError("this is no cache of fedmend's; nothing was deleted", local=str(root))
    cache = Cache(root, quota=0)
    if asked and not typer.confirm(f"Delete every decoded image kept in {root}?"):
        console.print("nothing was deleted")
        return
    freed = cache.purge() / _MIB
    runs = forget(root.parent, days=1)
    and_runs = f", the state of {runs} {'run' if runs == 1 else 'runs'} deleted" if runs else ""
    console.print(f"{freed:.1f} MiB freed{and_runs}")
