"""Drive a real browser: Chromium through Playwright's sync API.

$JHUB_USAGE_TEST_CHROMIUM names the program; else the system's chromium is used.
Limitations: Playwright's sync API keeps an event loop in the thread, so the `browser` fixture lives
for one module and a module with browser tests has no `async def` tests.
"""

import os
import shutil
from contextlib import contextmanager

ARGS = [
    "--no-sandbox",  # tests may run as root, where Chromium has no sandbox
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> str | None:
    if given := os.environ.get("JHUB_USAGE_TEST_CHROMIUM"):
        return given
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


class Browser:
    """A running browser; `page()` gives a fresh profile with one page."""

    def __init__(self, playwright_browser) -> None:
        self._browser = playwright_browser
        self.version: str = playwright_browser.version

    def context(self, *, width=1280, height=900, theme="light", **options):
        """A browser context of its own: cookies and storage are not shared with others."""
        context = self._browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=theme, **options
        )
        context.set_default_timeout(15_000)
        if theme == "dark":
            # The Hub's pages keep the choice here and ask the system only when it is absent.
            context.add_init_script("localStorage['jupyterhub-bs-theme'] ??= 'dark'")
        return context

    @contextmanager
    def page(self, **options):
        """A page in its own context. `page.problems` collects errors of scripts and the console."""
        context = self.context(**options)
        try:
            page = context.new_page()
            page.problems = []
            page.on("pageerror", lambda error: page.problems.append(str(error)))
            page.on("console", lambda message: note(page, message))
            yield page
        finally:
            context.close()


def note(page, message) -> None:
    if message.type == "error":
        page.problems.append(f"{message.text} ({message.location.get('url', '')})")


def login(page, base_url: str, name: str, password: str) -> None:
    """Log in through the Hub's own form and wait until it let us in."""
    page.goto(f"{base_url.rstrip('/')}/hub/login")
    page.fill("#username_input", name)
    page.fill("#password_input", password)
    page.click("#login_submit")
    page.wait_for_url(lambda url: "/hub/login" not in url)


@contextmanager
def run_browser(program: str):
    """Start the browser for as long as the block lasts."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=ARGS)
        try:
            yield Browser(chromium)
        finally:
            chromium.close()
