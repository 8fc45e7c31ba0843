"""What mending is worth, noise by noise: classical filters tuned for each, and the blind imputer.

    python benchmarks/mending.py --data FOLDER [--seeds 0-2] [--models 'unet()' 'drunet()']

FOLDER is that of experiments/chest-xray.toml. Ten sites train one imputer on a mixture of all
noises, half of their images noisy and unsaid, and one classifier on the images before the noise,
in whose features (the 128 before its last layer) Fréchet distances are taken. The imputer then
mends noisy test images, each of them flagged, by its own routes and under the eye of the detector,
calibrated on such a mixture. A filter's parameters are chosen for each noise and severity on 40
clean validation images of all sites with that noise on them: no hospital could do that. A seed
whose run is complete is not trained again. LPIPS is shown where ``--lpips`` names its weights, as
the loss of that name takes them: ``lpips(weights=alex.safetensors)``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine, runs
from benchmarks.intervals import interval
from client_app.fit import fit
from client_app.split import split_records
from fedmend import models, plugins, randomness
from fedmend.models import ModelFile
from fedmend.records import Record
from imputation import quality, routing
from imputation.detectors.base import Detector, examined
from imputation.losses.base import Loss
from imputation.mending import Mending
from imputation.noise import mixture

NOISES: Mapping[str, tuple[str, str, str]] = {
    "gaussian": ("gaussian(std=0.07)", "gaussian(std=0.2)", "gaussian(std=0.4)"),
    "poisson": ("poisson(gain=0.02)", "poisson(gain=0.1)", "poisson(gain=0.3)"),
    "rician": ("rician(std=0.07)", "rician(std=0.15)", "rician(std=0.3)"),
    "speckle": ("speckle(std=0.15)", "speckle(std=0.3)", "speckle(std=0.5)"),
    "saltpepper": ("saltpepper(share=0.02)", "saltpepper(share=0.1)", "saltpepper(share=0.3)"),
    "stripes": tuple(f"stripes(offset={s}, gain={s})" for s in ("0.03", "0.06", "0.12")),  # type: ignore[dict-item]
    "blocks": ("blocks(share=0.05)", "blocks(share=0.15)", "blocks(share=0.3)"),
    "strokes": ("strokes(size=thin)", "strokes(size=medium)", "strokes(size=thick)"),
    "motion": ("motion(length=0.05)", "motion(length=0.1)", "motion(length=0.2)"),
}
SEVERITIES = ("mild", "medium", "strong")
MIXTURE = " | ".join(
    (
        "gaussian(std=0.05..0.45)",
        "poisson(gain=0.01..0.35)",
        "rician(std=0.05..0.35)",
        "speckle(std=0.1..0.6)",
        "saltpepper(share=0.01..0.35)",
        "stripes(offset=0.02..0.15, gain=0.02..0.15)",
        "blocks(share=0.03..0.35)",
        "strokes(size=thin) | strokes(size=medium) | strokes(size=thick)",
        "motion(length=0.03..0.25)",
    )
)
FILTERS: Mapping[str, tuple[str, ...]] = {
    "gaussian": tuple(f"gaussian(sigma={s})" for s in (0.5, 0.8, 1.2, 1.8, 2.5)),
    "mean": ("mean(size=3)", "mean(size=5)", "mean(size=7)"),
    "median": ("median(size=3)", "median(size=5)", "median(size=7)"),
    "bilateral": tuple(
        f"bilateral(spatial={s}, value={v})" for s in (1.5, 3) for v in (0.1, 0.3, 0.8)
    ),
    "nlm": tuple(f"nlm(strength={s})" for s in (0.5, 0.8, 1.2)),
    "wavelet": ("wavelet()", "wavelet(method=visu)", "wavelet(strength=1.5)"),
    "tv": tuple(f"tv(strength={s})" for s in (0.5, 1.0, 1.5, 2.5)),
}
OURS, BARE = "routed imputer", "imputer alone"
SIZE, TUNED_ON, TESTED_ON, CALIBRATED_ON = 64, 40, 120, 240
BLIND = (
    f"noise={MIXTURE}", "noise-fraction=0.5", "noise-known=false", "arms=imputed,clean",
    "imputation.rounds=12", "imputation.epochs=3", "classification.rounds=10",
)  # fmt: skip


Table = dict[str, dict[str, dict[str, float]]]
"""Scores by "noise, severity", method and name."""


class Images(NamedTuple):
    """Clean images of all sites, by split."""

    train: Tensor
    val: Tensor
    test: Tensor


def clean(data: Path, file: ModelFile) -> Images:
    """Return the images of the run that an imputer comes from, as that run has split them."""
    spec = (
        f"folder(path='{data}', labels=labels.csv, image=file_64, label=subtype, patient=patient)"
    )
    reader = plugins.READERS.build(spec)
    records = split_records(reader.index().records, file.settings.split_shares, file.settings.seed)

    def stack(split: str, most: int) -> Tensor:
        chosen: list[Record] = [record for record in records if record.split == split][:most]
        return torch.stack([fit(reader.load(record), SIZE, 1) for record in chosen])

    return Images(stack("train", CALIBRATED_ON), stack("val", TUNED_ON), stack("test", TESTED_ON))


def corrupted(images: Tensor, spec: str, *why: str | int) -> Tensor:
    """Return images with noise on them, in 16 bits as a site keeps them."""
    noise = mixture.from_spec(spec)
    made = [
        noise(image, randomness.generator("mending", spec, number, *why)).image
        for number, image in enumerate(images)
    ]
    return torch.stack(made).mul(65535).round().div(65535)


def mending_of(
    file: ModelFile, train: Tensor, seed: int, spec: str = MIXTURE
) -> tuple[Mending, Mending]:
    """Return the imputer with its routes and without, at a site half of whose images are noisy."""
    site = train.clone()
    site[::2] = corrupted(train[::2], spec, "site", seed)
    plain: Detector = plugins.DETECTORS.build(file.settings.detector)
    vouched = torch.full((len(site),), -1, dtype=torch.int8)
    detector = plain.calibrated(plain.calibration(site, vouched))
    examine = functools.partial(examined, detector)
    model = file.build()
    return (
        Mending(model, file.routes, detector.kinds, examine),
        Mending(model, (), detector.kinds, examine),
    )


def tuned(images: Tensor, spec: str, seed: int) -> dict[str, str]:
    """Return each filter with the parameters that are best for this noise."""
    noisy = corrupted(images, spec, "tuning", seed)

    def worth(text: str) -> float:
        return float(quality.psnr(routing.filtering(text)(noisy), images).mean())

    return {name: max(choices, key=worth) for name, choices in FILTERS.items()}


class Features(nn.Module):
    """What a classifier sees in images before it decides: (n, C, H, W) in [0, 1] to (n, 128).

    Args:
        classifier: a ``small_cnn``.
    """

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        assert isinstance(classifier, nn.Sequential)
        *body, _, last = classifier
        self.body = nn.Sequential(*body)
        assert isinstance(last, nn.Linear)
        self.num_features = last.in_features

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        found: Tensor = self.body(images)
        return found


def frechet(features: Features, images: Tensor, truth: Tensor) -> float:
    """Return the Fréchet distance between two sets of images (Heusel et al., NeurIPS 2017)."""
    metric = FrechetInceptionDistance(feature=features, normalize=True)
    metric.update(truth, real=True)
    metric.update(images, real=False)
    return float(metric.compute())


def scores(made: Tensor, truth: Tensor, features: Features, lpips: Loss | None) -> dict[str, float]:
    """Return PSNR, SSIM, L1, Fréchet distance and, where it is to be had, LPIPS."""
    found = {
        key: float(value[0]) / len(made)
        for key, value in quality.quality(made, truth).items()
        if key != "n"
    }
    found["frechet"] = frechet(features, made, truth)
    if lpips is not None:
        found["lpips"] = float(lpips(made, truth).mean())
    return found


@torch.inference_mode()
def measured(
    data: Path, file: ModelFile, features: Features, lpips: Loss | None, seed: int
) -> Table:
    """Return every method's scores."""
    images = clean(data, file)
    routed, alone = mending_of(file, images.train, seed)
    table = {}
    for (name, specs), number in itertools.product(NOISES.items(), range(len(SEVERITIES))):
        noisy = corrupted(images.test, specs[number], "test", seed)
        answers = {"noisy": noisy}
        for kind, text in tuned(images.val, specs[number], seed).items():
            answers[kind] = routing.filtering(text)(noisy)
        answers[BARE], answers[OURS] = alone(noisy).images, routed(noisy).images
        table[f"{name}, {SEVERITIES[number]}"] = {
            method: scores(made, images.test, features, lpips) for method, made in answers.items()
        }
        sys.stdout.write(f"seed {seed}: {name}, {SEVERITIES[number]}\n")
        sys.stdout.flush()
    return table


