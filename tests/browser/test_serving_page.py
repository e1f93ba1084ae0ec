"""A person draws or drops a picture in a real browser and reads the answer."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.workloads.serving import NAME, STROKES, VERSION, Served, drawing, end, model, served, serving

__all__ = ["model", "served"]

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH; install the package chromium")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, served: Served) -> Iterator[Page]:
    """The page, which must load nothing foreign and report no error to the console."""
    context = browser.new_context(viewport={"width": 1000, "height": 760})
    page = context.new_page()
    complaints: list[str] = []
    foreign: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # What the browser logs for a refused request is not the page's fault; the page shows its reason.
    page.on(
        "console", lambda m: complaints.append(m.text) if m.type == "error" and "status of 4" not in m.text else None
    )
    page.on("request", lambda r: None if r.url.startswith(served.rest) else foreign.append(r.url))
    page.goto(served.rest)
    yield page
    context.close()
    assert complaints == []
    assert foreign == []


def draw(page: Page, digit: str) -> None:
    box = page.locator("#canvas").bounding_box()
    for stroke in STROKES[digit]:
        points = [(box["x"] + x * box["width"] / 100, box["y"] + y * box["height"] / 100) for x, y in stroke]
        page.mouse.move(*points[0])
        page.mouse.down()
        for point in points[1:]:
            page.mouse.move(*point, steps=5)
        page.mouse.up()


def png(digit: str) -> bytes:
    file = io.BytesIO()
    drawing(digit).save(file, "PNG")
    return file.getvalue()


def inked(page: Page) -> bool:
    return page.evaluate(
        """() => {
            const c = document.getElementById("canvas");
            return c.getContext("2d").getImageData(0, 0, c.width, c.height).data.some((v) => v < 128);
        }"""
    )


def test_the_page_names_the_model(page: Page) -> None:
    expect(page.get_by_role("heading", level=1)).to_have_text(NAME)
    expect(page.get_by_text(f"version {VERSION}")).to_be_visible()


def test_drawn_digits_are_recognised(page: Page) -> None:
    for digit in ("3", "7", "0"):
        draw(page, digit)
        expect(page.locator("#label")).to_have_text(digit)
        expect(page.locator("#bars li")).to_have_count(10)
        expect(page.locator("#bars li").first).to_contain_text("%")
        assert float(page.locator("#latency").inner_text()) > 0
        page.get_by_role("button", name="Clear").click()
        expect(page.locator("#bars li")).to_have_count(0)
        assert not inked(page)


def test_bars_are_as_long_as_their_probability(page: Page) -> None:
    draw(page, "4")
    expect(page.locator("#label")).to_have_text("4")
    first = page.locator("#bars li").first
    share = first.locator(".fill").bounding_box()["width"] / first.locator(".track").bounding_box()["width"]
    assert share == pytest.approx(float(first.locator(".value").inner_text().split()[0]) / 100, abs=0.02)


def test_a_chosen_file_is_shown_and_classified(page: Page) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a picture").press("Enter")
    chooser.value.set_files({"name": "five.png", "mimeType": "image/png", "buffer": png("5")})
    expect(page.locator("#label")).to_have_text("5")
    assert inked(page)


def drop(page: Page, name: str, kind: str, content: bytes) -> None:
    transfer = page.evaluate_handle(
        """([name, kind, bytes]) => {
            const data = new DataTransfer();
            data.items.add(new File([new Uint8Array(bytes)], name, { type: kind }));
            return data;
        }""",
        [name, kind, list(content)],
    )
    page.dispatch_event("#board", "drop", {"dataTransfer": transfer})


def test_a_dropped_file_is_classified(page: Page) -> None:
    drop(page, "two.png", "image/png", png("2"))
    expect(page.locator("#label")).to_have_text("2")


def test_a_bad_file_is_an_alert_that_the_next_picture_clears(page: Page) -> None:
    drop(page, "notes.txt", "text/plain", b"hello")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("Content-Type")
    drop(page, "broken.png", "image/png", b"hello")
    expect(alert).to_contain_text("cannot be decoded")
    drop(page, "two.png", "image/png", png("2"))
    expect(page.locator("#label")).to_have_text("2")
    expect(alert).to_be_hidden()


def test_the_keyboard_reaches_every_control(page: Page) -> None:
    names = []
    for _ in range(4):
        page.keyboard.press("Tab")
        names.append(page.evaluate("document.activeElement.textContent"))
    assert names == ["Choose a picture", "Clear", "Model metadata", "Metrics"]


def test_a_phone_can_draw_by_touch(browser: Browser, served: Served) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = context.new_page()
    page.goto(served.rest)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    box = page.locator("#canvas").bounding_box()
    session = context.new_cdp_session(page)
    for stroke in STROKES["7"]:
        points = [{"x": box["x"] + x * box["width"] / 100, "y": box["y"] + y * box["height"] / 100} for x, y in stroke]
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [points[0]]})
        for point in points[1:]:
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [point]})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(page.locator("#label")).to_have_text("7")
    context.close()


def test_a_server_that_went_away_is_said_so(browser: Browser, model: Path) -> None:
    with serving(model) as own:
        page = browser.new_page()
        page.goto(own.rest)
        end(own.process)
        draw(page, "3")
        expect(page.get_by_role("alert")).to_contain_text("did not answer")
        page.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(browser: Browser, served: Served, scheme: str) -> None:
    page = browser.new_page(color_scheme=scheme)
    page.goto(served.rest)
    text, ground = (
        page.evaluate(f"getComputedStyle(document.body).{name}.match(/\\d+/g).map(Number)")
        for name in ("color", "backgroundColor")
    )
    page.close()
    bright, dim = sorted((luminance(text), luminance(ground)), reverse=True)
    assert (bright + 0.05) / (dim + 0.05) >= 7
    assert (luminance(ground) > 0.5) == (scheme == "light")


def luminance(colour: list[int]) -> float:
    """Relative luminance, as WCAG 2 defines it."""
    parts = [c / 255 for c in colour[:3]]
    red, green, blue = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
