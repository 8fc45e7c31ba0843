"""Where a launch works: its environment, and a folder of which nothing stays."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

_LONGEST = 40
"""Ray's sockets lie some 65 characters below its folder, and a socket's path has at most 107."""
_OWN = "fedmend-12345678"
_COUNTS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def environment(threads: int) -> dict[str, str]:
    """Return the environment of everything that is started."""
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("FLWR_") and key not in {"RAY_ADDRESS", "RAY_NAMESPACE"}
    }
    return (
        inherited
        | dict.fromkeys(_COUNTS, str(threads))
        | {
            "PATH": os.pathsep.join(
                [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
            ),
            "FLWR_TELEMETRY_ENABLED": "0",
            "FLWR_DISABLE_UPDATE_CHECK": "1",
            "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
            "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.05",
            "RAY_USAGE_STATS_ENABLED": "0",
            # Pages that a worker frees are kept: giving them back costs seconds of faults a round.
            "MALLOC_MMAP_THRESHOLD_": str(2**30),
            "MALLOC_TRIM_THRESHOLD_": str(2**32),
            "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS does not repeat to the bit
        }
    )


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder for Flower's home, its log and Ray's session; nothing of it stays."""
    usual = Path(tempfile.gettempdir())
    fits = len(str(usual / _OWN)) <= _LONGEST
    root = usual if fits else Path("/tmp")  # noqa: S108 - mkdtemp makes it safe
    home = Path(tempfile.mkdtemp(prefix="fedmend-", dir=root))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)
