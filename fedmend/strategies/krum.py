"""Krum: the site whose model lies nearest to its neighbours' speaks for all.

Blanchard et al., Machine learning with adversaries: Byzantine tolerant gradient descent, NeurIPS
2017. A site's score is the sum of squared distances to its n - f - 2 nearest, f of n sites being
malicious; with ``keep`` above 1 the best few are averaged (Multi-Krum).
"""

from __future__ import annotations

from collections.abc import Iterable

import flwr.serverapp.strategy as flower
import numpy as np
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

from fedmend.errors import RunError
from fedmend.plugins import STRATEGIES
from fedmend.strategies.base import EVERYONE, Strategy


@STRATEGIES.register("krum")
class Krum(Strategy):
    """Krum and Multi-Krum.

    Args:
        malicious: most sites that may lie, f; at least 2 f + 3 sites must answer.
        keep: how many models are averaged.
    """

    def __init__(self, *, malicious: int = 1, keep: int = 1) -> None:
        if malicious < 0:
            raise ValueError(f"malicious must not be negative; got {malicious}")
        if keep < 1:
            raise ValueError(f"keep must be at least 1; got {keep}")
        self.malicious = malicious
        self.keep = keep

    def server(self) -> flower.Strategy:
        """Return Flower's Multi-Krum, in double precision."""
        return _Exact(self.malicious, self.keep)


class _Exact(flower.MultiKrum):
    """Flower takes distances from inner products: models are near each other, much cancels.

    In single precision a model then is not always the nearest to itself, which Flower takes for
    granted. So the sites' arrays are handed to it in double precision.
    """

    def __init__(self, malicious: int, keep: int) -> None:
        super().__init__(**EVERYONE, num_malicious_nodes=malicious, num_nodes_to_select=keep)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        given = list(replies)
        # The theorem's bound; to average more than n - f models would take in a liar.
        needed = max(2 * self.num_malicious_nodes + 3,
                     self.num_malicious_nodes + self.num_nodes_to_select)  # fmt: skip
        if len(given) < needed:
            raise RunError(
                f"krum(malicious={self.num_malicious_nodes}, keep={self.num_nodes_to_select}) "
                f"needs the answers of {needed} sites; got {len(given)}"
            )
        for message in given:
            _widen(message.content)
        return super().aggregate_train(server_round, given)


def _widen(content: RecordDict) -> None:
    """Turn a reply's arrays into double precision."""
    for key, record in content.array_records.items():
        content[key] = ArrayRecord(
            {name: Array(value.numpy().astype(np.float64)) for name, value in record.items()}
        )
