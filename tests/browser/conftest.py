"""A real browser for the tests of this folder: pages from disk, and a JupyterLab of their own.

Chromium is whatever this machine has (``$YODA_NB_BROWSER`` names another); without one, or without
playwright, the whole folder is skipped. The browser itself cannot look up any name: it reaches
loopback and files, nothing else.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import run_all, serving

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

HERE = Path(__file__).parent
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OFFLINE = (
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
LOCAL = ("file:", "data:", "blob:", "about:")
PATIENCE = 60_000  # ms; the machine may be busy with other tests


def browser_path() -> str | None:
    """The executable that ``$YODA_NB_BROWSER`` names, else the first browser on the path."""
    if named := os.environ.get("YODA_NB_BROWSER"):
        return shutil.which(named)
    return next(filter(None, map(shutil.which, NAMES)), None)


def pytest_collection_modifyitems(items):
    lacking = None
    if find_spec("playwright") is None:
        lacking = "needs a browser: pip install playwright"
    elif browser_path() is None:
        lacking = "needs a browser: install chromium, or name one in YODA_NB_BROWSER"
    if lacking:
        for item in items:
            if HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason=lacking))


@pytest.fixture(scope="package")  # not longer: while it lives, nothing else here can use asyncio
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser_path(), args=list(OFFLINE))
        yield chromium
        chromium.close()


def watched(context: BrowserContext) -> Page:
    """A page of the context; ``errors`` and ``requests_seen`` (beyond the disk) fill as it lives."""
    page = context.new_page()
    page.errors, page.requests_seen = [], []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda said: page.errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: request.url.startswith(LOCAL) or page.requests_seen.append(request.url))
    page.set_default_timeout(PATIENCE)
    return page


@pytest.fixture
def page(browser) -> Iterator[Page]:
    """A page in a fresh context, 1280 x 900; ``page.errors`` holds what went to the console as error."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    yield watched(context)
    context.close()


@pytest.fixture
def open_blocked(browser) -> Iterator[Callable[..., Page]]:
    """``open_blocked(path, **settings)``: a file in a page that may read nothing but the disk.

    All other requests are refused and recorded in ``page.requests_seen``; settings are those of a
    browser context, such as ``java_script_enabled=False`` or ``color_scheme="dark"``.
    """
    with ExitStack() as stack:

        def open_page(path: Path, **settings) -> Page:
            context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **settings})
            stack.callback(context.close)
            context.route(lambda url: not url.startswith(LOCAL), lambda route: route.abort())
            page = watched(context)
            page.goto(Path(path).resolve().as_uri())
            return page

        yield open_page


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[Callable[[Path], str]]:
    """``lab(folder)``: the address, token included, of a JupyterLab that serves the folder.

    One server a folder and module, in a home of its own, with this interpreter as its kernel.
    """
    with ExitStack() as stack:
        urls: dict[Path, str] = {}

        def start(folder: Path) -> str:
            if folder not in urls:
                home = tmp_path_factory.mktemp("home")
                urls[folder] = stack.enter_context(serving(folder, home))
            return urls[folder]

        yield start


@pytest.fixture
def run_in_lab(page, lab) -> Callable[..., Page]:
    """``run_in_lab(notebook, seconds=300)``: the notebook in JupyterLab, all its cells executed."""

    def run(notebook: Path, seconds: float = 300) -> Page:
        run_all(page, lab(notebook.parent), notebook, seconds)
        return page

    return run
