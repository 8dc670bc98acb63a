"""The page in a real browser."""

import os
import shutil
from pathlib import Path

import pytest

from tests.served import served

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SCREENSHOTS = Path(__file__).parent / "screenshots"
PATIENCE_MS = 60_000


@pytest.fixture(scope="session")
def address():
    with served() as (_, found):
        yield found


@pytest.fixture(scope="module")
def browser():
    """Chromium; a computer without it cannot run these tests, but CI must.

    Not for the session: as long as it is open, an event loop runs in this thread, and no other test can have one.
    """
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        missing = f"No browser was found; any of {', '.join(BROWSERS)} will do (Debian, Ubuntu: apt install chromium)."
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as playwright:
        # Without a sandbox: in a container there is often no other way, and all that is opened is our own page.
        opened = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture
def open_page(browser, address):
    """Open a page: `open_page(width=…, height=…, url=…, path=…, touch=…)`, and wait until it is ready.

    Afterwards nothing may have been asked of another host, and the console must be free of errors but for the browser's
    own note of each answer that the test wanted refused (`page.refused`).
    """
    opened = []

    def open_(width=1280, height=800, url=address, path="", ready="#card-title", touch=False):
        context = browser.new_context(
            viewport={"width": width, "height": height},
            accept_downloads=True,
            has_touch=touch,
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.refused, page.complaints, page.asked = set(), [], []
        page.on(
            "console",
            lambda message: page.complaints.append(message.text) if message.type in {"error", "warning"} else None,
        )
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.asked.append(request.url))
        page.goto(url + path)
        page.wait_for_selector(ready)
        opened.append((page, url))
        return page

    yield open_
    for page, _ in opened:
        page.context.close()
    for page, url in opened:
        complaints = [text for text in page.complaints if not any(str(status) in text for status in page.refused)]
        assert complaints == []
        assert all(asked.startswith((f"{url}/", "blob:")) for asked in page.asked)


@pytest.fixture
def empty_page(browser):
    """A page that is nowhere yet, without the checks of `open_page`."""
    found = browser.new_page()
    found.set_default_timeout(PATIENCE_MS)
    yield found
    found.close()


@pytest.fixture
def page(open_page):
    return open_page()


@pytest.fixture
def shoot():
    """Keep a picture of the page for people to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    return lambda page, name, **options: page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)
