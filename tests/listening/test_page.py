"""The page in a browser: draws, moves, asks, and knows when it has lost the connection."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bat_agent.listening.web import WebView

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        if os.environ.get("BAT_REQUIRE_BROWSER") == "1":
            pytest.fail("BAT_REQUIRE_BROWSER=1, but there is no chromium")
        pytest.skip("needs chromium (apt install chromium)")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """An empty page on which no script fails, and whose policy nothing offends."""
    errors: list[str] = []
    opened = browser.new_page()
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
    yield opened
    opened.close()
    assert errors == []


@pytest.fixture
def view(control: Any) -> Iterator[WebView]:
    """A running server."""
    running = WebView(control, port=0)
    running.start()
    yield running
    running.close()


def test_draws_moves_answers_and_recovers(page: Any, view: WebView, control: Any, update: Any, answered: Any) -> None:
    from playwright.sync_api import expect

    page.goto(view.url)

    def dot(track: int) -> tuple[float, float]:
        box = page.locator(f"g.track[data-track='{track}'] circle").bounding_box()
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    view.show(update(1.0, (1, "<b>Dog</b>", 180.0, 0.0, 2.0), (2, "Siren", 90.0, 0.0, 2.0)))
    expect(page.locator("g.track")).to_have_count(2)
    left, front = dot(1), dot(2)
    middle = (front[0], left[1])
    assert left[0] < middle[0]
    assert front[1] < middle[1]
    assert page.locator("#rows td").first.inner_text() == "<b>Dog</b>"
    assert page.locator("#rows b").count() == 0

    view.show(update(1.5, (1, "<b>Dog</b>", 0.0, 0.0, 2.0)))
    expect(page.locator("g.track")).to_have_count(1)
    assert dot(1)[0] > middle[0]

    page.fill("#question", "where is the dog?")
    page.press("#question", "Enter")
    expect(page.locator("#question")).to_have_value("")
    assert control.asked == ["where is the dog?"]
    said = page.locator("#answers div")
    expect(said).to_have_text("It is on the left.")
    view.show(update(1.75, answers=(answered("where is the dog?", "It is on the left."),)))
    view.show(update(2.0, answers=(answered("<i>really</i>?", "Yes"),)))
    expect(said).to_have_text(["Yes", "It is on the left."])  # each once
    assert page.locator("#answers i").count() == 0

    view.close()
    expect(page.locator("#lost")).to_be_visible(timeout=10_000)
    again = WebView(control, port=view.port)
    again.start()
    try:
        again.show(update(0.5, (5, "Bell", 90.0, 0.0, 1.0)))
        expect(page.locator("g.track[data-track='5']")).to_have_count(1, timeout=10_000)
        expect(page.locator("#lost")).to_be_hidden()
        assert page.evaluate("past.map(point => point.track)") == [5]  # of this run alone
    finally:
        again.close()


def test_what_is_old_or_saved_or_paused_is_marked(page: Any, view: WebView, update: Any) -> None:
    from playwright.sync_api import expect

    page.goto(view.url)
    view.show(update(1.0, (1, "Dog", 180.0, 0.0, 2.0), saving_to="/somewhere", dropped=2, lost_s=1.5))
    expect(page.locator("#privacy.alarm")).to_have_text("SAVING into /somewhere")
    assert page.locator("#state").inner_text() == "lag 0.20 s, 2 looks left out, 1.5 s of sound lost"
    expect(page.locator("#old")).to_be_hidden()
    expect(page.locator("#old")).to_contain_text("Nothing new for", timeout=8_000)
    expect(page.locator("#old")).to_be_visible()
    view.show(update(2.0, paused=True))
    expect(page.locator("#privacy.alarm")).to_have_text("paused, input closed")
    expect(page.locator("#old")).to_be_hidden()


def test_a_token_is_taken_from_the_address_and_missed_where_it_is_not(page: Any, control: Any, update: Any) -> None:
    from playwright.sync_api import expect

    view = WebView(control, port=0, token="two words/")
    view.start()
    try:
        view.show(update(1.0, (1, "Dog", 180.0, 0.0, 2.0)))
        page.goto(view.url.split("#")[0])
        expect(page.locator("#lost")).to_contain_text("token is missing")
        page.goto("about:blank")
        page.goto(view.url)
        expect(page.locator("g.track")).to_have_count(1)
        page.fill("#question", "where?")
        page.press("#question", "Enter")
        expect(page.locator("#answers div")).to_have_text("It is on the left.")
    finally:
        view.close()


def test_a_failed_question_says_why_and_labels_do_not_cover_each_other(
    page: Any, view: WebView, control: Any, update: Any
) -> None:
    from playwright.sync_api import expect

    def fail(question: str) -> Any:
        raise RuntimeError("at once")

    page.goto(view.url)
    view.show(update(1.0, *((number, "Female speech", 90.0 + number, 0.0, 2.0) for number in range(3))))
    labels = page.locator("g.track text")
    expect(labels).to_have_count(3)
    for one, other in itertools.combinations([label.bounding_box() for label in labels.all()], 2):
        beside = one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
        assert beside or abs(one["y"] - other["y"]) > 0.8 * one["height"]
    control.ask = fail
    page.fill("#question", "where?")
    page.press("#question", "Enter")
    expect(page.locator("#answers div")).to_contain_text("could not be answered")
