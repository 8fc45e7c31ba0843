"""A ClientApp without torch: what a worker is made to do in its tests."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query()
def query(message: Message, context: Context) -> Message:
    """Say which process this is, after doing what was asked."""
    asked = message.content.config_records["asked"]
    if "die" in asked:
        os._exit(1)
    if "mark" in asked:
        Path(str(asked["mark"])).write_text(str(os.getpid()))
    time.sleep(float(str(asked.get("sleep", 0))))
    before = context.state.config_records.get("count", ConfigRecord({"messages": 0}))
    context.state["count"] = ConfigRecord({"messages": 1 + int(str(before["messages"]))})
    return Message(RecordDict({"answer": ConfigRecord({"pid": os.getpid()})}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """Send back what came."""
    return Message(message.content, reply_to=message)
