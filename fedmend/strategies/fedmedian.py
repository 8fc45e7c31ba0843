"""FedMedian: each parameter is the median of the sites', so that a minority cannot move it far.

Yin et al., Byzantine-robust distributed learning: towards optimal statistical rates, ICML 2018.
All sites count the same, however many images they have.
"""

from __future__ import annotations

import flwr.serverapp.strategy as flower

from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Strategy


@STRATEGIES.register("fedmedian")
class FedMedian(Strategy):
    """The coordinate-wise median."""

    def server(self) -> flower.Strategy:
        """Return Flower's FedMedian."""
        return flower.FedMedian(**EVERYONE)
