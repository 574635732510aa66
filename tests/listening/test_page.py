"""The page in a browser: draws, moves, asks, and knows when it has lost the connection."""

from __future__ import annotations

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


def test_draws_moves_answers_and_recovers(browser: Any, control: Any, update: Any, answered: Any) -> None:
    expect = pytest.importorskip("playwright.sync_api").expect
    view = WebView(control, port=0)
    view.start()
    errors: list[str] = []
    page = browser.new_page()
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
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
    view.show(update(1.75, answers=(answered("where is the dog?", "It is on the left."),)))
    expect(page.locator("#answers")).to_contain_text("It is on the left.")

    view.close()
    expect(page.locator("#lost")).to_be_visible(timeout=10_000)
    again = WebView(control, port=view.port)
    again.start()
    again.show(update(2.0, (5, "Bell", 90.0, 0.0, 1.0)))
    expect(page.locator("g.track[data-track='5']")).to_have_count(1, timeout=10_000)
    assert not page.locator("#lost").is_visible()
    again.close()
    page.close()
    assert errors == []