class Measured(NamedTuple):
    """One model, trained with one seed after the other."""

    name: str
    tables: list[Table]
    routes: list[str]


def together(models: Sequence[Measured]) -> list[Table]:
    """Return one table a seed, in which the imputer's methods bear its model's name."""
    made = []
    for tables in zip(*(model.tables for model in models), strict=True):
        joined: Table = {}
        for model, table in zip(models, tables, strict=True):
            for case, methods in table.items():
                joined.setdefault(case, {}).update(
                    {named(model, method): values for method, values in methods.items()}
                )
        made.append(joined)
    return made


def named(model: Measured, method: str) -> str:
    """Return what a method is called beside those of other models."""
    return method.replace("imputer", model.name) if method in (BARE, OURS) else method


def page(models: Sequence[Measured], command: str) -> str:
    """Return the whole Markdown page."""
    tables = together(models)
    ours = named(models[0], OURS)
    methods = ["noisy", *FILTERS, *(named(model, m) for model in models for m in (BARE, OURS))]
    parts = [
        "# What mending is worth, noise by noise\n",
        f"Made by `{command}`: chest X-rays at {SIZE} px, {TESTED_ON} test images a noise and "
        f"seed, {len(tables)} seeds. Filters are tuned for each noise and severity; an imputer is "
        f"one for all, trained by ten sites on the mixture `{MIXTURE}`, half of their images noisy "
        f"and unsaid (`{' '.join(BLIND[1:])}`). Fréchet distances are in the 128 features of a "
        "`small_cnn` that was trained on clean images.\n",
        f"{machine.described()}.\n",
        *(
            f"Routes of {model.name}, seed {seed}: {route}.\n"
            for model in models
            for seed, route in enumerate(model.routes)
        ),
    ]  # fmt: skip
    for score, unit, digits in (
        ("psnr", "PSNR, dB", 1),
        ("ssim", "SSIM", 3),
        ("l1", "L1", 4),
        ("frechet", "Fréchet distance", 2),
        ("lpips", "LPIPS", 3),
    ):
        if any(score not in cells["noisy"] for table in tables for cells in table.values()):
            continue  # without its weights
        parts += [
            f"## {unit}\n",
            f"| noise | {' | '.join(methods)} |"
            + f" {ours} minus best filter |" * (score == "psnr"),
            "|---" * (len(methods) + 1 + (score == "psnr")) + "|",
        ]  # fmt: skip
        for case in tables[0]:
            values = {m: [table[case][m][score] for table in tables] for m in methods}
            cells = [f"{interval(values[m]).mean:.{digits}f}" for m in methods]
            if score == "psnr":
                best = np.max([values[m] for m in FILTERS], axis=0)
                gain = interval([a - b for a, b in zip(values[ours], best, strict=True)])
                cells.append(
                    f"{gain.mean:+.1f}" + (f" ± {gain.half:.1f}" if len(tables) > 1 else "")
                )
            parts.append(f"| {case} | {' | '.join(cells)} |")
        parts.append("")
    return "\n".join(parts)


