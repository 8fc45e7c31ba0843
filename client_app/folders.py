"""Where a site keeps what it derives from its images."""

from __future__ import annotations

from pathlib import Path

HOME = Path("~/.fedmend")


def private_folder(cache_dir: str) -> Path:
    """Return the folder of everything that a site derives from its images."""
    return Path(cache_dir or HOME / "cache").expanduser()
