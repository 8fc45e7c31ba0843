from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from imputation import restoration
from imputation.denoisers.base import Restored
from imputation.mending import HOPELESS, Mending
from imputation.routing import LEVELS
from tests.imputation.fakes import KINDS, Painter, examined

SIDE = 16


class Flat(Painter):
    """Paints one grey without shades."""

    def forward(self, noisy: Tensor) -> Restored:
        made = super().forward(noisy)
        return made._replace(image=torch.full_like(noisy, self.grey))


def picture(*, dark: int = 0, white: int = 0) -> Tensor:
    """Return (1, 16, 16), 0.3 above to 0.5 below but for some dark pixels and a white corner."""
    image = torch.linspace(0.3, 0.5, SIDE)[:, None] + torch.linspace(0, 0.01, SIDE)[None]
    image = image[None].clone()
    image.view(-1)[100 : 100 + dark] = 0.1
    image[0, :white, :white] = 1.0
    return image


def painted(images: Tensor) -> Tensor:
    """Return what the imputer makes of images."""
    made: Tensor = Painter()(images).image
    return made


def mending(painter: Painter, **routes: str) -> Mending:
    """Return the imputer at work, a kind's method the same however much noise there is."""
    named = [f"{kind}_{level}={way}" for kind, way in routes.items() for level in LEVELS]
    return Mending(painter.eval(), named, KINDS, examined)


@torch.inference_mode()
def test_outside_a_structural_noise_every_bit_stays() -> None:
    images = torch.stack([picture(white=4)])
    outcome = mending(Painter())(images)
    changed = outcome.images != images
    assert outcome.accepted.all()
    assert changed[0, 0, :4, :4].all()
    assert not changed[0, 0, 5:].any()  # the hole's border, one pixel wide, may change
    assert not changed[0, 0, :, 5:].any()


@torch.inference_mode()
def test_where_noise_is_left_outside_the_holes_all_of_it_is_mended() -> None:
    both = torch.stack([picture(white=4, dark=8)])
    outcome = mending(Painter())(both)
    assert outcome.accepted.all()
    assert torch.equal(outcome.images, painted(both))


@torch.inference_mode()
def test_what_does_not_get_better_stays_as_it_was() -> None:
    images = torch.stack([picture(dark=3), picture(dark=80)])
    outcome = mending(Painter(grey=0.05))(images)
    assert not outcome.accepted.any()
    assert torch.equal(outcome.images, images)
    assert outcome.hopeless.tolist() == [False, True]
    assert examined(images).score.tolist() == pytest.approx([100 * 3 / 256 - 1, 100 * 80 / 256 - 1])
    assert examined(images).score[1] > HOPELESS


@torch.inference_mode()
def test_noise_that_only_the_site_sees_is_mended_where_it_gets_less() -> None:
    faint, none = torch.stack([picture(dark=2)]), torch.stack([picture()])
    assert not examined(faint).alarm.any()
    assert mending(Painter())(faint).accepted.all()
    assert not mending(Painter(grey=0.05))(faint).accepted.any()
    assert not mending(Painter())(none).accepted.any()


@torch.inference_mode()
def test_a_picture_is_left_of_what_is_mended() -> None:
    """A flat one has no noise, and is none."""
    images = torch.stack([picture(dark=80)])
    outcome = mending(Flat())(images)
    assert torch.equal(outcome.images, images)
    assert not outcome.accepted.any()


@torch.inference_mode()
@pytest.mark.parametrize("route", ["imputer", "median(size=5)", "imputer and median(size=5)"])
def test_holes_alone_are_mended_whatever_the_route_of_their_kind(route: str) -> None:
    images = torch.stack([picture(white=4)])
    changed = mending(Painter(), blocks=route)(images).images != images
    assert changed[0, 0, :4, :4].all()
    assert not changed[0, 0, 5:].any()
    assert not changed[0, 0, :, 5:].any()


@torch.inference_mode()
def test_where_the_imputer_would_change_next_to_nothing_outside_holes_nothing_changes() -> None:
    """Though the detector finds that some is left."""
    both = torch.stack([picture(white=4, dark=8)])
    outcome = mending(Painter(grey=0.405, sigma=0.0))(both)
    assert outcome.accepted.all()
    assert torch.equal(outcome.images[..., 5:, :], both[..., 5:, :])


