"""What Flower loads at a site: it hands each message to the site's warm worker.

Where there is none to hand it to (in a simulation, or with ``keep-warm = 0``), and where the
worker fails, the message is answered in this process, to the same bits.
"""

from __future__ import annotations

import contextlib
import logging

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

from client_app.warm import caller
from fedmend import logs
from fedmend.errors import SettingsError

app = ClientApp()
log = logging.getLogger("fedmend.site")

KEEP_WARM = "keep-warm"
SECONDS = 600
"""How long a worker waits for a message, where the site does not say."""


def seconds_of(context: Context) -> int:
    """Return how long this site's worker is to wait for its next message; 0: there is none.

    A simulated site has none, as Ray's actor is warm already. Neither has one whose value cannot
    be: the app itself then says so.
    """
    node = context.node_config
    if "data" not in node or not caller.SUPPORTED:
        return 0
    seconds = node.get(KEEP_WARM, SECONDS)
    return max(0, seconds) if type(seconds) is int else 0


@app.query()
@app.train()
@app.evaluate()
def answer(message: Message, context: Context) -> Message:
    """Return the worker's reply, or else this process's own."""
    if seconds := seconds_of(context):
        try:
            return caller.ask(message, context, seconds)
        except caller.NoWorkerError as error:
            with contextlib.suppress(SettingsError):  # which the app answers with, below
                logs.begin()
            log.warning("no warm worker (%s): this process answers the message itself", error)
    from client_app.app import app as own  # torch and all, which is what the worker saves

    return own(message, context)