def main() -> None:
    """Train what is missing, measure it, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", default="0-2", help="first-last, or a comma list")
    parser.add_argument("--models", nargs="+", default=["unet()"], help="imputers")
    parser.add_argument("--lpips", default="", help="the loss lpips, with the file of its weights")
    parser.add_argument("--runs", type=Path, default=runs.RUNS)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    data, folder = given.data.resolve(), given.runs.resolve()
    lpips = plugins.LOSSES.build(given.lpips) if given.lpips else None
    done = [Measured(spec.partition("(")[0], [], []) for spec in given.models]
    for seed, (spec, model) in itertools.product(
        runs.numbers(given.seeds), zip(given.models, done, strict=True)
    ):
        name = f"mending-{SIZE}-{model.name}-{seed}"
        own = [f"data={data}", f"imputation.model={spec}", f"seed={seed}", *BLIND]
        runs.completed(runs.Run(name, own), runs.CHEST_XRAY, folder)
        file = models.read(folder / name / "imputer.safetensors", "imputer")
        kept = folder / name / f"mending{'-lpips' * bool(lpips)}.json"
        if not kept.is_file():
            classifier = models.read(folder / name / "classifier-clean.safetensors", "classifier")
            found = measured(data, file, Features(classifier.build().eval()), lpips, seed)
            kept.write_text(json.dumps(found), encoding="utf-8")
        model.tables.append(json.loads(kept.read_text(encoding="utf-8")))
        model.routes.append(", ".join(file.routes))
    command = (
        f"python benchmarks/mending.py --data FOLDER --seeds {given.seeds} --models "
        + " ".join(f"'{spec}'" for spec in given.models)
    )
    given.out.write_text(page(done, command), encoding="utf-8")
    sys.stdout.write(f"wrote {given.out}\n")


if __name__ == "__main__":
    main()
