"""The page as a browser, a screen reader and a hostile file would have it."""

from __future__ import annotations

import base64
import io
import re
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from client_app.opening import reader_for
from client_app.pictures import Pictures
from client_app.survey.counts import Refusal
from client_app.survey.look import Survey, look
from client_app.survey.page import MOST_FILES, rendered
from fedmend import plugins
from fedmend.records import Rejected
from fedmend.settings import Settings
from tests.dicom_files import write

HOSTILE = "<script>alert(1)</script>\"'&{{ 7777*7777 }}"
_VOID = {"meta", "link", "img", "line", "rect"}


class Page(HTMLParser):
    """Checks that tags match, and collects what the tests ask for."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str, name: str) -> list[str]:
        return [value for each, key, value in self.attributes if (each, key) == (tag, name)]


def surveyed(folder: Path) -> Survey:
    pictures = Pictures(reader_for(str(folder)), size=16, channels=1, workers=1)
    return look(pictures, plugins.DETECTORS.build("residual()"), thumbnails=3)


@pytest.fixture
def survey(tmp_path: Path) -> Survey:
    for seed in range(4):
        name = f'{seed}<script>alert(2)<\\script>".dcm'
        write(tmp_path / name, seed, Manufacturer=HOSTILE, PatientID=HOSTILE, Modality="CT",
              shape=(16, 16))  # fmt: skip
    (tmp_path / "<img src=x onerror=alert(3)>").write_bytes(b"junk")
    (tmp_path / "0\n\x1b[31m.dcm").write_bytes(b"junk")
    return surveyed(tmp_path)


def test_what_files_say_is_text(survey: Survey) -> None:
    page = Page(rendered(survey, Settings.read({}), HOSTILE))
    assert page.tags["script"] == 0
    assert page.tags["img"] == 3
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]
    assert page.text.count(HOSTILE) == 3  # the title, the heading, the manufacturer
    assert "60481729" not in page.text
    assert "<img src=x onerror=alert(3)>" in page.text
    assert "\x1b" not in page.text
    assert "0\\n\\x1b[31m.dcm" in page.text


def test_it_asks_the_network_for_nothing(survey: Survey) -> None:
    text = rendered(survey, Settings.read({}), "x")
    page = Page(text)
    sources = page.all("img", "src") + page.all("link", "href")
    assert all(source.startswith("data:") for source in sources)
    policy = page.all("meta", "content")
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in policy
    assert not re.search(r"https?:|@import|url\(", text)


def test_pictures_are_worst_first_each_with_its_score_and_an_alternative(survey: Survey) -> None:
    page = Page(rendered(survey, Settings.read({}), "x"))
    texts = page.all("img", "alt")
    for place, (text, score) in enumerate(zip(texts, survey.scores, strict=False), 1):
        assert text == f"Image {place} by noise, score {score.value:.2f}: {score.place}"
    for source in page.all("img", "src"):
        data = base64.b64decode(source.removeprefix("data:image/png;base64,"))
        assert Image.open(io.BytesIO(data)).size == (16, 16)


def test_it_says_how_many_files_are_left_unnamed(survey: Survey) -> None:
    files = [Rejected(f"{number}.dcm", "torn") for number in range(MOST_FILES + 5)]
    page = Page(rendered(survey._replace(refused=[Refusal("torn", files)]), Settings.read({}), "x"))
    assert "and 5 more" in page.text
    assert f"{MOST_FILES - 1}.dcm" in page.text
    assert f"{MOST_FILES}.dcm" not in page.text


def test_a_folder_without_a_usable_image_has_a_page_too(tmp_path: Path) -> None:
    (tmp_path / "ill").mkdir()
    (tmp_path / "ill" / "a.png").write_bytes(b"")
    page = Page(rendered(surveyed(tmp_path), Settings.read({}), "x"))
    assert "There is no image here that can be used." in page.text
    assert "the file is empty" in page.text


def test_every_part_has_a_name_of_its_own(survey: Survey) -> None:
    page = Page(rendered(survey, Settings.read({}), "x"))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(set(ids)) == len(ids)
    named = [value for _, name, value in page.attributes if name == "aria-labelledby"]
    assert set(named) <= set(ids)
    assert page.all("html", "lang") == ["en"]
