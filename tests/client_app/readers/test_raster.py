"""Every format, depth and colour model: what it decodes to, or why it is refused."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from client_app.readers.raster import decode, kind_of
from fedmend.errors import DataError

Samples = npt.NDArray[Any]
_RNG = np.random.default_rng(0)
BYTES = _RNG.integers(0, 256, (6, 5), dtype=np.uint8)
WORDS = _RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
COLOURS = _RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
DEEP = _RNG.integers(0, 65536, (6, 5, 3), dtype=np.uint16)
FLOATS = _RNG.random((6, 5)).astype(np.float32)


def pillow(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(samples: Samples, **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, samples, **{"photometric": "minisblack", "metadata": None} | options)
    return file.getvalue()


def npy(samples: Samples) -> bytes:
    file = io.BytesIO()
    np.save(file, samples)
    return file.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + name
        + content
        + struct.pack(">I", zlib.crc32(name + content))
    )


def deep_png(
    samples: Samples, colour: int, kinds: tuple[int, ...] = (0,), extra: bytes = b""
) -> bytes:
    """Write 16-bit samples (H, W, n) with the rows' filters taken in turn from ``kinds``."""
    height, width, _ = samples.shape
    raw = np.zeros((height + 1, width + 1, samples.shape[2] * 2), dtype=np.int64)
    raw[1:, 1:] = samples.astype(">u2").view(np.uint8).reshape(height, width, -1)
    rows = []
    for y in range(1, height + 1):
        kind = kinds[(y - 1) % len(kinds)]
        left, above, corner = raw[y, :-1], raw[y - 1, 1:], raw[y - 1, :-1]
        guess = left + above - corner
        far = np.stack([abs(guess - left), abs(guess - above), abs(guess - corner)])
        paeth = np.choose(far.argmin(0), [left, above, corner])
        predicted = [0 * left, left, above, (left + above) // 2, paeth][kind]
        rows.append(bytes([kind]) + ((raw[y, 1:] - predicted) & 255).astype(np.uint8).tobytes())
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"".join(rows)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + body + chunk(b"IEND", b"")


def shown(data: bytes) -> Samples:
    """Decode; (C, H, W) back to (H, W) or (H, W, C)."""
    image = decode(data)
    assert image.dtype == torch.float32
    assert image.is_contiguous()
    return image[0].numpy() if len(image) == 1 else image.permute(1, 2, 0).numpy()


_PALETTE = Image.fromarray(COLOURS).quantize(8)
_OPAQUE = np.dstack([COLOURS, np.full((6, 5), 255, np.uint8)])
_DEEP_OPAQUE = np.dstack([DEEP, np.full((6, 5), 65535, np.uint16)])

GOOD = {
    "png grey 8": (pillow(Image.fromarray(BYTES), "PNG"), BYTES / 255),
    "png grey 16": (pillow(Image.fromarray(WORDS), "PNG"), WORDS / 65535),
    "png grey 1": (pillow(Image.fromarray(BYTES > 99), "PNG"), BYTES > 99),
    "png rgb 8": (pillow(Image.fromarray(COLOURS), "PNG"), COLOURS / 255),
    "png rgb 16": (deep_png(DEEP, 2), DEEP / 65535),
    "png rgb 16 filtered": (deep_png(DEEP, 2, (1, 2, 3, 4, 0)), DEEP / 65535),
    "png rgb 16 paeth": (deep_png(DEEP, 2, (4,)), DEEP / 65535),
    "png rgba 16 opaque": (deep_png(_DEEP_OPAQUE, 6, (3,)), DEEP / 65535),
    "png grey alpha 16 opaque": (deep_png(_DEEP_OPAQUE[..., 2:], 4), DEEP[..., 2] / 65535),
    "png rgba opaque": (pillow(Image.fromarray(_OPAQUE), "PNG"), COLOURS / 255),
    "png grey alpha opaque": (pillow(Image.fromarray(BYTES).convert("LA"), "PNG"), BYTES / 255),
    "png palette": (pillow(_PALETTE, "PNG"), np.asarray(_PALETTE.convert("RGB")) / 255),
    "tiff grey 8": (tiff(BYTES), BYTES / 255),
    "tiff grey 16": (tiff(WORDS), WORDS / 65535),
    "tiff grey 16 big-endian": (tiff(WORDS, byteorder=">"), WORDS / 65535),
    "tiff grey 16 big": (tiff(WORDS, bigtiff=True), WORDS / 65535),
    "tiff grey 16 lzw": (
        pillow(Image.fromarray(WORDS), "TIFF", compression="tiff_lzw"),
        WORDS / 65535,
    ),
    "tiff grey 16 deflate": (tiff(WORDS, compression="zlib"), WORDS / 65535),
    "tiff white is 0, 8": (tiff(BYTES, photometric="miniswhite"), 1 - BYTES / 255),
    "tiff white is 0, 16": (tiff(WORDS, photometric="miniswhite"), 1 - WORDS / 65535),
    "tiff rgb 8": (tiff(COLOURS, photometric="rgb"), COLOURS / 255),
    "tiff rgb 16": (tiff(DEEP, photometric="rgb"), DEEP / 65535),
    "tiff rgb 16 planar": (
        tiff(np.moveaxis(DEEP, 2, 0).copy(), photometric="rgb", planarconfig="separate"),
        DEEP / 65535,
    ),
    "tiff rgba 16 opaque": (
        tiff(_DEEP_OPAQUE, photometric="rgb", extrasamples=["unassalpha"]),
        DEEP / 65535,
    ),
    "tiff 1": (pillow(Image.fromarray(BYTES > 99), "TIFF"), BYTES > 99),
    "tiff float": (tiff(FLOATS), FLOATS),
    "npy 8": (npy(BYTES), BYTES / 255),
    "npy 16": (npy(WORDS), WORDS / 65535),
    "npy 16 big-endian": (npy(WORDS.astype(">u2")), WORDS / 65535),
    "npy bool": (npy(BYTES > 99), BYTES > 99),
    "npy float32": (npy(FLOATS), FLOATS),
    "npy float64 by columns": (npy(np.asfortranarray(FLOATS, dtype=np.float64)), FLOATS),
    "npy (H, W, 3)": (npy(COLOURS), COLOURS / 255),
    "npy (3, H, W)": (npy(np.moveaxis(COLOURS, 2, 0).copy()), COLOURS / 255),
    "npy (H, W, 1)": (npy(BYTES[..., None]), BYTES / 255),
    "npy (1, H, W)": (npy(BYTES[None]), BYTES / 255),
}


@pytest.mark.parametrize("name", GOOD)
def test_samples_are_scaled_by_their_depth(name: str) -> None:
    data, expected = GOOD[name]
    np.testing.assert_allclose(shown(data), expected.astype(np.float64), atol=1e-6)


@pytest.mark.parametrize("value", [0, 7, 200, 255])
def test_a_flat_image_is_not_stretched(value: int) -> None:
    image = decode(pillow(Image.new("L", (4, 4), value), "PNG"))
    assert torch.equal(image, torch.full((1, 4, 4), value / 255))


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("CMYK", 3)])
def test_jpeg(mode: str, channels: int) -> None:
    plain = Image.linear_gradient("L").resize((32, 24)).convert("RGB")
    image = decode(pillow(plain.convert(mode), "JPEG", quality=95))
    assert image.shape == (channels, 24, 32)
    expected = np.asarray(plain.convert("L")) / 255
    np.testing.assert_allclose(image.mean(0).numpy(), expected, atol=0.03)


