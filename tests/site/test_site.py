"""The built site in a real browser, as wide as a telephone and as a laptop: `make test-docs`."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="run by make test-docs")

WIDTHS = {390: 844, 1280: 800}
PAGES = (
    "index.html",
    "docs/index.html",
    "docs/running.html",
    "docs/interfaces.html",
    "docs/decisions/set-encoder.html",
    "benchmarks/RESULTS.html",
    "api/smvae_core.runtime.html",
    "api/smvae_core.model.memory.belief.html",
)


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    handler = partial(Quiet, directory=os.environ["SMVAE_SITE"])
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        path = os.environ["SMVAE_BROWSER"]
        yield driver.chromium.launch(executable_path=path, args=["--no-sandbox"])


@contextlib.contextmanager
def opened(browser: playwright.Browser, width: int) -> Iterator[tuple[playwright.Page, list[str]]]:
    """A page of a width, and what goes wrong in it."""
    wrong: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": WIDTHS[width]})
    page.on("console", lambda said: wrong.append(f"console: {said.text}"))
    page.on("pageerror", lambda error: wrong.append(f"script: {error}"))
    page.on("response", lambda got: got.status < 400 or wrong.append(f"{got.status}: {got.url}"))
    page.on("request", lambda asked: "//127.0.0.1:" in asked.url or wrong.append(asked.url))
    yield page, wrong
    page.close()


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_lacks_nothing(
    browser: playwright.Browser, address: str, name: str, width: int
) -> None:
    with opened(browser, width) as (page, wrong):
        page.goto(f"{address}/{name}", wait_until="load")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.body.scrollWidth") <= width
        assert not page.evaluate(
            "[...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src)"
        )
        assert page.locator("h1").count() == 1
        assert not wrong


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("hold_last_s", "docs/interfaces.html"),  # a parameter
        ("SetEncoder", "api/smvae_core.model.set_encoder.html"),  # a name of the code
    ],
)
def test_the_search_answers(
    browser: playwright.Browser, address: str, asked: str, found: str, width: int
) -> None:
    with opened(browser, width) as (page, wrong):
        page.goto(f"{address}/index.html")
        if not page.locator("input[name=q]").is_visible():
            page.locator("label[for=__navigation]").first.click()
        page.locator("input[name=q]").fill(asked)
        page.locator("input[name=q]").press("Enter")
        link = page.locator(f"#search-results a[href*='{found}']").first
        link.wait_for(timeout=20_000)
        link.click()
        page.wait_for_url(f"**/{found}*")
        assert asked.lower() in page.locator("article").inner_text().lower()
        assert not wrong


def test_every_page_is_in_the_menu_of_the_first(browser: playwright.Browser, address: str) -> None:
    root = Path(os.environ["SMVAE_SITE"])
    made = {"genindex.html", "py-modindex.html", "search.html", "index.html"}
    pages = {path.relative_to(root).as_posix() for path in root.rglob("*.html")} - made
    assert len(pages) > 100
    with opened(browser, 1280) as (page, _):
        page.goto(f"{address}/index.html")
        links = page.locator(".sidebar-tree a.internal")
        shown = {str(link.get_attribute("href")) for link in links.all()}
    assert not pages - shown
