"""The ground floor: what the coordinator and the sites agree on."""

from __future__ import annotations

__version__ = "0.1.0"
