"""What the pipeline costs a network: PSNR as a site mends, and of the same network called directly.

    python benchmarks/reference.py --data FOLDER [--seed 0]

FOLDER is that of experiments/chest-xray.toml. For each of deepinv's DnCNN and DRUNet, ten sites
train an imputer on Gaussian noise (no published weights are fetched). Its network is then taken
out, put into deepinv's own class and called on noisy test images in floating point, DRUNet with
the true standard deviation; and the whole imputer mends the same images as a site does: kept in
16 bits, with the noise's strength estimated, the change bounded, the result examined by the site's
detector and kept in 16 bits. A run that is complete is not made again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, runs
from benchmarks.intervals import Interval, paired
from benchmarks.mending import Images, clean, mending_of
from fedmend import models, randomness
from fedmend.models import ModelFile
from fedmend.records import Pixels, quantised
from imputation import quality
from imputation.denoisers import dncnn, drunet
from imputation.denoisers.adopted import network_class

NOISE = "gaussian(std=0.02..0.22)"
LEVELS = (15, 25, 50)
"""Standard deviations of the noise, of 255."""
NETWORKS = {"dncnn": 8, "drunet": 4}
"""Rounds of training: a step of DRUNet takes several times as long."""
TRAINING = (
    f"noise={NOISE}", "noise-fraction=0.5", "noise-known=false", "arms=imputed",
    "imputation.filters=", "imputation.epochs=3", "classification.rounds=0",
)  # fmt: skip
WITHIN = 0.1
"""dB that the pipeline may cost."""


class Line(NamedTuple):
    """One network at one level of noise."""

    network: str
    level: int
    noisy: float
    direct: float
    ours: float
    difference: Interval
    """Ours minus direct, over the images."""
    accepted: float
    """Share of the images whose mending the detector accepts."""


def deepinvs_own(name: str, file: ModelFile) -> nn.Module:
    """Return the network of an imputer as deepinv's own class."""
    if name == "dncnn":
        depth, width = dncnn.SIZES["small"]
        network = network_class("DnCNN")(1, 1, depth=depth, nf=width, pretrained=None, device=None)
    else:
        widths, blocks = drunet.SIZES["small"]
        network = network_class("DRUNet")(1, 1, nc=widths, nb=blocks, pretrained=None)
    inside = {
        key.removeprefix("network."): value
        for key, value in file.build().state_dict().items()
        if key.startswith("network.")
    }
    network.load_state_dict(inside)
    return network.eval()


def noised(images: Tensor, level: int) -> Tensor:
    """Return images under Gaussian noise, in floating point and not clipped."""
    made = [
        image
        + level
        / 255
        * torch.randn(image.shape, generator=randomness.generator("reference", level, number))
        for number, image in enumerate(images)
    ]
    return torch.stack(made).clamp(0, 1)


@torch.inference_mode()
def measured(name: str, file: ModelFile, images: Images, seed: int) -> list[Line]:
    """Return a line for every level."""
    network = deepinvs_own(name, file)
    _, site = mending_of(file, images.train, seed, NOISE)
    lines = []
    for level in LEVELS:
        noisy = noised(images.test, level)
        direct = torch.cat([network(image[None], level / 255) for image in noisy]).clamp(0, 1)
        outcome = site(Pixels(quantised(noisy)).take(range(len(noisy))))
        ours = Pixels(quantised(outcome.images)).take(range(len(noisy)))
        each = [quality.psnr(made, images.test).double().tolist() for made in (noisy, direct, ours)]
        before, called, mended = (float(np.mean(values)) for values in each)
        accepted = float(outcome.accepted.mean())
        apart = paired(each[2], each[1])
        lines.append(Line(name, level, before, called, mended, apart, accepted))
    return lines


def page(lines: Sequence[Line], command: str) -> str:
    """Return the whole Markdown page."""
    rows = [
        f"| {line.network} | {line.level} | {line.noisy:.2f} | {line.direct:.2f} | "
        f"{line.ours:.2f} | {line.difference.mean:+.3f} ± {line.difference.half:.3f} | "
        f"{line.accepted:.0%} |"
        for line in lines
    ]
    rounds = " and ".join(map(str, NETWORKS.values()))
    worst = min(line.difference.mean for line in lines)
    held = "held" if worst >= -WITHIN else "missed"
    return "\n".join(
        [
            "# What the pipeline costs a network\n",
            f"Made by `{command}`: grey chest X-rays at 64 px, Gaussian noise. The networks are "
            f"deepinv's, trained here by ten sites (`{' '.join(TRAINING)}`, {rounds} rounds), "
            "as no published weights are fetched; *direct* is the network alone, called by "
            "deepinv's own class in floating point (DRUNet is told the true strength), *ours* "
            "the same weights as a site mends with them: in 16 bits, blind, bounded, examined.\n",
            f"{machine.described()}.\n",
            f"Goal: within {WITHIN} dB of the direct call: {held}, at worst {worst:+.3f} dB.\n",
            "| network | std, of 255 | noisy, dB | direct | ours | ours minus direct | accepted |",
            "|---|---|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


def main() -> None:
    """Train what is missing, measure it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=runs.RUNS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, folder = given.data.resolve(), given.runs.resolve()
    lines = []
    for network, rounds in NETWORKS.items():
        name = f"reference-{network}-{given.seed}"
        own = [f"data={data}", f"imputation.model={network}()", f"imputation.rounds={rounds}"]
        own += [f"seed={given.seed}", *TRAINING]
        runs.completed(runs.Run(name, own), runs.CHEST_XRAY, folder)
        file = models.read(folder / name / "imputer.safetensors", "imputer")
        lines += measured(network, file, clean(data, file), given.seed)
    command = f"python benchmarks/reference.py --data FOLDER --seed {given.seed}"
    given.out.write_text(page(lines, command), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out}\n")


if __name__ == "__main__":
    main()
