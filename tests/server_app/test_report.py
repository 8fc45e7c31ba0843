"""The page as a browser, a screen reader and a hostile site would have it."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from fedmend.arms import ARMS
from server_app.figures import UNKNOWN
from server_app.report import rendered, write_report

_VOID = {"meta", "link", "br", "hr", "img", "input"}
_SVG_EMPTY = {"line", "circle", "polyline"}
HOSTILE = "<script>alert(1)</script>\"'&{{ 7777*7777 }}"


def scores(auroc: float) -> dict[str, float | int | None]:
    return {
        "n": 1234,
        "accuracy": auroc - 0.1,
        "balanced_accuracy": auroc - 0.11,
        "auroc": auroc,
        "auroc_site_mean": auroc - 0.01,
        "f1": auroc - 0.12,
        "ece": 1 - auroc,
    }


def summary() -> dict[str, Any]:
    return {
        "schema": 1,
        "status": "complete",
        "run": "first-run",
        "seed": 0,
        "classes": ["normal", "nodule"],
        "sites": {"asked": 4, "used": 3, "refused": {"site-3": "runs fedmend 0.0.1"}},
        "images": {
            "train": 1876,
            "test": 536,
            "flagged": 1310,
            "mended": 1246,
            "kept": 58,
            "dropped": 6,
        },
        "imputation": {
            "test": {
                "noisy": {"n": 375, "psnr": 14.113, "ssim": 0.2213},
                "imputed": {"n": 375, "psnr": 25.871, "ssim": 0.8123},
                "filter:median": {"n": 375, "psnr": 19.2, "ssim": 0.5012},
            },
            "detection": {"auroc": 0.98765, "false_alarm": 0.0312, "unknown_sites": 1},
            "routes": {"grain_weak": "imputer", "impulses_weak": "median()"},
            "validation": {
                "blur_weak": {"imputer": 24.04, "median()": 22.16},  # too few to be routed
                "grain_weak": {"imputer": 27.31, "median()": 21.42},
                "impulses_weak": {"imputer": 25.11, "median()": 28.93},
            },
        },
        "arms": {
            "raw": {"clean": scores(0.92), "noisy": scores(0.88)},
            "removed": {"clean": scores(0.93), "noisy": scores(0.75)},
            "imputed": {"clean": scores(0.95), "noisy": scores(0.93)},
        },
        "privacy": None,
        "seconds": {"imputation": 81.2, "classification": 190.4, "total": 284.1},
        "bytes": {"up": 48123456, "down": 51234567},
    }


def line(phase: str, arm: str, number: int, score: float | None, **more: Any) -> dict[str, Any]:
    return {
        "phase": phase,
        "arm": arm,
        "round": number,
        "final": False,
        "score": score,
        "metrics": {"loss": 0.3},
        "sites": {"site-0": {"n": 31, "score": score, "loss": 0.2}},
        "left_out": {},
        "seconds": 1.2,
        "bytes": {"up": 1, "down": 2},
        **more,
    }


def lines() -> list[dict[str, Any]]:
    left = {"left_out": {"site-2": "no answer within 600 s"}}
    made = [line("imputation", "", number, 20.0 + number) for number in (1, 2, 3)]
    for arm in ("raw", "removed", "imputed"):
        made += [line("classification", arm, number, 0.5 + 0.1 * number) for number in (1, 2, 3)]
        made.append(line("classification", arm, 3, None, final=True))
    made.append(line("classification", "raw", 4, 0.7, **left))
    return made


class Page(HTMLParser):
    """The page's elements, checked to be nested as they should."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in _SVG_EMPTY, f"<{tag}/> is not empty in HTML"
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open:
            self.texts.append((self.open[-1], " ".join(data.split())))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def shown(self, *tags: str) -> list[str]:
        return [text for tag, text in self.texts if tag in tags]


@pytest.fixture(scope="module")
def html() -> str:
    return rendered(summary(), lines())


@pytest.fixture(scope="module")
def page(html: str) -> Page:
    return Page(html)


def test_writes_one_file_into_the_run_folder(tmp_path: Path, html: str) -> None:
    write_report(tmp_path, summary(), lines())
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == html
    assert html.startswith("<!DOCTYPE html>\n<html lang=")


