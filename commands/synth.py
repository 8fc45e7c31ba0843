"""``fedmend synth``: sites of synthetic DICOM files, for trials and CI."""

from __future__ import annotations

import shlex
from pathlib import Path

from rich.progress import Progress
from rich.text import Text

from client_app.synth import rsna, tree
from client_app.synth.order import Order
from commands.console import out
from fedmend.spec import Term

_LAYOUTS = {"dicom": tree.write, "rsna": rsna.write}


def synth(target: Path, order: Order, layout: str) -> None:
    """Write the sites, and say how a run uses them.

    Args:
        target: an empty folder, or one that is to be made.
        order: what to write.
        layout: dicom or rsna.

    Raises:
        DataError: ``target`` is neither; nothing was written.
        OSError: the system refuses.
    """
    target = target.expanduser().resolve()
    console = out()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("writing", total=order.sites * order.images)
        _LAYOUTS[layout](order, target, lambda: progress.advance(task))
    for line in (_written(target, order), "", *_use(target, order, layout)):
        console.print(Text(line), soft_wrap=True)


def _written(target: Path, order: Order) -> str:
    sites = f"{order.sites} site{'s' if order.sites > 1 else ''}"
    spoiled = f" and {order.broken} broken files (broken.csv)" if order.broken else ""
    return f"{sites}, each with {order.images} images{spoiled}, written to {target}"


def _use(target: Path, order: Order, layout: str) -> list[str]:
    """Return the lines that say how to run on the tree."""
    if "'" in str(target):
        return ["a run cannot name this folder, as its path holds a ' character: use a link to it"]
    words = [f"data={_data(target, order, layout)}", f"partition={_PARTITIONS[layout]}"]
    if order.corrupts:
        words += ["noise=none()", f"imputation.noise={order.noise}"]
    words += ["min-sites=1"] if order.sites == 1 else []
    return ["to run on it:", f"fedmend run {shlex.join(words)} --sites {order.sites}"]


_PARTITIONS = {"dicom": "sites()", "rsna": "column(name=site_id)"}


def _data(target: Path, order: Order, layout: str) -> Term:
    """Return the reader's term."""
    if layout == "rsna":
        return Term("rsna", {"path": str(target)})
    columns = {"image": "SOPInstanceUID", "label": "label", "patient": "patient"}
    vouched = {"noisy": "noisy"} if order.corrupts else {}
    path = str(target / "site-{site}")
    return Term("dicom", {"path": path, "labels": "labels.csv", **columns, **vouched})
