"""Dirichlet: sites that differ in size and in their mixture of classes.

After Hsu, Qi and Brown, "Measuring the effects of non-identical data distribution for federated
visual classification", 2019; drawn class by class, as Yurochkin et al., "Bayesian nonparametric
federated learning of neural networks", ICML 2019, do: each class is divided among the sites by a
draw from Dir(alpha), so that the sites also differ in size.
"""

from __future__ import annotations

from collections.abc import Sequence

from client_app.partitions.base import Owners, dealt_out
from fedmend import randomness
from fedmend.plugins import PARTITIONS
from fedmend.records import Record


@PARTITIONS.register("dirichlet")
class Dirichlet:
    """Shares drawn for each class.

    Args:
        alpha: concentration, above 0: near 0 a class sits at one site, and large values are iid.
    """

    own_source = False

    def __init__(self, *, alpha: float = 1.0) -> None:
        if not 0 < alpha <= 1e6:
            raise ValueError(f"alpha must be above 0 and at most 1e6; got {alpha:g}")
        self.alpha = alpha

    def assign(self, records: Sequence[Record], sites: int, seed: int) -> Owners:
        """Return the site of each record."""

        def shares(label: str) -> Sequence[float]:
            drawn = randomness.numpy_generator(seed, "dirichlet", label)
            return [float(share) for share in drawn.dirichlet([self.alpha] * sites)]

        return dealt_out(records, seed, shares, sites)
