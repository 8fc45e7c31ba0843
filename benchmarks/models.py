"""Denoisers side by side: parameters, time of a training step, and what a time budget buys.

    python benchmarks/models.py --data FOLDER [--seconds 300] [--out benchmarks/models.md]

FOLDER holds images of 64 x 64 pixels. Each model trains for the same processor time on one thread,
on noise over clean images with the phase's own loss; its validation PSNR is on images and noise
that it never saw. A model that is measured is not measured again: delete its lines from the notes
(--notes) to repeat it. The command can be stopped and repeated; a model begun starts anew.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from fedmend import plugins, randomness
from fedmend.phase import Batch
from fedmend.settings import Settings
from imputation import quality
from imputation.noise import mixture
from imputation.phase import PHASE

NOISE = "strokes(size=medium)+gaussian(std=0.1..0.5)"
STEPS_OF = (
    "unet()", "wavepaint()", "wavepaint(size=small)", "dncnn()", "dncnn(size=published)",
    "redcnn()", "redcnn(width=96)", "drunet()", "restormer()", "scunet()",
)  # fmt: skip
TRAINED = ("unet()", "wavepaint()", "dncnn()")
FILTERS = ("median()", "gaussian()", "bilateral()", "nlm()", "tv()", "wavelet()")
BATCH, SIDE, VALIDATION = 16, 64, 128
RATE, WARM = 2e-3, 3


class Images(NamedTuple):
    """Clean images, (n, 1, 64, 64) in [0, 1], apart from each other."""

    train: Tensor
    validation: Tensor


def images(folder: Path, count: int) -> Images:
    """Read ``count`` images, in an order that has nothing to do with their names' order."""
    files = sorted(each for each in folder.rglob("*.png") if each.is_file())
    order = randomness.numpy_generator("models", "images").permutation(len(files))[:count]
    rows = []
    for number in order:
        with Image.open(files[number]) as image:
            rows.append(np.asarray(image.convert("L"), dtype=np.float32) / 255)
    stacked = torch.from_numpy(np.stack(rows))[:, None]
    if stacked.shape[-2:] != (SIDE, SIDE) or len(stacked) <= VALIDATION:
        raise SystemExit(f"more than {VALIDATION} images of {SIDE} x {SIDE} pixels are needed")
    return Images(stacked[VALIDATION:], stacked[:VALIDATION])


def corrupted(clean: Tensor, *why: str | int) -> Batch:
    """Return clean images under the noise, drawn for each by ``why``."""
    noise = mixture.from_spec(NOISE)
    made = [
        noise(image, randomness.generator("models", number, *why))
        for number, image in enumerate(clean)
    ]
    parts = zip(*((each.image, each.hole, each.sigma) for each in made), strict=True)
    noisy, hole, sigma = (torch.stack(part) for part in parts)
    return Batch(image=noisy, target=clean, hole=hole, sigma=sigma)


def batches(clean: Tensor) -> Iterator[Batch]:
    """Yield batches without end, every image once an epoch, with fresh noise each time."""
    epoch = 0
    while True:
        order = randomness.numpy_generator("models", "order", epoch).permutation(len(clean))
        for start in range(0, len(clean) - BATCH + 1, BATCH):
            rows = torch.from_numpy(order[start : start + BATCH])
            yield corrupted(clean[rows], "train", epoch, start)
        epoch += 1


def built(spec: str) -> nn.Module:
    """Return a model with the weights that its spec draws, laid out as training lays it out."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(randomness.number("models", spec))
        model: nn.Module = plugins.DENOISERS.build(spec, 1)
    return model.to(memory_format=torch.channels_last)


def stepped(model: nn.Module, optimiser: torch.optim.Optimizer, batch: Batch) -> float:
    """Take one training step; return its processor time in seconds."""
    began = time.process_time()
    generator = randomness.generator("models", "loss")
    loss = PHASE.loss(model, batch, Settings.parse({}), generator)[""]
    optimiser.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return time.process_time() - began


def step(spec: str, batch: Batch) -> dict[str, Any]:
    """Return a model's parameters and the time of its training step, the shortest of a few."""
    model = built(spec)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    seconds = min(stepped(model, optimiser, batch) for _ in range(WARM + 1))
    count = sum(each.numel() for each in model.parameters())
    return {"parameters": count, "step": seconds}


