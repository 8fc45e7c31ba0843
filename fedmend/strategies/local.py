"""Local: every site trains alone; nothing is shared, only its metrics are.

The limiting case of personalisation, and the floor that a federation must beat.
"""

from __future__ import annotations

from torch import nn

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import Strategy


@STRATEGIES.register("local")
class Local(Strategy):
    """A strategy whose parameters are all local."""

    def shared(self, model: nn.Module) -> set[str]:
        """Return no name at all."""
        del model
        return set()
