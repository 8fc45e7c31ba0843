"""Whole files are mended by a run's rule: inside holes first, as routed, or not at all."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn
from torch.nn import functional

from client_app.dicom import files
from client_app.dicom.parsed import parse
from client_app.dicom.stored import stored
from client_app.dicom.window import Window
from client_app.mending.derived import Made
from client_app.mending.file import Mended, mended
from client_app.mending.mender import Mender, Scale, Whole, enlarged
from client_app.readers import raster
from fedmend import plugins, randomness
from fedmend.records import Record
from imputation.denoisers.base import Denoiser, Restored
from imputation.noise import mixture
from imputation.routing import LEVELS, filtering
from tests.dicom_files import encoded

SIZE = 96
MADE = Made("f" * 64, "detector evidence(), scale both")


class Filler(Denoiser):
    """Takes white for holes, fills them from around, and makes all else a little darker."""

    def __init__(self) -> None:
        super().__init__()
        self.anything = nn.Parameter(torch.zeros(1))

    def forward(self, noisy: Tensor) -> Restored:
        white = (noisy[:, :1] > 0.97).float()
        around, seen = (
            functional.avg_pool2d(each, 15, 1, 7) for each in (noisy * (1 - white), 1 - white)
        )
        image = torch.where(white > 0, around / seen.clamp_min(1e-3), noisy * 0.97)
        return Restored(image, 10 * white - 5, torch.full_like(white, 0.02))


class Vandal(Filler):
    """Takes nothing for a hole, and paints everything over."""

    def forward(self, noisy: Tensor) -> Restored:
        one = torch.ones_like(noisy[:, :1])
        pattern = torch.zeros_like(noisy)
        pattern[..., ::2, ::2] = 1.0
        return Restored(pattern, -one, one)


def mender(network: nn.Module, scale: Scale = "both", routes: Sequence[str] = ()) -> Mender:
    return Mender(network.eval(), 1, 32, plugins.DETECTORS.build("evidence()"), scale, routes)


def phantom(number: int = 0) -> Tensor:
    reader = plugins.READERS.build(f"phantom(count=6, size={SIZE})")
    image: Tensor = reader.load(reader.index().records[number])
    return image.mul(0.7).add(0.1)


def struck(number: int) -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.bool_]]:
    """Return stored values of 12 bits with white strokes in them, and where these are."""
    values = (phantom(number)[0].numpy() * 4095).round().astype(np.uint16)
    where = np.zeros((SIZE, SIZE), np.bool_)
    for row in (20, 45, 70):
        where[row : row + 4, 12:84] = True
    where[10:86, 50:53] = True
    values[where] = 4095
    return values, where


def dicom(values: npt.NDArray[np.uint16], by: Mender) -> Mended:
    data = encoded(1, shape=values.shape, PixelData=values.astype("<u2").tobytes())
    return mended(data, [Record(parse(data).digest, None, "", "", None, {})], by, MADE, Window())


def png(image: Tensor, by: Mender) -> tuple[Mended, Tensor]:
    file = io.BytesIO()
    Image.fromarray((image[0] * 255).round().byte().numpy()).save(file, "png")
    data = file.getvalue()
    record = Record(hashlib.sha256(data).hexdigest(), None, "", "", None, {})
    return mended(data, [record], by, MADE, None), raster.decode(data)


@pytest.mark.parametrize("scale", ["both", "full"])
@pytest.mark.parametrize("number", range(3))
def test_away_from_the_strokes_every_stored_value_stays(number: int, scale: Scale) -> None:
    values, where = struck(number)
    done = dicom(values, mender(Filler(), scale))
    assert [each.outcome for each in done.verdicts] == ["mended"]
    assert done.data is not None
    changed = stored(files.read(done.data), 0) != values
    assert changed[where].mean() > 0.95
    near = ndimage.binary_dilation(where, np.ones((3, 3)))
    assert not changed[~near].any()


def test_impulses_go_to_the_median_where_they_are_routed() -> None:
    noise = mixture.from_spec("saltpepper(share=0.08)")
    image = noise(phantom(), randomness.generator("impulses")).image
    routes = [f"impulses_{level}=median(size=3)" for level in LEVELS]
    done, shown = png(image, mender(Vandal(), "full", routes))
    assert [each.outcome for each in done.verdicts] == ["mended"]
    assert done.data is not None
    wanted = filtering("median(size=3)")(shown[None])[0]
    assert (raster.decode(done.data) - wanted).abs().max() <= 0.5 / 255 + 1e-6
    (verdict,) = png(image, mender(Vandal(), "full"))[0].verdicts
    assert verdict.outcome == "not mended"


def test_filter_and_imputer_mend_together_where_they_are_routed() -> None:
    noise = mixture.from_spec("gaussian(std=0.15)")
    image = noise(phantom(), randomness.generator("grain")).image
    routes = [f"grain_{level}=imputer and gaussian(sigma=1.5)" for level in LEVELS]
    by = mender(Filler(), "full", routes)
    done, shown = png(image, by)
    assert done.data is not None
    filtered = filtering("gaussian(sigma=1.5)")(shown[None])[0]
    made = raster.decode(done.data)
    away = made - filtered / 2 - shown * 0.97 / 2
    assert away.abs().median() <= 0.01


def test_a_picture_that_would_be_made_up_stays_as_it_is() -> None:
    values, _ = struck(0)
    values[5:-5, 5:-5] = 4095
    values[::9, ::7] = 900
    (verdict,) = dicom(values, mender(Filler())).verdicts
    assert verdict.outcome in {"not mended", "clean"}


def test_many_pixels_are_restored_fewer_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client_app.mending.mender._MOST_SAMPLES", SIZE * SIZE)
    values, _ = struck(1)
    assert dicom(values, mender(Filler())).verdicts[0].outcome == "mended"
    whole = Whole(Filler(), 1, 32)
    with pytest.raises(torch.OutOfMemoryError):
        whole(torch.zeros(2, 1, SIZE, SIZE))
    assert not whole(torch.zeros(1, 1, 2 * SIZE, SIZE)).image.any()


@pytest.mark.parametrize(("height", "width"), [(8, 8), (16, 16), (24, 16), (5, 40), (33, 20)])
def test_what_is_marked_in_the_fitted_picture_is_found_in_the_picture(
    height: int, width: int
) -> None:
    side = max(height, width)
    marked = torch.zeros(1, 8, 8, dtype=torch.bool)
    marked[0, 4, 4] = True
    found = enlarged(marked, height, width)
    assert found.shape == (1, height, width)
    rows, columns = torch.where(found[0])
    assert ((rows + (side - height) // 2) * 8 // side == 4).all()
    assert ((columns + (side - width) // 2) * 8 // side == 4).all()
    assert enlarged(torch.ones(1, 8, 8, dtype=torch.bool), height, width).all()
