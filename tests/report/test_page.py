"""The page in a real browser."""

import re
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from ah_ray.pipelines.report import page_of
from ah_ray.pipelines.run_directory import RunDirectory
from ah_ray.report.config import ReportConfig
from ah_ray.report.made_from import REPORT_FILE
from ah_ray.report.page import render
from tests.report.making import HOSTILE, HOSTILE_WORD

BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
KINDS = ("choice", "unlabelled", "words", "text")
PHONE = {"width": 390, "height": 800}
ROWS = "#videos tbody > tr:not(:has(td.child))"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium here: apt-get install chromium-headless-shell")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


class Visit:
    """A page that is open, and all that it should not do."""

    def __init__(self, browser: Any, path: str, **options: Any) -> None:
        context = browser.new_context(**options)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page = context.new_page()
        self.faults: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda message: self.faults.append(message.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(f"file://{path}")
        self.page.wait_for_selector(ROWS)

    def column(self, name: str) -> list[str]:
        return self.page.locator(f"{ROWS} >> td.{name}").all_inner_texts()

    def open_first(self) -> Any:
        self.page.locator(ROWS).first.locator("button.open").click()
        return self.page.locator(".timeline").first


@pytest.fixture
def visit(chromium: Any, runs: dict[str, RunDirectory]) -> Any:
    def visit(kind: str, **options: Any) -> Visit:
        return Visit(chromium, runs[kind].path(REPORT_FILE), **options)

    return visit


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_run_opens_without_a_fault_and_asks_nobody(visit, kind):
    shown = visit(kind)
    timeline = shown.open_first()
    assert timeline.locator(".cell").count() >= 3
    assert shown.faults == []
    assert all(url.startswith(("file://", "data:")) for url in shown.requests)
    assert sum(url.startswith("file://") for url in shown.requests) == 1


def test_it_follows_the_reader_s_theme(visit):
    colours = set()
    for scheme in ("light", "dark"):
        shown = visit("choice", color_scheme=scheme)
        axis = shown.page.locator("figure svg text").first
        colours |= {axis.evaluate("one => getComputedStyle(one).fill")}
        assert shown.page.locator("html.dark").count() == (scheme == "dark")
    assert len(colours) == 2


@pytest.mark.parametrize("kind", ["choice", "words"])
def test_it_fits_a_phone(visit, kind):
    shown = visit(kind, viewport=PHONE)
    shown.open_first()
    assert shown.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_hostile_name_is_a_text(visit):
    for kind in ("choice", "text"):
        shown = visit(kind)
        shown.page.get_by_placeholder("search all columns").fill("<script>")
        assert shown.page.locator(ROWS).count() == 1
        assert shown.column("video")[0].split() == ["script>.mp4", "<script>alert(1)</"]
        shown.open_first()
        assert HOSTILE in shown.page.locator(".timeline code").inner_text()
        assert shown.faults == []


def test_hostile_words_are_texts(visit):
    shown = visit("words")
    shown.page.locator("#videos thead th.verdict button").click()
    listed = shown.page.locator(".dtcc-dropdown .dtcc-list-buttons").inner_text()
    assert HOSTILE_WORD in listed
    shown.page.keyboard.press("Escape")
    shown.page.get_by_placeholder("search all columns").fill("onerror")
    assert HOSTILE_WORD in shown.column("verdict")[0]
    shown.open_first()
    assert shown.faults == []


def test_videos_are_sorted_searched_and_filtered(visit):
    shown = visit("choice")
    chances = shown.column("chance")
    head = shown.page.locator("#videos thead th.chance .dt-column-title")
    head.click()
    shown.page.locator("#videos thead th.chance[aria-sort=ascending]").wait_for()
    rising = [float(text) for text in shown.column("chance") if text]
    assert rising == sorted(rising)
    assert shown.column("chance") != chances
    shown.page.locator("#videos thead th.verdict button").click()
    shown.page.locator(".dtcc-dropdown .dtcc-list-buttons button", has_text="No").click()
    shown.page.locator(".dt-info", has_text="of 44").wait_for()
    assert set(shown.column("verdict")) == {"No"}


def test_a_clip_gives_the_command_that_plays_it(visit, runs):
    shown = visit("choice")
    shown.page.get_by_placeholder("search all columns").fill("visit 1/01.mp4")
    timeline = shown.open_first()
    timeline.locator(".cell").nth(1).click()
    copied = shown.page.evaluate("navigator.clipboard.readText()")
    path = runs["choice"].path("archive", "visit 1/01.mp4")
    assert copied == f"ffplay -autoexit -ss 2.5 -t 2.5 '{path}'"
    assert timeline.locator(".copied").inner_text() == "copied"
    assert timeline.locator(".detail a").get_attribute("href") == (
        "archive/visit%201/01.mp4#t=2.5,5"
    )


def test_a_picture_is_shown_and_opened_without_times(visit, runs):
    shown = visit("pictures")
    shown.page.get_by_placeholder("search all columns").fill("a b.jpg")
    timeline = shown.open_first()
    timeline.locator(".cell").first.click()
    copied = shown.page.evaluate("navigator.clipboard.readText()")
    assert copied == f"ffplay '{runs['pictures'].path('archive', 'a b.jpg')}'"
    assert timeline.locator(".detail strong").inner_text() == "picture"
    assert timeline.locator(".detail a").get_attribute("href") == "archive/a%20b.jpg"
    assert timeline.locator(".pictures img").count() == 1
    assert "00:0" not in timeline.inner_text()
    assert shown.faults == []


def test_a_timeline_shows_members_annotation_and_what_decided(visit):
    shown = visit("choice")
    shown.page.locator("#videos thead th.verdict button").click()
    shown.page.locator(".dtcc-dropdown .dtcc-list-buttons button", has_text="Yes").click()
    timeline = shown.open_first()
    assert timeline.locator(".name").all_inner_texts()[:4] == ["annotated", "v1", "v2", "v3"]
    assert timeline.locator(".interval").count() == 1
    decided = timeline.locator(".evidence").bounding_box()
    chosen = timeline.locator(".cell.chosen").first.bounding_box()
    assert decided["x"] == pytest.approx(chosen["x"], abs=1.5)
    assert re.match(r"Yes · P\(Yes\) 0\.\d\d", timeline.locator("dd").first.inner_text())


def test_pictures_of_the_evidence_are_shown(visit):
    shown = visit("choice")
    shown.page.get_by_placeholder("search all columns").fill("real/")
    timeline = shown.open_first()
    widths = timeline.locator("img").evaluate_all("images => images.map(one => one.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 50
    assert "holds pictures of people" in shown.page.locator("footer").inner_text()


def test_words_say_who_gives_them_and_where(visit):
    timeline = visit("words").open_first()
    timeline.locator("summary").click()
    assert re.search(r"\w+ · 0\.\d\d · by v\d.* · 00:\d", timeline.locator("li").first.inner_text())
    assert "describer sees a person" in timeline.locator(".cell").first.inner_text()


def test_ten_thousand_videos_stay_usable(chromium, runs, tmp_path):
    page = page_of(runs["choice"], ReportConfig()) | {"made_from": "0", "stale": 0}
    rows, timelines = page["rows"][:40], page["timelines"][:40]
    page |= {
        "rows": [row | {"video": f"{n}/{row['video']}"} for n in range(250) for row in rows],
        "timelines": timelines * 250,
    }
    file = tmp_path / "report.html"
    file.write_text(render(page))
    assert file.stat().st_size < 15e6
    shown = Visit(chromium, str(file))
    assert "of 10,000 videos" in shown.page.locator(".dt-info").inner_text()
    shown.page.get_by_placeholder("search all columns").fill("249/visit 1")
    shown.page.locator("#videos thead th.chance .dt-column-title").click()
    assert shown.page.locator(ROWS).count() in range(5, 26)
    shown.open_first()
    assert shown.faults == []