def test_needs_nothing_else(html: str, page: Page) -> None:
    """No script, no style sheet, font or image from anywhere, and no address at all."""
    counts = Counter(tag for tag, _ in page.tags)
    assert not {"script", "img", "iframe", "object", "image", "use"} & set(counts)
    assert re.search(r"https?:|//|@import|url\(", html) is None
    assert {each.get("href") for each in page.all("link")} == {"data:,"}
    policy = next(each["content"] for each in page.all("meta") if each.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'")


def test_one_curve_an_arm_of_each_phase(page: Page) -> None:
    assert len(page.all("svg")) == 2
    points = [each["points"] or "" for each in page.all("polyline")]
    assert [len(each.split()) for each in points] == [3, 4, 3, 3]
    assert {"raw", "removed", "imputed"} <= set(page.shown("text"))


def test_the_curves_are_there_as_tables_too(page: Page) -> None:
    cells = page.shown("td")
    assert [cells.count(each) for each in ("21.000", "22.000", "23.000")] == [1, 1, 1]
    assert cells.count("0.600") == 3


def test_tables_and_drawings_are_announced(page: Page) -> None:
    assert all(each.get("scope") in {"col", "colgroup", "row"} for each in page.all("th"))
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(set(ids)) == len(ids)
    referred = {
        attributes["aria-labelledby"]
        for _, attributes in page.tags
        if "aria-labelledby" in attributes
    }
    assert referred <= set(ids)
    for each in page.all("svg"):
        assert each["role"] == "img"
        assert each["aria-labelledby"]
    headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
    assert headings[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(headings))
    for _, attributes in page.tags:
        if attributes.get("class") == "scroll":
            assert attributes["tabindex"] == "0"
            assert {"aria-label", "aria-labelledby"} & set(attributes)


def test_says_what_was_found_and_that_it_is_one_run(page: Page) -> None:
    said = page.shown("p")
    assert (
        "On the clean test images the imputed arm has the highest AUROC, 0.950 "
        "(removed: 0.930, raw: 0.920)." in said
    )
    assert any("test images with noise the imputed arm" in each for each in said)
    assert any("This is one run with one seed: it gives no interval" in each for each in said)


@pytest.mark.parametrize(
    "text",
    [
        "first-run", "complete", "3 of 4", "1,876", "1,310", "1,246", "58", "normal, nodule",
        "kept as acquired",
        "0.950", "0.850", "0.840", "0.940", "0.830", "0.050", "14.11", "25.87", "0.812",
        "mended by the median filter", "0.988", "3.1 %", "1 min 21 s", "3 min 10 s", "4 min 44 s",
        "48.1 MB", "51.2 MB", "every image as acquired, noisy or not",
        "Test images: 1,234 clean, 1,234 with noise.",
    ],
)  # fmt: skip
def test_shows_every_figure(page: Page, text: str) -> None:
    assert text in [shown for _, shown in page.texts]


def test_names_the_sites_that_were_left_out_and_why(page: Page) -> None:
    cells = page.shown("td")
    assert cells[cells.index("no answer within 600 s") + 1] == "classification raw, round 4"
    assert cells[cells.index("runs fedmend 0.0.1") + 1] == "from the start"
    assert {"site-0", "site-2", "site-3"} <= set(page.shown("th"))
    assert "16 of 16" in cells
    assert "0 of 1" in cells


def test_a_reason_that_repeats_is_told_once() -> None:
    left = {"left_out": {"site-2": "too late"}}
    told = Page(
        rendered(summary(), [line("classification", "raw", n, 0.5, **left) for n in range(1, 6)])
    )
    cells = told.shown("td")
    assert cells.count("too late") == 1
    assert cells[cells.index("too late") + 1].endswith("round 3; and 2 more")


def test_marks_the_best_of_each_column(page: Page) -> None:
    """Ten columns are imputed's to win, ECE among them, where the least is best; none is shared."""
    marked = [each for each in page.all("td") if "best" in (each.get("class") or "")]
    assert page.shown("span").count("(best)") == 12
    assert page.shown("span").count("(chosen)") == len(marked) - 12 == 3


def test_says_what_mends_which_kind(page: Page) -> None:
    chosen = [text for tag, text in page.texts if tag == "td" and text in {"24.0", "27.3", "28.9"}]
    assert chosen == ["24.0", "27.3", "28.9"]
    assert {"blur, weak", "grain, weak", "impulses, weak", "median()"} <= set(page.shown("th"))
    bare = summary()
    bare["imputation"] |= {"routes": {}, "validation": {}}
    assert "What mends which kind of noise" not in Page(rendered(bare, lines())).shown("h3")
    assert "What mends which kind of noise" in page.shown("h3")


def nulled(value: Any) -> Any:
    """Return the same shape with every figure unknown."""
    if isinstance(value, dict):
        return {key: nulled(each) for key, each in value.items()}
    return None if isinstance(value, int | float) else value


def test_every_unknown_is_an_en_dash(html: str) -> None:
    unknown = rendered(nulled(summary()), [])
    page = Page(unknown)
    figures = page.shown("td", "dd")
    assert {
        each for each in page.shown("td") if each not in {"runs fedmend 0.0.1", "from the start"}
    } == {UNKNOWN}
    assert f"{UNKNOWN} of {UNKNOWN}" in figures
    assert not {"None", "nan", "null", "0.000"} & set(figures)
    assert "On the clean test images no AUROC is known." in page.shown("p")
    assert len(unknown) < len(html)


@pytest.mark.parametrize(
    "key", ["imputation", "arms", "seconds", "bytes", "images", "sites", "classes", "seed"]
)
def test_any_part_may_be_unknown(key: str) -> None:
    partial = {**summary(), key: None}
    assert "None" not in {text for _, text in Page(rendered(partial, lines())).texts}


def test_a_test_set_that_nobody_has_is_unknown() -> None:
    """Without simulated noise, ``clean`` is null in every arm."""
    real = copy.deepcopy(summary())
    for arm in real["arms"].values():
        arm["clean"] = None
    real["imputation"]["test"]["filter:median"] = {}
    page = Page(rendered(real, lines()))
    assert page.shown("td").count(UNKNOWN) >= 18 + 3
    assert f"Test images: {UNKNOWN} clean, 1,234 with noise." in page.shown("p")


def test_names_from_elsewhere_are_text_and_nothing_more() -> None:
    bad = summary() | {"run": HOSTILE, "classes": [HOSTILE], "privacy": {HOSTILE: HOSTILE}}
    bad["arms"] = {HOSTILE: bad["arms"]["raw"]}
    bad["imputation"]["test"] = {HOSTILE: None, f"filter:{HOSTILE}": None}
    bad["sites"]["refused"] = {HOSTILE: HOSTILE}
    site = {"sites": {HOSTILE: {"n": 1}}, "left_out": {HOSTILE + "2": HOSTILE}}
    told = [line("classification", arm, 1, 0.5, **site) for arm in (HOSTILE, HOSTILE + "2")]
    html = rendered(bad, told)
    page = Page(html)
    assert page.all("script") == []
    assert "<script" not in html
    assert "60481729" not in html
    assert sum(HOSTILE in text for _, text in page.texts) >= 10
    known = Page(rendered(summary(), lines()))
    assert {key for _, each in page.tags for key in each} <= {
        key for _, each in known.tags for key in each
    }


def test_a_score_of_exactly_one_has_decimals_too() -> None:
    perfect = summary()
    perfect["arms"]["raw"]["clean"]["auroc"] = 1
    assert "1.000" in Page(rendered(perfect, lines())).shown("td")


def test_privacy_terms_are_shown() -> None:
    told = Page(rendered(summary() | {"privacy": {"epsilon": 3.5, "delta": 1e-5}}, lines()))
    assert {"epsilon", "delta"} <= set(told.shown("th"))
    assert {"3.5", "1e-05"} <= set(told.shown("td"))


def test_the_oracle_is_named_and_does_not_win() -> None:
    with_oracle = summary()
    with_oracle["arms"]["clean"] = {"clean": scores(0.99), "noisy": scores(0.99)}
    page = Page(rendered(with_oracle, lines()))
    said = " ".join(page.shown("p"))
    assert "the imputed arm has the highest AUROC, 0.950" in said
    assert "The clean arm is an oracle" in said
    assert ARMS["clean"].meaning in page.shown("span")


def test_what_a_run_folder_holds_can_be_shown_again(html: str) -> None:
    """JSON has neither tuples nor integer keys: nothing in the page may depend on them."""
    again = json.loads(json.dumps(summary())), json.loads(json.dumps(lines()))
    assert rendered(*again) == html


def themes(html: str) -> list[dict[str, str]]:
    """Return the colours of the light, the dark and the printed page."""
    return [
        dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6})", block))
        for block in re.findall(r":root \{([^}]*)\}", html)
    ]


def luminance(colour: str) -> float:
    digits = colour[1:] if len(colour) == 7 else "".join(2 * each for each in colour[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (
        each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_meets_wcag_aa_in_light_dark_and_print(html: str) -> None:
    found = themes(html)
    assert len(found) == 3
    for theme in found:
        for ink in ("ink", "soft", "accent", *(f"s{each}" for each in range(6))):
            assert contrast(theme[ink], theme["card"]) >= 4.5, (ink, theme)
        for ink, ground in (("ink", "page"), ("soft", "page"), ("ink", "best"), ("ink", "note")):
            assert contrast(theme[ink], theme[ground]) >= 4.5, (ink, ground, theme)


def test_contrast_by_the_standards_own_example() -> None:
    assert contrast("#000000", "#fff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
