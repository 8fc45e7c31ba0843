"""How fast a site takes in its images, beside pydicom reading them one after another.

The pictures are 512 x 512 of 16 bits, in two folders: uncompressed (Explicit VR Little Endian) and
JPEG 2000 lossless. A turn takes each folder once with pydicom (``dcmread(path).pixel_array`` in one
process), once through an empty cache (index, decode, show, fit to 64 pixels, write the cache) and
once from the cache, images read included. Turns alternate, so that what else the machine does falls
on all alike; files are in the system's memory. Starting worker processes counts.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydicom
import torch
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    DigitalXRayImageStorageForPresentation,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
)

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks import machine
from client_app.cache import Cache
from client_app.readers.dicom import dicom
from client_app.source import open_source
from client_app.workers import cores

SIDE, SIZE = 512, 64
GOALS = {"first pass": 0.9 * cores(), "cached pass": 20.0}
"""Times plain pydicom."""
_BASES = 24
_ROOT = "1.2.826.0.1.3680043.8.498.7."


class Rates(NamedTuple):
    """Images a second of each turn."""

    plain: list[float]
    spread: list[float]
    first: list[float]
    cached: list[float]


def picture(rng: np.random.Generator) -> npt.NDArray[np.uint16]:
    """Draw a smooth picture with structure and noise of 100 in 65,535, as detectors have."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    middle = rng.uniform(0.3, 0.7, 2)
    body = 24000 * np.exp(-((y - middle[0]) ** 2 + (x - middle[1]) ** 2) * rng.uniform(2, 8))
    ribs = 8000 * np.sin(y * rng.uniform(20, 60) + 4 * x) ** 2
    noisy = 5000 + body + ribs + rng.normal(0, 100, (SIDE, SIDE))
    stored: npt.NDArray[np.uint16] = noisy.clip(0, 65535).astype("<u2")
    return stored


def dataset(number: int, pixels: npt.NDArray[np.uint16]) -> Dataset:
    """Return a radiograph."""
    made = Dataset()
    values = {
        "SOPClassUID": DigitalXRayImageStorageForPresentation,
        "SOPInstanceUID": f"{_ROOT}1.{number}", "StudyInstanceUID": f"{_ROOT}2.{number}",
        "SeriesInstanceUID": f"{_ROOT}3.{number}", "PatientID": f"P{number}", "Modality": "DX",
        "Manufacturer": "Maker", "ManufacturerModelName": "Model", "BodyPartExamined": "CHEST",
        "ViewPosition": "PA", "PatientOrientation": ["L", "F"], "KVP": "120", "Exposure": "3",
        "ImagerPixelSpacing": [0.8, 0.8], "SamplesPerPixel": 1, "Rows": SIDE, "Columns": SIDE,
        "PhotometricInterpretation": "MONOCHROME2", "BitsAllocated": 16, "BitsStored": 16,
        "HighBit": 15, "PixelRepresentation": 0, "RescaleIntercept": "0", "RescaleSlope": "1",
        "WindowCenter": "20000", "WindowWidth": "36000",
    }  # fmt: skip
    for keyword, value in values.items():
        setattr(made, keyword, value)
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return made


def write(folder: Path, count: int, *, compressed: bool) -> list[Path]:
    """Write the files of one folder, all with other pixels; return their paths."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    bases = [picture(rng) for _ in range(min(count, _BASES))]
    paths = []
    for number in range(count):
        made = dataset(number, np.roll(bases[number % len(bases)], number, axis=0))
        if compressed:
            made.compress(JPEG2000Lossless, encoding_plugin="pylibjpeg")
        stream = io.BytesIO()
        made.save_as(stream, enforce_file_format=True)
        paths.append(folder / f"{number:05}.dcm")
        paths[-1].write_bytes(stream.getvalue())
    return paths


def plain(paths: Sequence[Path]) -> None:
    """Read all files as pydicom does."""
    for path in paths:
        _ = pydicom.dcmread(path).pixel_array


def spread(crew: ProcessPoolExecutor, paths: Sequence[Path]) -> None:
    """Read all files as pydicom does, in a process a core: what the machine's cores are worth."""
    list(crew.map(plain, [paths[number :: cores()] for number in range(cores())]))


