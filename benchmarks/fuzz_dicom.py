"""Break DICOM files at random and read them as a site does; what comes of it, in fuzz_dicom.md.

    nice -n 5 .venv/bin/python -m benchmarks.fuzz_dicom --count 20000

Every file takes the site's path: header, data set, each frame as it is shown. It must end in
pictures or in a reason; anything else is a defect, and its seed number is printed. A file's
mutations depend on ``--seed`` and its number alone, so ``--first`` goes on where a run was ended.
"""

from __future__ import annotations

import argparse
import collections
import faulthandler
import io
import random
import resource
import struct
import sys
import time
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    SecondaryCaptureImageStorage,
)

from benchmarks.machine import described
from client_app.dicom import display, headers, isolated
from client_app.dicom.parsed import parse
from client_app.dicom.stored import frames
from client_app.dicom.window import Window
from fedmend.errors import DataError

LIMIT_SECONDS = 5.0
_MOST_FRAMES = 12
"""Of one file that are shown: a header may claim 65,536."""
_BUNDLED = (
    "CT_small", "MR_small_RLE", "MR_small_jp2klossless", "MR_small_jpeg_ls_lossless", "JPGExtended",
    "SC_rgb_dcmtk_+eb+cy+np", "SC_ybr_full_422_uncompressed", "examples_palette", "image_dfl",
    "MR_small_bigendian", "liver_1frame", "JPEG2000", "SC_rgb_rle_16bit",
)  # fmt: skip
"""Files that come with pydicom: of makers, and of syntaxes that nothing here writes."""
_WINDOWS = tuple(Window.parse(text) for text in ("file", "file:2", "range", "40/400"))
_WORDS = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 60000)
_VRS = b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST TM UC UI UL UN US"
_TAGS = (
    0x00020010, 0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100,
    0x00280101, 0x00280102, 0x00280103, 0x00281050, 0x00281052, 0x00281053, 0x00283000, 0x00283010,
    0x52009230, 0x7FE00008, 0x7FE00009, 0x7FE00010, 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD, 0xFFFCFFFC,
)  # fmt: skip


def _written(syntax: UID, pixels: bytes, bits: int = 16, samples: int = 1, count: int = 1) -> bytes:
    """Return a file of 24 rows and 32 columns, with whatever the grey scale pipeline looks at."""
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.SOPClassUID = SecondaryCaptureImageStorage
    made.SOPInstanceUID, made.PatientID = "1.2.3", "fuzz"
    made.Rows, made.Columns, made.SamplesPerPixel, made.NumberOfFrames = 24, 32, samples, count
    made.PhotometricInterpretation = "MONOCHROME2" if samples == 1 else "RGB"
    made.BitsAllocated, made.BitsStored, made.HighBit = bits, bits, bits - 1
    made.PixelRepresentation = 0
    if samples == 3:
        made.PlanarConfiguration = 0
    made.RescaleSlope, made.RescaleIntercept = 2, -100
    made.WindowCenter, made.WindowWidth = [40, 400], [400, 2000]
    made.PixelPaddingValue = 7
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [16, 0, 16])
    table.add_new("LUTData", "OW", np.arange(0, 65536, 4096, dtype="<u2").tobytes())
    made.VOILUTSequence = [table]
    made.PixelData = pixels
    made["PixelData"].VR = "OB" if syntax.is_encapsulated else "OW"
    made["PixelData"].is_undefined_length = syntax.is_encapsulated
    stream = io.BytesIO()
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _compressed(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **({"no_jp2": True} if kind == "JPEG2000" else {}))
    return stream.getvalue()


def seeds() -> list[bytes]:
    """Return the files that are broken: each syntax that can be written here, and pydicom's own."""
    rng = np.random.default_rng(0)
    wide = (np.arange(24 * 32).reshape(24, 32) * 5 + 100).astype("<u2")
    colour = rng.integers(0, 256, (24, 32, 3), np.uint8)
    grey = colour[..., 0]
    made = [_written(syntax, wide.tobytes()) for syntax in _NATIVE]
    made.append(_written(ExplicitVRBigEndian, wide.astype(">u2").tobytes()))
    made.append(_written(ExplicitVRLittleEndian, colour.tobytes() * 2, 8, 3, 2))
    for syntax, kind in ((JPEGBaseline8Bit, "JPEG"), (JPEG2000Lossless, "JPEG2000")):
        made.append(_written(syntax, encapsulate([_compressed(grey, kind)] * 3), 8, 1, 3))
        made.append(_written(syntax, encapsulate([_compressed(colour, kind)]), 8, 3))
    bare = _written(ExplicitVRLittleEndian, wide.tobytes())
    made.append(bare[132:])
    found = (Path(str(get_testdata_file(f"{name}.dcm", download=False))) for name in _BUNDLED)
    return [*made, *(path.read_bytes() for path in found)]