def trained(spec: str, found: Images, seconds: float) -> dict[str, Any]:
    """Train for ``seconds`` of processor time, the rate falling as a cosine; return the PSNR.

    The time to draw noise does not count: it is the same for every model.
    """
    model = built(spec)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE)
    spent, steps = 0.0, 0
    for batch in batches(found.train):
        if spent >= seconds:
            break
        for group in optimiser.param_groups:
            group["lr"] = RATE * 0.5 * (1 + math.cos(math.pi * spent / seconds))
        spent += stepped(model, optimiser, batch)
        steps += 1
    held = corrupted(found.validation, "validation")
    with torch.inference_mode():
        model.eval()
        starts = range(0, len(held.image), BATCH)
        parts = [model(held.image[start : start + BATCH]).image for start in starts]
    return {"steps": steps, "seconds": seconds, **_scores(torch.cat(parts), held)}


def filtered(spec: str, found: Images) -> dict[str, Any]:
    """Return a classical filter's PSNR on the same validation images."""
    held = corrupted(found.validation, "validation")
    smooth = plugins.FILTERS.build(spec)
    return _scores(torch.stack([smooth(image) for image in held.image]), held)


def _scores(mended: Tensor, held: Batch) -> dict[str, float]:
    """Return the mean PSNR in dB of the mended and of the noisy images."""
    return {
        "psnr": float(quality.psnr(mended.clamp(0, 1), held.target).mean()),
        "noisy": float(quality.psnr(held.image, held.target).mean()),
    }


def page(notes: dict[str, dict[str, Any]], command: str) -> str:
    """Return the whole Markdown page."""
    of = {name: value for name, value in notes.items() if "psnr" in value}
    models = [name for name in of if name.startswith("trained ")]
    seconds = of[models[0]]["seconds"]
    lines = [
        "# Denoisers side by side\n",
        f"Made by `{command}`. {machine.described()}. Processor time of one "
        "thread throughout; other work on the machine lengthens it, so compare ratios.\n",
        f"## A training step, {BATCH} images of {SIDE} x {SIDE} pixels\n",
        "| model | parameters | seconds |\n|---|---|---|",
        *(
            f"| `{name.removeprefix('step ')}` | {value['parameters']:,} | {value['step']:.2f} |"
            for name, value in notes.items()
            if "step" in value
        ),
        f"\n## What {seconds:g} seconds of training buy\n",
        f"Noise `{NOISE}`; {VALIDATION} validation images that no model saw, "
        f"{of[models[0]]['noisy']:.2f} dB as they are. Filters as their defaults have them. One "
        "seed: differences of a few tenths of a decibel mean little. Images are told apart, "
        "patients are not.\n",
        "| model or filter | steps | PSNR (dB) |\n|---|---|---|",
        *(
            f"| `{name.partition(' ')[2]}` | {value.get('steps', '')} | {value['psnr']:.2f} |"
            for name, value in of.items()
        ),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300.0, help="to train each model for")
    parser.add_argument("--images", type=int, default=1200)
    parser.add_argument("--notes", type=Path, default=Path("runs/models.json"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    found = images(given.data, given.images)
    batch = corrupted(found.train[:BATCH], "step")
    tasks: dict[str, Callable[[], dict[str, Any]]] = {}
    for spec in STEPS_OF:
        tasks[f"step {spec}"] = functools.partial(step, spec, batch)
    for spec in FILTERS:
        tasks[f"filtered {spec}"] = functools.partial(filtered, spec, found)
    for spec in TRAINED:
        tasks[f"trained {spec}"] = functools.partial(trained, spec, found, given.seconds)
    notes = json.loads(given.notes.read_text("utf-8")) if given.notes.is_file() else {}
    for name, task in tasks.items():
        if name not in notes or notes[name].get("seconds", given.seconds) != given.seconds:
            notes[name] = task()
            given.notes.parent.mkdir(parents=True, exist_ok=True)
            given.notes.write_text(json.dumps(notes, indent=1), encoding="utf-8")
            sys.stdout.write(f"{name}: {notes[name]}\n")
            sys.stdout.flush()
    command = f"python benchmarks/models.py --data FOLDER --seconds {given.seconds:g}"
    given.out.write_text(page({name: notes[name] for name in tasks}, command), encoding="utf-8")


if __name__ == "__main__":
    main()
