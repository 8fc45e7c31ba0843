"""How well noise is found without being told, on images and scanners that nothing was learnt from.

``--fit`` learns the detector ``evidence``'s weights from phantoms and writes them into the package;
without it, detectors are measured on real images, as taken by simulated scanners: a gamma, a point
spread and a noise floor are drawn for each. Noise is drawn until it leaves at most 30 dB.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from fedmend import plugins, randomness
from fedmend.records import quantised
from imputation import quality
from imputation.detectors import evidence, signs
from imputation.detectors.base import Detector
from imputation.noise import mixture

MEASURED: Mapping[str, str] = {
    "gaussian": "gaussian(std=0.035..0.1)",
    "poisson": "poisson(gain=0.003..0.02)",
    "rician": "rician(std=0.035..0.1)",
    "speckle": "speckle(std=0.08..0.3)",
    "saltpepper": "saltpepper(share=0.004..0.05)",
    "stripes": "stripes(offset=0.02..0.06, gain=0.02..0.06, dead=0..0.02)",
    "dead lines": "stripes(offset=0, gain=0, dead=0.02..0.06)",
    "blocks": "blocks(share=0.02..0.2)",
    "strokes": "strokes(size=thin)",
    "motion": "motion(length=0.04..0.15)",
}
"""What is looked for: the mild end of each noise."""
SIZES, SCANNERS, PHANTOMS = (32, 64, 96), 8, 30
CASES = (("residual()", 0.0), ("evidence()", 0.0), ("evidence()", 0.3), ("evidence()", 0.5))
"""Detectors, and the share of the site's images that are noisy, which nobody says."""
MANY, VOUCHED = (0.6, 0.8, 0.95), (0, 20)
"""Shares of noisy images above a half; images that the site vouches for as clean."""
AMONG_MANY = ("gaussian", "stripes", "blocks", "motion")
_TRIES, _AT_MOST = 50, 30.0


def scanner(images: Tensor, seed: int) -> Tensor:
    """Return images, (n, 1, H, W) in [0, 1], as one scanner of many would have taken them."""
    rng = randomness.numpy_generator("scanner", seed)
    gamma = math.exp(rng.uniform(math.log(0.7), math.log(1.4)))
    spread, floor = rng.uniform(0.01, 0.8), rng.uniform(0, 0.012)
    around = torch.arange(-3, 4).float()
    kernel = torch.exp(-around.square() / (2 * spread**2))
    kernel /= kernel.sum()
    blurred = functional.pad(images**gamma, (3, 3, 3, 3), mode="reflect")
    blurred = functional.conv2d(blurred, kernel[None, None, None])
    blurred = functional.conv2d(blurred, kernel[None, None, :, None])
    noise = torch.randn(images.shape, generator=randomness.generator("scanner", seed))
    return (blurred + floor * noise).clamp(0, 1)


def corrupted(images: Tensor, spec: str, seed: int) -> Tensor:
    """Return images with noise that leaves at most 30 dB of each, as a site keeps them."""
    noise = mixture.from_spec(spec)
    made = []
    for number, image in enumerate(images):
        for attempt in range(_TRIES):
            noisy = noise(image, randomness.generator("detect", seed, number, attempt)).image
            if float(quality.psnr(noisy[None], image[None])[0]) <= _AT_MOST:
                break
        made.append(noisy)
    return kept(torch.stack(made))


def kept(images: Tensor) -> Tensor:
    """Return images as a site keeps them: with 16 bits."""
    return torch.from_numpy(quantised(images).astype(np.float32)).div(65535)


def phantoms(count: int, size: int, seed: int) -> Tensor:
    """Return (count, 1, size, size) phantoms."""
    reader = plugins.READERS.build(f"phantom(count={count}, size={size}, seed={seed})")
    return torch.stack([reader.load(record) for record in reader.index().records])


