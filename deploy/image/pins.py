"""Write the versions of what the image installs: this environment's, in which the tests pass.

python deploy/image/pins.py > deploy/image/constraints.txt

torch and what it brings with it are left out: its variant for the CPU or CUDA is named in the
Dockerfile.
"""

from __future__ import annotations

import sys
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Requirement("fedmend[metrics]")
_VARIANT = {"torch", "torchvision"}


def pins(root: Requirement) -> dict[str, str]:
    """Return the version of everything that a requirement takes, itself and torch left out."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    waiting = [(canonicalize_name(root.name), extra) for extra in ("", *root.extras)]
    while waiting:
        name, extra = waiting.pop()
        if (name, extra) in seen or name in _VARIANT:
            continue
        seen.add((name, extra))
        distribution = metadata.distribution(name)
        found[name] = distribution.version
        for text in distribution.requires or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({"extra": extra}):
                own = canonicalize_name(needed.name)
                waiting += [(own, each) for each in ("", *needed.extras)]
    del found[canonicalize_name(root.name)]
    return found


def main() -> None:
    """Print them, one a line."""
    head = "# Made by: python deploy/image/pins.py > deploy/image/constraints.txt\n"
    lines = [f"{name}=={version}\n" for name, version in sorted(pins(ROOT).items())]
    sys.stdout.write(head + "".join(lines))


if __name__ == "__main__":
    main()
