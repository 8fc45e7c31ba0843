"""Independent and identically distributed: every site has the same mixture of classes."""

from __future__ import annotations

from collections.abc import Sequence

from client_app.partitions.base import Owners, dealt_out
from fedmend.plugins import PARTITIONS
from fedmend.records import Record


@PARTITIONS.register("iid")
class Iid:
    """Equal shares of every class for every site."""

    own_source = False

    def assign(self, records: Sequence[Record], sites: int, seed: int) -> Owners:
        """Return the site of each record."""
        return dealt_out(records, seed, lambda _: [1 / sites] * sites, sites)
