from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from imputation import restoration
from imputation.mending import HOPELESS, Mending
from imputation.routing import LEVELS
from tests.imputation.fakes import KINDS, Painter, examined

SIDE = 16


def picture(*, dark: int = 0, white: int = 0) -> Tensor:
    """Return (1, 16, 16), all of it 0.4 but for so many dark pixels and a white corner."""
    image = torch.full((1, SIDE, SIDE), 0.4)
    image.view(-1)[100 : 100 + dark] = 0.1
    image[0, :white, :white] = 1.0
    return image


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
    assert torch.equal(outcome.images, torch.full_like(both, 0.5))


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
def test_noise_that_only_the_site_sees_is_mended_too() -> None:
    quiet = torch.stack([picture()])
    assert not examined(quiet).alarm.any()
    assert mending(Painter())(quiet).accepted.all()
    assert not mending(Painter(grey=0.05))(quiet).accepted.any()


@torch.inference_mode()
def test_a_filter_mends_the_kind_that_is_its_own() -> None:
    images = torch.stack([picture(dark=5), picture(white=4)])
    routed = mending(Painter(), grain="median(size=5)", blocks="imputer")(images)
    plain = mending(Painter())(images)
    assert torch.equal(routed.images[1], plain.images[1])
    assert torch.equal(plain.images[0], torch.full_like(images[0], 0.5))
    assert float((routed.images[0] - 0.4).abs().max()) < 0.01


@torch.inference_mode()
def test_where_the_filter_fails_the_imputer_is_tried() -> None:
    images = torch.stack([picture(dark=100)])
    outcome = mending(Painter(), grain="median(size=1)")(images)
    assert torch.equal(outcome.images, torch.full_like(images, 0.5))


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
