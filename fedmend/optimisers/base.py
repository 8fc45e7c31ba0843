"""What every optimiser answers."""

from __future__ import annotations

from typing import Protocol


class Optimiser(Protocol):
    """Steps parameters in place; made anew in every round, so it remembers nothing of the last.

    A factory is given the parameters and the round's step size.
    """

    def step(self) -> None:
        """Step every parameter that has a gradient."""
        ...
