"""What a table was measured on."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path


def described() -> str:
    """Return the processor, the cores and the versions that matter, without the machine's name."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "flwr", "ray"))
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {versions}"
