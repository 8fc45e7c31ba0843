"""What becomes of files that stress a DICOM reader; the table is dicom_torture.md.

    FEDMEND_DATA=… .venv/bin/python -m benchmarks.dicom_torture --out benchmarks/dicom_torture.md

The folder's manifest says what pydicom 3.0.2 made of each file, with GDCM, OpenJPEG and the GPL's
libjpeg. A file that it decodes must be read with exactly those pixels, every other be refused.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path

from client_app.dicom import display, files, headers
from client_app.dicom.parsed import parse
from client_app.dicom.stored import frames, stored
from client_app.dicom.untrusted import Untrusted
from client_app.dicom.window import Window

_GOOD, _INVERTED = "mutants/00_good.dcm", "mutants/08_monochrome1_inverted.dcm"
_WORDS = 70
"""Characters of a long text that are shown."""


def made_of(path: Path, digest: str) -> tuple[str, bool]:
    """Return what is made of a file, and whether it was read.

    Args:
        path: of the file.
        digest: SHA-256 (hex) of its pixels before LUTs, if known.
    """
    try:
        parsed = parse(path.read_bytes())
        headers.header(parsed)
        dataset = parsed.dataset
        count = frames(dataset)
        pixels = b"".join(stored(dataset, frame).tobytes() for frame in range(count))
        for frame in range(count):
            display.image(dataset, frame)
    except Untrusted as error:
        local = " ".join(error.local.split())
        detail = f": {local[:_WORDS]}" if local else ""
        return f"refused, {error.reason}{detail}", False
    same = hashlib.sha256(pixels).hexdigest() == digest
    return ("read, pixels as pydicom's" if same else "READ, OTHER PIXELS"), same


def lines(folder: Path) -> Iterator[tuple[str, bool]]:
    """Yield the table's rows, and whether each is as it must be."""
    with (folder / "manifest.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found, read = made_of(folder / row["file"], row["pixel_sha256"])
            right = read == (row["decode"] == "ok") and found != "READ, OTHER PIXELS"
            yield f"| {row['file']} | {_said(row)} | {found.replace('|', '/')} |", right


def _said(row: Mapping[str, str]) -> str:
    if row["decode"] == "ok":
        return f"ok, {row['shape']} {row['dtype']}"
    said = row["decode"] or row["read"]
    return (said[:_WORDS] + "…" if len(said) > _WORDS else said).replace("|", "/")


def picture(folder: Path) -> float:
    """Say how far the inverted file's picture is from the good one's."""
    good, inverted = (files.read((folder / name).read_bytes()) for name in (_GOOD, _INVERTED))
    first, second = (display.image(each, 0, Window.parse("range")) for each in (good, inverted))
    return float((first - second).abs().max())


def main() -> None:
    """Print the table; 1 if a row is not as it must be."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    folder = Path(os.environ["FEDMEND_DATA"]) / "dicom-torture"
    rows = list(lines(folder))
    wrong = sum(not right for _, right in rows)
    versions = ", ".join(
        f"{name} {metadata.version(name)}"
        for name in ("pydicom", "python-gdcm", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls")
    )
    head = f"""# Files that stress a DICOM reader

`python -m benchmarks.dicom_torture`: what the set's manifest says of decoding each file, and what
becomes of it here ({versions}).
{len(rows)} files, {wrong} not as they must be.

08_monochrome1_inverted was inverted about its own range, and its window was left as it was: shown
over its range (`window=range`), it differs from 00_good by at most {picture(folder):.1g}. Its own
window comes before the inversion (PS3.3 C.7.6.3.1.2), and so cuts out another part of the scale.

| file | manifest | here |
|---|---|---|
"""
    text = head + "\n".join(row for row, _ in rows)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print(text)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
