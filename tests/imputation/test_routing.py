from __future__ import annotations

import numpy as np
import pytest
import torch

from fedmend.errors import SettingsError, SpecError
from fedmend.settings import Settings
from fedmend.wire import Task
from imputation import routing
from tests.imputation.fakes import FakeSite, Painter, examined

TASK = Task("r", "imputation", "", 2, 1, 0, ("a", "b"), comparing=True)


def settings(**given: object) -> Settings:
    return Settings.parse(
        {
            "image-size": 16,
            "noise": "saltpepper(share=0.1)",
            "imputation": {"filters": "gaussian(sigma=3) | median(size=5)", **given},
        }
    )


def site(count: int, clean: int) -> FakeSite:
    ramp = torch.linspace(0.3, 0.6, 16).expand(count, 1, 16, 16).contiguous()
    return FakeSite(ramp, [place >= clean for place in range(count)])


@torch.inference_mode()
def test_what_validates_better_mends_a_kind() -> None:
    chosen = settings()
    said = routing.compared(Painter(grey=0.9).eval(), site(8, 4), chosen, TASK)
    # Eight draws of four images, under noise that this imputer would paint over.
    count = {key: float(said[key][0]) for key in said if key.endswith("/n") and said[key][0]}
    assert count.keys() == {"grain_strong/n", "blocks_strong/n"}
    assert sum(count.values()) == 32
    routes = routing.read(routing.decided(said, chosen))
    assert set(routes.values()) == {"median(size=5)"}
    table = routing.table(said, chosen)
    for row in table.values():
        assert list(row) == ["imputer", "gaussian(sigma=3)", "median(size=5)"]
        assert max(row, key=lambda method: row[method]) == "median(size=5)"


@torch.inference_mode()
def test_a_good_imputer_keeps_its_work() -> None:
    chosen = settings()

    class Oracle(Painter):
        def forward(self, noisy):  # type: ignore[no-untyped-def]
            ramp = torch.linspace(0.3, 0.6, 16).expand_as(noisy)
            return super().forward(noisy)._replace(image=ramp)

    said = routing.compared(Oracle().eval(), site(8, 4), chosen, TASK)
    assert set(routing.read(routing.decided(said, chosen)).values()) == {"imputer"}


@torch.inference_mode()
def test_sites_without_clean_images_say_zeros_under_the_same_keys() -> None:
    chosen = settings()
    some = routing.compared(Painter().eval(), site(4, 4), chosen, TASK)
    none = routing.compared(Painter().eval(), site(4, 0), chosen, TASK)
    assert {key: value.shape for key, value in some.items()} == {
        key: value.shape for key, value in none.items()
    }
    assert not any(value.any() for value in none.values())
    assert routing.decided(none, chosen) == ()


@torch.inference_mode()
def test_without_filters_nothing_is_compared() -> None:
    chosen = settings(filters="")
    said = routing.compared(Painter().eval(), site(8, 8), chosen, TASK)
    assert not any(value.any() for value in said.values())
    assert routing.decided(said, chosen) == ()


def _summed(images: float, *each: float) -> dict[str, np.ndarray]:
    """Return sums of a class that was met; of two methods together less than of any one."""
    low = [min(each) - images] * 4
    return {"n": np.array([images]), "psnr": np.array([*each, *low])}


def _merged(**found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f"{name}/{key}": value for name, sums in found.items() for key, value in sums.items()}


def test_too_few_images_decide_nothing() -> None:
    said = _merged(grain_weak=_summed(7, 70, 140, 210), blocks_weak=_summed(8, 80, 160, 80))
    assert routing.decided(said, settings()) == ("blocks_weak=gaussian(sigma=3)",)
    # One more of the kind, and the kind as a whole is known.
    said |= _merged(grain_strong=_summed(1, 90, 10, 10))
    assert routing.decided(said, settings()) == (
        "blocks_weak=gaussian(sigma=3)",
        "grain_strong=median(size=5)",
        "grain_weak=median(size=5)",
    )


@pytest.mark.parametrize(("more", "wanted"), [(0.05, "imputer"), (0.2, "imputer and ")])
def test_two_together_must_be_worth_it(more: float, wanted: str) -> None:
    said = _merged(grain_weak=_summed(10, 250, 200, 240))
    said["grain_weak/psnr"][4] += 10 * (1 + more) + 250 - 200  # the mean with the second filter
    (route,) = routing.decided(said, settings())
    assert route == "grain_weak=" + wanted + "median(size=5)" * (wanted != "imputer")
    table = routing.table(said, settings())["grain_weak"]
    single = ["imputer", "gaussian(sigma=3)", "median(size=5)"]
    assert list(table) == single + ["imputer and median(size=5)"] * (wanted != "imputer")


@torch.inference_mode()
def test_two_methods_mend_together() -> None:
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    imputed = torch.full_like(images, 0.5)
    imputed[1] = 0.1  # all dark, which this detector takes for noise
    filtered = routing.mended_by("median(size=5)", images, imputed, examined)
    mean = routing.mended_by("imputer and median(size=5)", images, imputed, examined)
    torch.testing.assert_close(mean, (imputed + filtered) / 2)
    chosen = routing.mended_by("imputer or median(size=5)", images, imputed, examined)
    assert [torch.equal(each, one) for each, one in zip(chosen, imputed, strict=True)] == [
        True, False, True,
    ]  # fmt: skip
    assert torch.equal(chosen[1], filtered[1])
    assert routing.mended_by("imputer", images, imputed, examined) is imputed
    with pytest.raises(SpecError):
        routing.mended_by("imputer xor median()", images, imputed, examined)


@torch.inference_mode()
def test_what_is_compared_is_what_mends() -> None:
    chosen = settings()
    model, here = Painter(grey=0.45).eval(), site(8, 4)
    said = routing.compared(model, here, chosen, TASK)
    for name, method in routing.read(routing.decided(said, chosen)).items():
        assert method in routing.methods(chosen), name
    assert all(len(said[key]) == 7 for key in said if key.endswith("/psnr"))


def test_noise_is_sorted_by_kind_and_by_how_much_the_imputer_would_change() -> None:
    kinds = ["grain", "blocks"]
    images = torch.full((4, 1, 4, 4), 0.5)
    imputed = images + torch.tensor([0.01, 0.15, -0.25, 0.4])[:, None, None, None]
    found = routing.classified(np.array([0, 0, 1, 0]), images, imputed)
    names = [routing.classes(kinds)[place] for place in found]
    assert names == ["grain_weak", "grain_medium", "blocks_strong", "grain_strong"]
    # A network that fails is sorted somewhere, too; its work is refused later.
    lost = routing.classified(np.array([1]), images[:1], imputed[:1] * torch.nan)
    assert routing.classes(kinds)[lost[0]] == "blocks_strong"


def test_a_chain_of_filters_is_a_method() -> None:
    images = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    one, two = routing.filtering("median()"), routing.filtering("gaussian(sigma=1)")
    assert torch.equal(routing.filtering("median()+gaussian(sigma=1)")(images), two(one(images)))


def test_wrong_filters_are_refused_at_the_start() -> None:
    with pytest.raises(SpecError, match=r"imputation.filters: filter 'medium' does not exist"):
        settings(filters="median() | medium()")
    with pytest.raises(SettingsError, match="self-supervised must be one of never, missing"):
        settings(**{"self-supervised": "sometimes"})
