"""The README's picture: phantoms as acquired, with noise, and as a run's imputer mends them.

    python benchmarks/before_after.py RUN_FOLDER [--out docs/before-after.png]

RUN_FOLDER is that of a run on phantoms, as ``make run`` leaves it. The images are test images that
the imputer never saw.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from PIL import Image
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from client_app.split import split_records
from fedmend import plugins, randomness
from fedmend.settings import Settings
from imputation import quality
from imputation.noise import mixture
from imputation.restoration import restored

ZOOM, GAP = 3, 6


def pictures(folder: Path, count: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return (clean, noisy, mended) of the first ``count`` test phantoms of a run."""
    with safetensors.safe_open(folder / "imputer.safetensors", framework="pt") as file:
        about = json.loads(file.metadata()["fedmend"])
    settings = Settings.parse(about["settings"])
    model = plugins.DENOISERS.build(settings.imputation.model, settings.channels)
    model.load_state_dict(safetensors.torch.load_file(folder / "imputer.safetensors"))
    reader = plugins.READERS.build(settings.data)
    records = split_records(reader.index().records, settings.split_shares, settings.seed)
    noise = mixture.from_spec(settings.noise)
    made = []
    for record in [record for record in records if record.split == "test"][:count]:
        clean = reader.load(record)
        noisy = noise(clean, randomness.generator(settings.seed, "noise", record.uid)).image
        with torch.inference_mode():
            made.append((clean, noisy, restored(model.eval(), noisy[None]).image[0]))
    return made


def sheet(rows: list[tuple[Tensor, Tensor, Tensor]]) -> Image.Image:
    """Return the pictures side by side: a column for each image, clean above noisy above mended."""
    height, width = (side * ZOOM for side in rows[0][0].shape[1:])
    size = (len(rows) * (width + GAP) - GAP, 3 * (height + GAP) - GAP)
    page = Image.new("L", size, 255)
    for column, triple in enumerate(rows):
        for row, image in enumerate(triple):
            grey = (image[0] * 255).round().to(torch.uint8).numpy()
            tile = Image.fromarray(grey).resize((width, height), Image.Resampling.NEAREST)
            page.paste(tile, (column * (width + GAP), row * (height + GAP)))
    return page


def main() -> None:
    """Draw the picture and say what it shows in dB."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/before-after.png"))
    given = parser.parse_args()
    rows = pictures(given.run, 5)
    sheet(rows).save(given.out, optimize=True)
    clean, noisy, mended = (torch.stack(images) for images in zip(*rows, strict=True))
    before, after = (float(quality.psnr(each, clean).mean()) for each in (noisy, mended))
    sys.stdout.write(f"{given.out}: PSNR {before:.1f} dB noisy, {after:.1f} dB mended\n")


if __name__ == "__main__":
    main()