def learn(target: Path) -> None:
    """Fit the reference, and write it."""
    rows: list[Tensor] = []
    labels: list[int] = []
    for size in SIZES:
        for number in range(SCANNERS):
            seed = 1000 * size + number
            drawn = phantoms(PHANTOMS, size, seed)
            clean = kept(scanner(drawn, seed) if number else drawn)  # one as perfect as drawn
            rows.append(signs.measured(clean))
            labels += [0] * len(clean)
            for kind, spec in enumerate(evidence.KINDS.values(), start=1):
                rows.append(signs.measured(evidence.damaged(clean, spec)))
                labels += [kind] * len(clean)
        print(f"{size} pixels: {len(labels)} images", flush=True)
    fitted = evidence.fit(torch.cat(rows).double(), torch.tensor(labels))
    learnt: dict[str, Any] = {
        "signs": [sign.__name__ for sign in signs.ALL],
        "kinds": ["clean", *evidence.KINDS],
    }
    for name in ("center", "scale", "weights", "bias"):
        learnt[name] = getattr(fitted, name).numpy().round(4).tolist()
    target.write_text(json.dumps(learnt, indent=1) + "\n", encoding="utf-8")


def xrays(data: Path, first: int, count: int) -> Tensor:
    """Return chest X-rays, 64 pixels a side."""
    rows = list(csv.DictReader((data / "chest-xray" / "labels.csv").open(encoding="utf-8")))
    order = randomness.numpy_generator("order").permutation(len(rows))[first : first + count]
    files = [data / "chest-xray" / rows[row]["file_64"] for row in order.tolist()]
    arrays = [np.asarray(Image.open(file).convert("L"), np.float32) / 255 for file in files]
    return torch.from_numpy(np.stack(arrays))[:, None]


def pneumonia(data: Path, first: int, count: int) -> Tensor:
    """Return the re-cut pneumonia X-rays, 28 pixels a side."""
    file = next((data / "pneumoniamnist-28").glob("*.npz"))
    images = np.load(file)["train_images"][first : first + count].astype(np.float32) / 255
    return torch.from_numpy(images)[:, None]


def barred(images: Tensor) -> Tensor:
    """Return square images as those of 3 : 4 are squared: with bars beside them."""
    wide = images.shape[-1] // 8
    made = images.clone()
    made[..., :wide] = made[..., -wide:] = 0
    return made


class Images(NamedTuple):
    """Where a table's images come from."""

    title: str
    take: Callable[[Path, int, int], Tensor]
    shown: Callable[[Tensor], Tensor] = lambda images: images
    """What becomes of them after their noise."""


SETS = (
    Images("Chest X-rays, 64 pixels", xrays),
    Images("Pneumonia X-rays, 28 pixels", pneumonia),
    Images("Chest X-rays of 3 : 4 between bars, 64 pixels", xrays, barred),
    Images("Pneumonia X-rays of 3 : 4 between bars, 28 pixels", pneumonia, barred),
)


class Found:
    """Scores of the clean test images and of the noisy ones, and how many of each are flagged."""

    def __init__(self) -> None:
        self.clean: list[Tensor] = []
        self.noisy: list[Tensor] = []
        self.alarms: list[Tensor] = []
        self.hits: list[Tensor] = []
        self.unknown = 0

    def cells(self) -> str:
        """Return AUROC, share flagged and false alarms, pooled over sites."""
        sound, bad = torch.cat(self.clean), torch.cat(self.noisy)
        truth = np.r_[np.zeros(len(sound)), np.ones(len(bad))]
        area = roc_auc_score(truth, torch.cat([sound, bad]).numpy())
        return f"{area:.3f} | {_percent(self.hits)} | {_percent(self.alarms)}"


class Trial(NamedTuple):
    """What a detector is up against at a site."""

    noise: str
    text: str
    """The detector."""
    share: float
    """Of the site's images, noisy."""
    vouched: int = 0
    """Clean images that the site vouches for, at most."""


