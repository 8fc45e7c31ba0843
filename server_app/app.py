"""The coordinator's Flower app."""

from __future__ import annotations

import logging

import torch
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedmend import logs
from fedmend.errors import UserError
from fedmend.settings import Settings
from server_app.federation import federate

app = ServerApp()
log = logging.getLogger("fedmend.coordinator")


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run the whole federation; a user's mistake ends it with one sentence."""
    try:
        logs.begin()
        settings = Settings.parse(context.run_config)
        torch.set_num_threads(settings.threads)
        run = federate(grid, settings, str(context.run_id))
    except UserError as error:
        # Flower runs this in a thread, where SystemExit would pass for success.
        raise type(error)(f"fedmend: {error.full()}") from None
    log.info("run %s is complete", run.name)