def ours(cache: Path, folder: Path) -> None:
    """Open a source, and read every image of it."""
    reader = dicom(path=folder)
    source = open_source(Cache(cache, 2**32), reader, size=SIZE, channels=1, workers=cores())
    for start in range(0, len(source.pixels), 64):
        source.pixels.take(range(start, min(start + 64, len(source.pixels))))


def rate(count: int, act: Callable[..., None], *arguments: Any) -> float:
    """Return how many images a second something handles."""
    begun = time.perf_counter()
    act(*arguments)
    return count / (time.perf_counter() - begun)


def measured(paths: Sequence[Path], turns: int, scratch: Path) -> Rates:
    """Take turns over one folder."""
    rates, folder = Rates([], [], [], []), paths[0].parent
    plain(paths)  # into the system's memory, and what is imported late into ours
    for turn in range(turns):
        cache = scratch / f"cache-{folder.name}-{turn}"
        rates.plain.append(rate(len(paths), plain, paths))
        with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as crew:
            spread(crew, [*paths[:8]])  # once they have started
            rates.spread.append(rate(len(paths), spread, crew, paths))
        rates.first.append(rate(len(paths), ours, cache, folder))
        rates.cached.append(rate(len(paths), ours, cache, folder))
    return rates


def table(rates: dict[str, Rates]) -> str:
    """Return the rates in Markdown: median, and range in brackets."""
    lines = [
        "| files | plain pydicom (images/s) | the same, a process a core | first pass "
        "| cached pass | first / plain | cached / plain |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, each in rates.items():
        cells = [f"{statistics.median(r):,.0f} [{min(r):,.0f}, {max(r):,.0f}]" for r in each]
        for own in (each.first, each.cached):
            ratios = [one / other for one, other in zip(own, each.plain, strict=True)]
            cells.append(f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def report(rates: dict[str, Rates], command: str, load: float) -> str:
    """Return the whole page."""
    goals = ", ".join(f"{name} {goal:.3g} x plain" for name, goal in GOALS.items())
    return (
        "# Taking in images\n\n"
        f"Made by `{command}`: 512 x 512 pictures of 16 bits, fitted to {SIZE} pixels. Plain is\n"
        "`pydicom.dcmread(path).pixel_array` in one process; the first pass hashes, checks, "
        "decodes,\nwindows, fits and caches on all cores, worker start-up included; the cached "
        "pass opens the\ncache and reads every image. Median and range of alternating turns; "
        "ratios turn by turn.\n\n"
        f"{machine.described()}, pydicom {pydicom.__version__}; "
        f"{cores()} cores used.\n"
        f"Load average when it began: {load:.1f} (above 0, other programs shared the cores).\n\n"
        f"{table(rates)}\n\n"
        f"Goals: {goals}. What a second core is worth to pydicom itself bounds the first.\n"
    )


def main() -> None:
    """Measure, and print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=int, default=3000, help="uncompressed files")
    parser.add_argument("--jpeg2000", type=int, default=300, help="JPEG 2000 files")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--output", type=Path, help="where the page is written, too")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        raw = write(root / "raw", asked.raw, compressed=False)
        packed = write(root / "jpeg2000", asked.jpeg2000, compressed=True)
        rates = {
            f"{len(raw):,} uncompressed": measured(raw, asked.turns, root),
            f"{len(packed):,} JPEG 2000 lossless": measured(packed, asked.turns, root),
        }
    command = (
        f"python benchmarks/ingest.py --raw {asked.raw} --jpeg2000 {asked.jpeg2000} "
        f"--turns {asked.turns}"
    )
    page = report(rates, command, load)
    print(page)
    if asked.output:
        asked.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