UPRIGHT: dict[int, Callable[[Samples], Samples]] = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).T,
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("kind", ["png", "tiff 8", "tiff 16"])
def test_images_are_turned_upright(kind: str, orientation: int) -> None:
    stored = WORDS if kind == "tiff 16" else BYTES
    if kind == "png":
        exif = Image.Exif()
        exif[274] = orientation
        data = pillow(Image.fromarray(stored), "PNG", exif=exif)
    else:
        data = tiff(stored, extratags=[(274, 3, 1, orientation, True)])
    top = np.iinfo(stored.dtype).max
    np.testing.assert_allclose(shown(data), UPRIGHT[orientation](stored) / top, atol=1e-6)


def _animated() -> bytes:
    frames = [Image.fromarray(BYTES), Image.fromarray(255 - BYTES)]
    return pillow(frames[0], "PNG", save_all=True, append_images=frames[1:])


def _bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(b"\0" * 100))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


def _npy_header(shape: tuple[int, ...], dtype: str = "|u1") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    return file.getvalue()


_SEEN_THROUGH = np.dstack([COLOURS, np.full((6, 5), 254, np.uint8)])
_NAN = np.where(FLOATS > 0.5, np.nan, FLOATS)
_PNG = GOOD["png grey 8"][0]

BAD = {
    "empty": (b"", "the file is empty"),
    "text": (b"image,label\n", "not a PNG, JPEG, TIFF or NPY"),
    "gif": (pillow(Image.fromarray(BYTES), "GIF"), "not a PNG, JPEG, TIFF or NPY"),
    "truncated png": (_PNG[: len(_PNG) // 2], "damaged or truncated"),
    "only a signature": (_PNG[:8], "damaged or truncated"),
    "truncated deep png": (deep_png(DEEP, 2)[:-40], "damaged or truncated"),
    "corrupt deep png": (deep_png(DEEP, 2).replace(b"IDAT", b"IDAX"), "damaged or truncated"),
    "truncated jpeg": (
        pillow(Image.linear_gradient("L"), "JPEG")[:900],
        "damaged or truncated",
    ),
    "truncated tiff": (tiff(WORDS)[:-20], "damaged or truncated"),
    "truncated npy": (npy(BYTES)[:-1], "damaged or truncated"),
    "npy with a tail": (npy(BYTES) + b"x", "damaged or truncated"),
    "transparent png": (pillow(Image.fromarray(_SEEN_THROUGH), "PNG"), "transparent"),
    "transparent palette": (pillow(_PALETTE, "PNG", transparency=0), "transparent"),
    "transparent deep png": (deep_png(_DEEP_OPAQUE // 2, 6), "transparent"),
    "colour key deep png": (deep_png(DEEP, 2, extra=chunk(b"tRNS", b"\0" * 6)), "transparent"),
    "transparent tiff": (
        tiff(_DEEP_OPAQUE // 2, photometric="rgb", extrasamples=["unassalpha"]),
        "transparent",
    ),
    "unknown extra sample": (
        tiff(_DEEP_OPAQUE, photometric="rgb", extrasamples=["unspecified"]),
        "unknown meaning",
    ),
    "animated png": (_animated(), "several frames"),
    "pages": (tiff(np.stack([WORDS, WORDS]), photometric="minisblack"), "several pages"),
    "32-bit tiff": (tiff(WORDS.astype(np.uint32)), "sample type"),
    "signed tiff": (tiff(WORDS.astype(np.int16)), "sample type"),
    "float tiff out of range": (tiff(FLOATS * 2), "outside 0 to 1"),
    "float tiff, white is 0": (tiff(FLOATS, photometric="miniswhite"), "sample type"),
    "lab tiff": (pillow(Image.fromarray(COLOURS).convert("LAB"), "TIFF"), "colour model"),
    "bomb": (_bomb(), "pixels"),
    "npy bomb": (_npy_header((100_000, 100_000)), "million pixels"),
    "npy without pixels": (npy(np.zeros((0, 5), np.uint8)), "no pixels"),
    "npy nan": (npy(_NAN), "not finite"),
    "npy negative": (npy(FLOATS - 1), "outside 0 to 1"),
    "npy signed": (npy(BYTES.astype(np.int8)), "sample type"),
    "npy int64": (npy(BYTES.astype(np.int64)), "sample type"),
    "npy complex": (npy(FLOATS.astype(np.complex64)), "sample type"),
    "npy objects": (_npy_header((2, 2), "|O"), "sample type"),
    "npy of one axis": (npy(BYTES[0]), "shape"),
    "npy of either order": (npy(np.zeros((3, 5, 3), np.uint8)), "shape"),
    "npy of five bands": (npy(np.zeros((6, 5, 5), np.uint8)), "shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_clear_is_refused_with_the_reason(name: str) -> None:
    data, reason = BAD[name]
    with pytest.raises(DataError, match=reason):
        decode(data)


@given(st.sampled_from([*GOOD]), st.data())
@settings(max_examples=150, deadline=None)
def test_no_damage_is_anything_but_an_image_or_a_reason(name: str, data: st.DataObject) -> None:
    damaged = bytearray(GOOD[name][0])
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)))
    for each in (bytes(damaged), bytes(damaged[:cut])):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as where the product runs
            try:
                image = decode(each)
            except DataError:
                continue
        assert image.shape[0] in (1, 3)
        assert 0 <= float(image.min()) <= float(image.max()) <= 1


@given(
    st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"\x93NUMPY\x01\x00"]
    ),
    st.binary(max_size=200),
)
@settings(max_examples=150, deadline=None)
def test_random_bytes_are_refused(start: bytes, rest: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(DataError):
            decode(start + rest)


def test_the_first_bytes_count_not_the_name() -> None:
    assert kind_of(GOOD["tiff float"][0]) == "tiff"
    assert kind_of(GOOD["npy 8"][0]) == "npy"
