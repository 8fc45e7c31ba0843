"""Both halves of a federated algorithm: the coordinator's and the site's.

This base is federated averaging; an algorithm overrides what it does differently.
"""

from __future__ import annotations

import types
from collections.abc import Mapping
from typing import Any

import flwr.serverapp.strategy as flower
from torch import Tensor, nn

from fedmend.errors import RunError
from fedmend.wire import EXAMPLES

Memory = dict[str, Tensor]
"""What a site keeps for itself from round to round, by name."""

EVERYONE: Mapping[str, Any] = types.MappingProxyType(
    {
        # The sites are sampled before Flower sees them (server_app.sites).
        "fraction_train": 1.0,
        "fraction_evaluate": 1.0,
        "min_train_nodes": 1,
        "min_evaluate_nodes": 1,
        "min_available_nodes": 1,
        "weighted_by_key": EXAMPLES,
    }
)
"""What every one of Flower's strategies is told: ask all sites, weight them by their images."""

_KEPT = "kept:"


class Strategy:
    """Weighted averaging of the shared parameters (McMahan et al. 2017)."""

    def server(self) -> flower.Strategy:
        """Return the coordinator's half, one of Flower's own strategies."""
        return flower.FedAvg(**EVERYONE)

    def shared(self, model: nn.Module) -> set[str]:
        """Return the names of the parameters and buffers that travel."""
        local: frozenset[str] = getattr(model, "local_names", frozenset())
        return set(model.state_dict()) - local

    def initial(self, model: nn.Module) -> dict[str, Tensor]:
        """Return what the coordinator sends first."""
        shared = self.shared(model)
        return {key: value.clone() for key, value in model.state_dict().items() if key in shared}

    def begin(self, model: nn.Module, incoming: Mapping[str, Tensor], memory: Memory) -> None:
        """Set the model up before a round: shared parameters as received, the rest as kept.

        Raises:
            RunError: the arrays are not this model's.
        """
        shared = self.shared(model)
        arrays = {name: value for name, value in incoming.items() if ":" not in name}
        if set(arrays) != shared:
            raise RunError(
                "the arrays received are not those of this site's model; versions differ"
            )
        kept = {
            name.removeprefix(_KEPT): value
            for name, value in memory.items()
            if name.startswith(_KEPT)
        }
        model.load_state_dict(arrays | kept, strict=False)

    def adjust(self, model: nn.Module) -> None:
        """Change the gradients, between backward and step."""

    def reply(self, model: nn.Module, steps: int, memory: Memory) -> dict[str, Tensor]:
        """Return what travels after a round of ``steps`` steps; keep the rest at the site."""
        del steps
        shared = self.shared(model)
        state = model.state_dict()
        kept = {name: value for name, value in state.items() if name not in shared}
        memory.update({_KEPT + name: kept[name].clone().contiguous() for name in kept})
        return {name: state[name] for name in state if name in shared}

    def state(self) -> dict[str, Tensor]:
        """Return what the coordinator's half must remember to be resumed."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Take up what ``state`` returned."""
        del state