def look(site: Tensor, trial: Trial, seed: int, shown: Callable[[Tensor], Tensor]) -> Found:
    """Let a detector see one site, some of whose images are noisy, then test images of it."""
    spec = MEASURED[trial.noise]
    train, test = site[: len(site) * 2 // 3], site[len(site) * 2 // 3 :]
    mixed = kept(train)
    noisy = randomness.numpy_generator("noisy", seed, spec).random(len(train)) < trial.share
    if noisy.any():
        mixed[noisy] = corrupted(train[noisy], spec, seed)
    words = torch.full((len(mixed),), -1, dtype=torch.int8)
    if trial.vouched:
        # Where too few of them are clean, the site has some more looked through.
        mixed = torch.cat((mixed, kept(site[: trial.vouched])))
        words = torch.cat((words, torch.zeros(trial.vouched, dtype=torch.int8)))
    detector: Detector = plugins.DETECTORS.build(trial.text)
    detector = detector.calibrated(detector.calibration(shown(mixed), words))
    found = Found()
    found.unknown = int(detector.unknown)
    for images, scores, flags in (
        (kept(test), found.clean, found.alarms),
        (corrupted(test, spec, seed + 1), found.noisy, found.hits),
    ):
        scores.append(detector.score(shown(images)))
        flags.append(detector.flag(scores[-1]))
    return found


def pooled(sites: Sequence[Tensor], trial: Trial, shown: Callable[[Tensor], Tensor]) -> Found:
    """Return what is found at all sites together."""
    together = Found()
    for seed, site in enumerate(sites):
        found = look(site, trial, seed, shown)
        for name in ("clean", "noisy", "alarms", "hits"):
            getattr(together, name).extend(getattr(found, name))
        together.unknown += found.unknown
    return together


def by_noise(sites: Sequence[Tensor], shown: Callable[[Tensor], Tensor]) -> Iterator[str]:
    """Yield the rows of one data set's table."""
    for name in MEASURED:
        cells = [pooled(sites, Trial(name, *case), shown).cells() for case in CASES]
        yield f"| {name} | {' | '.join(cells)} |"


def by_share(sites: Sequence[Tensor]) -> Iterator[str]:
    """Yield the rows of the table of sites most of whose images are noisy."""
    for name, share, vouched in itertools.product(AMONG_MANY, MANY, VOUCHED):
        found = pooled(sites, Trial(name, "evidence()", share, vouched), lambda images: images)
        unknown = f"{found.unknown} of {len(sites)}"
        yield f"| {name} | {share:.0%} | {vouched} | {found.cells()} | {unknown} |"


def _percent(flags: list[Tensor]) -> str:
    return f"{100 * float(torch.cat(flags).float().mean()):.1f} %"


def report(data: Path, number: int, count: int) -> str:
    """Return the page of results."""
    heads = " | ".join(
        f"`{text}`, {share:.0%}: AUROC | found | false alarms" for text, share in CASES
    )
    lines = [
        "# Detection",
        "",
        f"{number} sites with a simulated scanner each (gamma, point spread, noise floor) and "
        f"{count} images, neither of which anything was learnt from. A detector is calibrated on "
        "two thirds of a site's images, of which the share in the heading has the row's noise, "
        "unsaid; it is tested on the others, clean and noisy. Noise is mild: what is drawn leaves "
        "at most 30 dB, and often not much less.",
        "",
        f"`python benchmarks/detection.py --number {number} --count {count}`",
        f"on {machine.described()}.",
    ]
    for images in SETS:
        sites = [scanner(images.take(data, seed * count, count), seed) for seed in range(number)]
        lines += ["", f"## {images.title}", "", f"| noise | {heads} |"]
        lines += ["|---|" + "---:|" * 3 * len(CASES), *by_noise(sites, images.shown)]
    sites = [scanner(xrays(data, seed * count, count), seed) for seed in range(number)]
    lines += [
        "",
        "## Where most images of a site are noisy",
        "",
        f"Chest X-rays, 64 pixels, `evidence()`, without and with {VOUCHED[1]} more images that "
        "the site vouches for as clean. Where its answer is *unknown*, nothing is flagged.",
        "",
        "| noise | noisy | vouched for | AUROC | found | false alarms | unknown at sites |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *by_share(sites),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Fit, or measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true", help="learn the reference anew")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--number", type=int, default=8, help="scanners")
    parser.add_argument("--count", type=int, default=150, help="images of each")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".md"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.fit:
        learn(evidence.REFERENCE)
    else:
        args.out.write_text(report(args.data, args.number, args.count), encoding="utf-8")


if __name__ == "__main__":
    main()