@torch.inference_mode()
def test_nothing_is_painted_beside_the_picture() -> None:
    barred = torch.stack([picture(dark=80)])
    barred[..., :3] = 0.0
    barred[..., -2:] = 0.0
    outcome = mending(Painter())(barred)
    assert outcome.accepted.all()
    assert torch.equal(outcome.images[..., :3], barred[..., :3])
    assert torch.equal(outcome.images[..., -2:], barred[..., -2:])
    assert torch.equal(outcome.images[..., 3:-2], painted(barred)[..., 3:-2])


@torch.inference_mode()
def test_what_is_mostly_hidden_is_not_made_up() -> None:
    some, most = torch.stack([picture(white=12)]), torch.stack([picture(white=13)])
    assert mending(Painter())(some).accepted.all()
    outcome = mending(Painter())(most)
    assert torch.equal(outcome.images, most)
    assert outcome.hopeless.all()


@torch.inference_mode()
def test_a_small_picture_in_a_wide_frame_is_left_alone() -> None:
    small, framed = torch.zeros(1, 1, SIDE, SIDE), picture(white=8, dark=100)
    small[..., 4:11, 4:11] = framed[..., 4:11, 4:11]
    assert torch.equal(mending(Painter())(small).images, small)
    small[..., 4:13, 4:13] = framed[..., 4:13, 4:13]
    assert mending(Painter())(small).accepted.all()


@torch.inference_mode()
def test_a_filter_mends_the_kind_that_is_its_own() -> None:
    images = torch.stack([picture(dark=5), picture(white=4)])
    routed = mending(Painter(), grain="median(size=5)", blocks="imputer")(images)
    plain = mending(Painter())(images)
    assert torch.equal(routed.images[1], plain.images[1])
    assert torch.equal(plain.images[0], painted(images)[0])
    assert float((routed.images[0] - picture()).abs().max()) < 0.07


@torch.inference_mode()
def test_where_the_filter_fails_the_imputer_is_tried() -> None:
    images = torch.stack([picture(dark=100)])
    outcome = mending(Painter(), grain="median(size=1)")(images)
    assert torch.equal(outcome.images, painted(images))


@torch.inference_mode()
def test_outside_holes_the_change_is_bounded_by_the_noise() -> None:
    images = torch.stack([picture(dark=5)])
    made = restoration.restored(Painter(sigma=0.005).eval(), images)
    assert float((made.image - images).abs().max()) == pytest.approx(0.04, abs=1e-6)


@torch.inference_mode()
def test_nothing_in_nothing_out() -> None:
    outcome = mending(Painter())(torch.zeros(0, 1, SIDE, SIDE))
    assert outcome.images.shape == (0, 1, SIDE, SIDE)
    assert outcome.accepted.shape == outcome.hopeless.shape == outcome.confidence.shape == (0,)


@torch.inference_mode()
def test_confidence_is_the_reliability() -> None:
    even = torch.stack([picture(dark=40), picture(dark=40)])
    contrast = even.var((1, 2, 3), correction=0)
    error = torch.tensor([0.0, float(contrast[1])])
    assert restoration.confidence(even, error).tolist() == pytest.approx([1.0, 0.5])


@torch.inference_mode()
def test_the_networks_own_estimate_of_its_error_counts() -> None:
    images = torch.rand(20, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    made = restoration.restored(Painter(error=math.log(0.01)).eval(), images)
    assert np.allclose(made.error, 0.01)
    # Without one: it paints the mirrored image alike, so there is nothing to doubt.
    assert not restoration.restored(Painter().eval(), images).error.any()


@torch.inference_mode()
def test_an_image_is_restored_alike_in_any_company() -> None:
    from fedmend import plugins

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = plugins.DENOISERS.build("unet(first=4, width=8)", 1).eval()
    images = torch.rand(21, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    together = restoration.restored(network, images)
    alone = restoration.restored(network, images[18:19])
    assert torch.equal(together.image[18:19], alone.image)
    assert torch.equal(together.error[18:19], alone.error)
