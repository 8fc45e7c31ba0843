from __future__ import annotations

import pytest
import torch

from client_app.dicom import proportions
from client_app.dicom.proportions import proportioned
from client_app.dicom.untrusted import Untrusted


@pytest.mark.parametrize(
    ("ratio", "shape"),
    [(1.0, (40, 30)), (1.005, (40, 30)), (2.0, (80, 30)), (0.5, (40, 60)), (1.5, (60, 30))],
)
def test_pixels_become_square_and_nothing_is_lost(ratio: float, shape: tuple[int, int]) -> None:
    image = torch.rand(3, 40, 30, generator=torch.Generator().manual_seed(0))
    made = proportioned(image, ratio, "keep")
    assert made.shape == (3, *shape)
    assert made.min() >= 0
    assert made.max() <= 1
    torch.testing.assert_close(made.mean(), image.mean(), atol=0.01, rtol=0)
    assert (made is image) == (shape == (40, 30))


def test_an_ellipse_of_flat_pixels_is_a_circle_again() -> None:
    rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(64.0), indexing="ij")
    inside = ((rows - 15.5) * 2) ** 2 + (columns - 31.5) ** 2 < 20**2
    made = proportioned(inside[None].float(), 2.0, "keep")[0] > 0.5
    assert abs(int(made.any(1).sum()) - int(made.any(0).sum())) <= 2


@pytest.mark.parametrize("ratio", [0.2, 1.0, 3.0])
def test_stretched_images_fill_the_square(ratio: float) -> None:
    assert proportioned(torch.ones(1, 20, 50), ratio, "stretch").equal(torch.ones(1, 50, 50))


def test_broken_spacings_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Untrusted, match="larger than the limit"):
        proportioned(torch.zeros(1, 100, 100), 1e7, "keep")
    monkeypatch.setattr(proportions, "MAX_SAMPLES", 3 * 100 * 200 - 1)
    proportioned(torch.zeros(1, 100, 100), 2.0, "keep")
    with pytest.raises(Untrusted):
        proportioned(torch.zeros(3, 100, 100), 2.0, "keep")
