"""Accessibility: axe-core finds nothing serious on any tab, and the keyboard and screen readers get along."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from pipeline.schema import SamplingParams
from pipeline.settings import Settings
from tests.attempts import attempt
from ui.compare import answers_file
from ui.compare.comparison import Comparison
from ui.results.bundle import bundle
from ui.results.presenter import Presenter
from ui.views import View

pytest_plugins = ("tests.results_page",)
WAIT = 90_000  # milliseconds, for what needs the model
THEMES = ("light", "dark")


def assert_no_barriers(page: Page) -> None:
    """No violation that axe calls serious or critical."""
    page.wait_for_timeout(600)  # a color that is still fading in has no contrast yet
    found = Axe().run(page).response["violations"]
    barriers = [
        (each["id"], [node["html"][:200] for node in each["nodes"][:3]])
        for each in found
        if each["impact"] in ("serious", "critical")
    ]
    assert barriers == []


def open_app(page: Page, url: str, theme: str) -> None:
    page.goto(f"{url}?__theme={theme}&family=smollm2-135m")
    expect(page.get_by_role("button", name="Write live")).to_be_visible(timeout=20_000)


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious_on_the_tabs(tab: Page, app_url: str, theme: str) -> None:
    open_app(tab, app_url, theme)
    expect(tab.locator(".sample:visible")).to_contain_text(re.compile(r"\d of \d"), timeout=WAIT)
    assert_no_barriers(tab)
    for name, ready in (
        ("Dataset", "#open-sample .sample"),
        ("Checkpoints", "#checkpoints-table tbody tr"),
        ("Jobs", "#jobs-queue .note"),
        ("About", ".facts-table"),
    ):
        tab.get_by_role("tab", name=name).click()
        expect(tab.locator(ready).first).to_be_visible(timeout=WAIT)
        assert_no_barriers(tab)


def test_axe_finds_nothing_serious_in_the_panes_and_their_end_is_announced(tab: Page, app_url: str) -> None:
    open_app(tab, app_url, "light")
    tab.get_by_role("button", name="Sampling settings").click()
    tab.wait_for_timeout(500)
    tab.get_by_label("Max new tokens").fill("4")
    tab.get_by_label("100 samples (cannot be used)", exact=True).check()  # a damaged one
    expect(tab.locator(".sample:visible")).to_contain_text(re.compile(r"\d of \d"), timeout=WAIT)
    news = tab.locator("#news [role=status]")
    expect(news).not_to_contain_text("complete")
    tab.get_by_role("button", name="Write live").click()
    expect(news).to_have_text("4 answers complete. No answer from 100 samples · regular.", timeout=WAIT)
    assert_no_barriers(tab)


@pytest.mark.parametrize("theme", THEMES)
def test_axe_finds_nothing_serious_in_results(tab: Page, url: str, theme: str) -> None:
    tab.goto(f"{url}?__theme={theme}&tab=results")
    expect(tab.locator("#results-curve .legendtext").first).to_be_visible()
    assert_no_barriers(tab)
    for name in ("Pairs", "Samples", "Disagreement", "Runs and export"):
        tab.get_by_role("tab", name=name).click()
        opener = tab.locator("tr[data-id] button:visible").first
        if name != "Pairs":
            opener.click()
        expect(tab.locator(".pane:visible, .listing:visible, .pairs:visible").first).to_be_visible()
        assert_no_barriers(tab)


def test_axe_finds_nothing_at_all_on_exported_pages(
    chromium: Any, own: Settings, presenter: Presenter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = presenter.runs.setups()[0]
    monkeypatch.setattr("ui.results.bundle.Settings.from_env", lambda: own)
    bundle(str(tmp_path), lambda *_: None)
    done = attempt("Write f.", "def f(): pass", "def f(): pass", "def f(): ...")
    comparison = Comparison(View("compare", "smollm2-135m"), attempts=(done,), running=False)
    answers = answers_file.as_html(comparison, SamplingParams())
    (tmp_path / "answers.html").write_text(answers, encoding="utf-8")
    page = chromium.new_page()
    for name in ("index.html", f"{setup.key}.html", "answers.html"):
        page.goto(f"file://{tmp_path / name}")
        expect(page.locator("h1")).to_be_visible()
        page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
        assert Axe().run(page).response["violations"] == []
    page.close()


def test_a_dropdown_closes_when_the_keyboard_leaves_it(tab: Page, app_url: str) -> None:
    open_app(tab, app_url, "light")
    for key in ("Tab", "Shift+Tab"):
        tab.get_by_role("combobox", name="Model family").click()
        expect(tab.get_by_role("listbox")).to_be_visible()
        tab.keyboard.press("ArrowDown")
        tab.keyboard.press(key)
        expect(tab.get_by_role("listbox")).to_have_count(0)


def test_the_keyboard_keeps_its_place_when_stop_is_pressed(tab: Page, app_url: str) -> None:
    open_app(tab, app_url, "light")
    expect(tab.locator(".sample:visible")).to_contain_text(re.compile(r"\d of \d"), timeout=WAIT)
    write, stop = (tab.get_by_role("button", name=name) for name in ("Write live", "Stop"))
    expect(write).to_be_enabled()  # once the address is read
    write.press("Enter")
    expect(stop).to_be_enabled()
    expect(write).to_be_disabled()
    stop.press("Enter")
    expect(stop).to_be_disabled(timeout=WAIT)
    expect(write).to_be_focused()


def test_the_focus_of_the_keyboard_is_marked(tab: Page, app_url: str) -> None:
    open_app(tab, app_url, "light")
    tab.get_by_role("combobox", name="Model family").focus()
    seen = set()
    for _ in range(16):
        tab.keyboard.press("Tab")
        mark = tab.evaluate(
            "() => { const at = document.activeElement, style = getComputedStyle(at);"
            "return [at.type ?? '', style.outlineStyle, parseFloat(style.outlineWidth)]; }"
        )
        seen.add(mark[0])
        assert mark[1] == "solid"
        assert mark[2] >= 2
    assert {"checkbox", "radio", "submit"} & seen
