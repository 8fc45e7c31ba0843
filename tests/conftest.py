from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from flwr.supercore.task_identity import TaskIdentity


@pytest.fixture(autouse=True)
def _identity() -> None:
    """Say who sends: Flower's messages ask for it, and outside a run nobody has said so."""
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 1, 1, 1


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Compute on one thread: several, on cores that others use too, wait for one another."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def real_data() -> Path:
    """Return the folder of real images; the test is skipped where there is none."""
    default = Path(__file__).parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("FEDMEND_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real images here: set FEDMEND_DATA to their folder")
    return folder
