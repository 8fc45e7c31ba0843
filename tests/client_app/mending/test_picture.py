from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
import torch
from PIL import Image

from client_app.mending import picture, png
from client_app.readers import raster

RNG = np.random.default_rng(0)
GREY8 = RNG.integers(0, 256, (9, 7), np.uint8)
GREY16 = RNG.integers(0, 65536, (9, 7), np.uint16)
RGB8 = RNG.integers(0, 256, (9, 7, 3), np.uint8)
RGB16 = RNG.integers(0, 65536, (9, 7, 3), np.uint16)


def pillow(array: npt.NDArray[np.generic], kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **options)
    return file.getvalue()


def npy(array: npt.NDArray[np.generic]) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def tiff(array: npt.NDArray[np.generic], photometric: str) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, photometric=photometric)
    return file.getvalue()


SOURCES = {
    "png 8": (pillow(GREY8, "PNG"), "png", np.uint8, 255),
    "png 16": (pillow(GREY16, "PNG"), "png", np.uint16, 65535),
    "png rgb": (pillow(RGB8, "PNG"), "png", np.uint8, 255),
    "png rgb 16": (png.encode(RGB16), "png", np.uint16, 65535),
    "jpeg": (pillow(GREY8, "JPEG"), "png", np.uint8, 255),
    "jpeg rgb": (pillow(RGB8, "JPEG"), "png", np.uint8, 255),
    "tiff 8": (tiff(GREY8, "minisblack"), "tiff", np.uint8, 255),
    "tiff 16": (tiff(GREY16, "minisblack"), "tiff", np.uint16, 65535),
    "tiff white": (tiff(GREY16, "miniswhite"), "tiff", np.uint16, 65535),
    "tiff white 8": (tiff(GREY8, "miniswhite"), "tiff", np.uint8, 255),
    "tiff rgb": (tiff(RGB8, "rgb"), "tiff", np.uint8, 255),
    "tiff float": (tiff((GREY8 / 255).astype("f4"), "minisblack"), "tiff", np.float32, 2**24),
    "npy 8": (npy(GREY8), "npy", np.uint8, 255),
    "npy rgb first": (npy(np.moveaxis(RGB16, -1, 0)), "npy", np.uint16, 65535),
    "npy one": (npy(GREY8[..., None]), "npy", np.uint8, 255),
    "npy double": (npy(GREY8 / 255), "npy", np.float64, 2**23),
    "npy bool": (npy(GREY8 > 100), "npy", np.bool_, 1),
}


@pytest.mark.parametrize("name", SOURCES)
def test_a_mended_picture_keeps_kind_size_and_depth(name: str) -> None:
    data, kind, depth, top = SOURCES[name]
    before = raster.decode(data)
    mended = 0.25 + 0.5 * before.flip(-1)
    made = picture.encoded(data, mended)
    assert made is not None
    assert raster.kind_of(made) == kind
    after = raster.decode(made)
    assert after.shape == before.shape
    assert (after - mended).abs().max() <= 0.5 / top + 1e-6
    if kind == "npy":
        assert np.load(io.BytesIO(made)).dtype == depth
        assert np.load(io.BytesIO(made)).shape == np.load(io.BytesIO(data)).shape
    elif kind == "tiff":
        with (
            tifffile.TiffFile(io.BytesIO(made)) as file,
            tifffile.TiffFile(io.BytesIO(data)) as was,
        ):
            assert file.pages.first.dtype == depth
            assert file.pages.first.photometric == was.pages.first.photometric
    else:
        assert made[24] == 8 * np.dtype(depth).itemsize


@pytest.mark.parametrize("name", SOURCES)
def test_a_picture_that_does_not_change_is_not_written(name: str) -> None:
    data = SOURCES[name][0]
    assert picture.encoded(data, raster.decode(data)) is None
    barely = (raster.decode(data) + 0.2 / SOURCES[name][3]).clamp(0, 1)
    if np.dtype(SOURCES[name][2]).kind != "f":
        assert picture.encoded(data, barely) is None


def test_a_picture_is_written_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = pillow(GREY8, "JPEG", exif=exif)
    shown = raster.decode(data)
    assert shown.shape == (1, 7, 9)
    made = picture.encoded(data, 1 - shown)
    assert made is not None
    assert torch.allclose(raster.decode(made), 1 - shown, atol=0.51 / 255)


@pytest.mark.parametrize("array", [GREY8, GREY16, RGB8, RGB16, GREY8[:1], GREY8[:, :1]])
def test_png_files_read_back(array: npt.NDArray[np.unsignedinteger[Any]]) -> None:
    data = png.encode(array)
    assert data == png.encode(array.copy())
    again = raster.decode(data).numpy() * np.iinfo(array.dtype).max
    assert np.array_equal(np.rint(np.moveaxis(again, 0, -1)).squeeze(), array.squeeze())
    with Image.open(io.BytesIO(data)) as image:
        image.verify()