_NATIVE = (ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian)

Mutation = Callable[[bytearray, random.Random, int, list[bytes]], None]


def _at(data: bytearray, rng: random.Random, pixels: int) -> int:
    """Return a place: mostly in the header or where the pixels begin."""
    places = (rng.randrange(max(pixels, 1)), pixels + rng.randrange(400), rng.randrange(len(data)))
    return min(rng.choice(places), len(data) - 1)


def _bytes(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    for _each in range(rng.choice((1, 2, 4, 16, 64))):
        at = _at(data, rng, pixels)
        data[at] = rng.choice((rng.randrange(256), 0, 255, data[at] ^ 1 << rng.randrange(8)))


def _pixels(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    """Change bytes of the pixel data alone, such as a codestream's header."""
    for _each in range(rng.choice((1, 2, 4, 16))):
        at = min(pixels + 12 + rng.randrange(rng.choice((64, 700, len(data)))), len(data) - 1)
        data[at] = rng.choice((rng.randrange(256), 0, 255, data[at] ^ 1 << rng.randrange(8)))


def _lengths(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    for _each in range(rng.choice((1, 2, 4))):
        at, word = _at(data, rng, pixels), rng.choice(_WORDS)
        value = struct.pack("<H", word) if rng.random() < 0.5 else struct.pack("<I", word * 65537)
        data[at : at + len(value)] = value


def _elements(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    """Overwrite the value, length or VR of an element that is looked at."""
    tag = rng.choice(_TAGS)
    at = data.rfind(struct.pack("<HH", tag >> 16, tag & 0xFFFF))
    at = at if at >= 0 else _at(data, rng, pixels)
    part = rng.randrange(3)
    if part == 0:
        data[at + 4 : at + 6] = rng.choice(_VRS.split())
    elif part == 1:
        data[at + 6 : at + 8] = struct.pack("<H", rng.choice(_WORDS))
    else:
        data[at + 8 : at + 10] = struct.pack("<H", rng.choice(_WORDS))


def _tags(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    """Write another tag, or insert a whole element."""
    tag, at = rng.choice(_TAGS), _at(data, rng, pixels)
    name = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if rng.random() < 0.5:
        data[at : at + 4] = name
    else:
        size = rng.choice((0, 2, 4, 8, 0xFFFFFFFF))
        value = rng.randbytes(min(size, 16))
        data[at:at] = name + rng.choice(_VRS.split()) + b"\0\0" + struct.pack("<I", size) + value


def _cut(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    del data[_at(data, rng, pixels) + 1 :]


def _shift(data: bytearray, rng: random.Random, pixels: int, _: list[bytes]) -> None:
    at = _at(data, rng, pixels)
    data[at : at + rng.randrange(9)] = rng.randbytes(rng.randrange(9))


def _splice(data: bytearray, rng: random.Random, pixels: int, others: list[bytes]) -> None:
    """Put a part of another file in the middle, or after the end."""
    other = rng.choice(others)
    start = rng.randrange(len(other))
    part = other[start : start + rng.choice((16, 256, 4096))]
    at = len(data) if rng.random() < 0.3 else _at(data, rng, pixels)
    data[at : at + rng.choice((0, len(part)))] = part


def _repack(data: bytearray, rng: random.Random, pixels: int, others: list[bytes]) -> None:
    """Break what a deflated file inflates to, and deflate it again."""
    start = data.find(b"1.2.840.10008.1.2.1.99")
    if start < 0:
        _bytes(data, rng, pixels, others)
        return
    start = 144 + int.from_bytes(data[140:144], "little")
    try:
        inside = bytearray(zlib.decompress(bytes(data[start:]), -zlib.MAX_WBITS))
    except zlib.error:
        return
    _elements(inside, rng, len(inside), others)
    _bytes(inside, rng, len(inside), others)
    deflater = zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS)
    data[start:] = deflater.compress(bytes(inside)) + deflater.flush()


MUTATIONS: tuple[Mutation, ...] = (
    _bytes, _bytes, _pixels, _pixels, _pixels, _lengths, _elements, _elements, _elements, _tags,
    _cut, _shift, _splice, _repack,
)  # fmt: skip


def mutated(number: int, seed: int, files_: list[bytes]) -> tuple[bytes, Window]:
    """Return the file of a number, broken in one to three ways, and how it is to be shown."""
    rng = random.Random(f"{seed} {number}")  # noqa: S311 (nothing secret)
    data = bytearray(rng.choice(files_))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        pixels = max(0, data.rfind(b"\xe0\x7f\x10\x00"))
        rng.choice(MUTATIONS)(data, rng, pixels, files_)
        if not data:
            break
    return bytes(data), rng.choice(_WINDOWS)


def outcome(data: bytes, window: Window) -> tuple[str, str]:
    """Read a file as a site does; return what stopped it, if anything, and the detail."""
    try:
        parsed = parse(data)
        headers.header(parsed)
        dataset = parsed.dataset
        for frame in range(min(frames(dataset), _MOST_FRAMES)):
            shown = display.image(dataset, frame, window)
            if not bool(((shown >= 0) & (shown <= 1)).all()):
                return "DEFECT", "a value outside 0 to 1"
    except DataError as error:
        return str(error), error.local
    except Exception:  # noqa: BLE001 (what is looked for)
        return "DEFECT", traceback.format_exc()
    return "read", ""


class _Tally:
    """What came of the files so far."""

    def __init__(self) -> None:
        self.kinds: collections.Counter[str] = collections.Counter()
        self.codec_deaths = 0
        self.slowest = (0.0, -1)
        self.over = 0
        self.child_peak = 0

    def add(self, number: int, kind: str, detail: str, seconds: float) -> None:
        self.kinds[kind] += 1
        self.codec_deaths += "the codec died" in detail
        self.slowest = max(self.slowest, (seconds, number))
        self.over += seconds > LIMIT_SECONDS
        if kind == "DEFECT":
            print(f"file {number}: {detail}", flush=True)

    def look_at_codecs(self) -> None:
        for codec in list(isolated._idle):
            try:
                self.child_peak = max(self.child_peak, _peak(codec.process.pid))
            except (OSError, psutil.Error):
                continue


def _peak(pid: int) -> int:
    """Return the most memory (bytes) that a process has held."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def run(numbers: range, seed: int) -> _Tally:
    """Break and read the files of these numbers."""
    tally, sources = _Tally(), seeds()
    for number in numbers:
        data, window = mutated(number, seed, sources)
        faulthandler.dump_traceback_later(60, exit=True)
        start = time.perf_counter()
        kind, detail = outcome(data, window)
        tally.add(number, kind, detail, time.perf_counter() - start)
        faulthandler.cancel_dump_traceback_later()
        if number % 20 == 0:
            tally.look_at_codecs()
        if number % 1000 == 999:
            print(f"{number + 1} files", flush=True)
    return tally


def report(tally: _Tally, arguments: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of the committed table."""
    total = sum(tally.kinds.values())
    versions = ", ".join(
        f"{name} {metadata.version(name)}"
        for name in ("pydicom", "python-gdcm", "pylibjpeg-openjpeg", "pylibjpeg-rle", "pyjpegls")
    )
    memory = psutil.virtual_memory().total / 2**30
    yield "# DICOM files broken at random\n"
    yield (
        f"`python -m benchmarks.fuzz_dicom --count {arguments.count} --seed {arguments.seed}`: "
        f"{total:,} files, made from {len(seeds())} good ones\n"
        "(native little and big endian, implicit, deflated, RLE, JPEG, JPEG-LS, JPEG 2000,\n"
        "palettes, single bits; one to several frames) by changed bytes, lengths, tags and VRs,\n"
        "cuts, shifts and splices. Each took the site's path: header, data set, every frame as it\n"
        "is shown.\n"
    )
    yield f"{described()}; {memory:.0f} GiB; {versions}.\n"
    yield "| what came of it | files |\n|---|---|"
    for kind, count in tally.kinds.most_common():
        yield f"| {kind} | {count:,} |"
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    yield "\n| | |\n|---|---|"
    yield f"| crashes and errors that are no reason | {tally.kinds['DEFECT']} |"
    yield f"| files that took over {LIMIT_SECONDS:g} s | {tally.over} |"
    yield f"| slowest file | {tally.slowest[0]:.2f} s |"
    yield f"| the codec's process died or was stopped, and was replaced | {tally.codec_deaths} |"
    yield f"| peak memory of the site's process (torch included) | {peak / 2**20:.0f} MiB |"
    codec = tally.child_peak / 2**20
    yield f"| peak memory of the codec's processes that lived on | {codec:.0f} MiB |"


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=20000)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    numbers = range(arguments.first, arguments.first + arguments.count)
    tally = run(numbers, arguments.seed)
    text = "\n".join(report(tally, arguments)) + "\n"
    if arguments.out:
        arguments.out.write_text(text, encoding="utf-8")
    print(text)
    sys.exit(1 if tally.kinds["DEFECT"] or tally.over else 0)


if __name__ == "__main__":
    main()
