"""The browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest


def find_browser() -> str | None:
    """The browser on the PATH; None for Playwright's own."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """A browser: the one on the PATH, else Playwright's own. Ends with its module, as its event loop must."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # milliseconds: a busy machine answers late, which is no fault
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_browser(),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def only_tab(chromium: Any) -> Any:
    """One tab for a module's tests: it keeps what it compiled of the page, which is half of opening it."""
    return chromium.new_context(permissions=["clipboard-read", "clipboard-write"]).new_page()


@pytest.fixture
def tab(only_tab: Any) -> Iterator[Any]:
    """The tab, empty, at a size that shows panes side by side."""
    only_tab.set_viewport_size({"width": 1400, "height": 1000})
    yield only_tab
    only_tab.goto("about:blank")
