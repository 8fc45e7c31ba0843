from __future__ import annotations

import os
import time
from pathlib import Path

from client_app.states import forget

DAY = 86_400


def _run(folder: Path, name: str, days: float) -> Path:
    """Make what a site keeps of a run, last written so many days ago."""
    file = folder / "state" / name / "north" / "imputation" / "round-1.safetensors"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    then = time.time() - days * DAY
    for path in (file, *file.parents[:3]):
        os.utime(path, (then, then))
    return folder / "state" / name


def test_what_nobody_goes_on_with_is_forgotten(tmp_path: Path) -> None:
    old, resumed, new = (_run(tmp_path, name, 31) for name in ("old", "resumed", "new"))
    os.utime(new / "north" / "imputation" / "round-1.safetensors")
    assert forget(tmp_path, keep="resumed") == 1
    assert (old.exists(), resumed.exists(), new.exists()) == (False, True, True)
    assert forget(tmp_path, days=0) == 2
    assert forget(tmp_path / "nothing") == 0
