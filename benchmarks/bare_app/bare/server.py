"""The coordinator: FedAvg twice."""

from __future__ import annotations

from flwr.app import ArrayRecord, ConfigRecord, Context
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

from bare.client import model_for

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Train the imputer, then the classifier."""
    config = context.run_config
    imputer = ArrayRecord()
    for phase in ("imputation", "classification"):
        sites = len(list(grid.get_node_ids()))
        strategy = FedAvg(
            min_train_nodes=sites, min_evaluate_nodes=sites, min_available_nodes=sites
        )
        start = ArrayRecord(model_for(phase, config).state_dict())
        asked = ConfigRecord({"phase": phase})
        result = strategy.start(
            grid=grid,
            initial_arrays=start,
            num_rounds=int(config[f"{phase}-rounds"]),
            train_config=asked,
            evaluate_config=ConfigRecord({"phase": phase}),
        )
        if phase == "imputation":
            imputer = result.arrays
            strategy = FedAvg(
                min_train_nodes=sites, min_available_nodes=sites, fraction_evaluate=0.0
            )
            strategy.start(
                grid=grid, initial_arrays=imputer, num_rounds=1,
                train_config=ConfigRecord({"phase": "mend"}),
            )  # fmt: skip
