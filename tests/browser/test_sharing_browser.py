"""A link that is sent, in a browser of its own: it shows what its sender saw."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Page, expect

WAIT = 30_000  # milliseconds, for what waits for a model or for all stored runs
PANES = "[...document.querySelectorAll('#panes .pane pre')].map((each) => each.innerText)"


@pytest.fixture
def other(chromium: Any) -> Iterator[Page]:
    """A tab of somebody else: nothing of the first one is in it."""
    context = chromium.new_context(viewport={"width": 1400, "height": 1000})
    yield context.new_page()
    context.close()


def copied_link(page: Page) -> str:
    page.get_by_role("button", name="Copy link").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    return str(page.evaluate("navigator.clipboard.readText()"))


def write_live(page: Page) -> None:
    page.get_by_role("button", name="Write live").click()
    expect(page.locator(".answers-to h2")).to_contain_text("Live answers", timeout=90_000)
    expect(page.get_by_role("button", name="Copy link")).to_be_visible(timeout=90_000)


def test_a_link_opened_in_another_browser_shows_the_same_comparison(
    tab: Page, other: Page, app_url: str
) -> None:
    tab.goto(app_url)
    expect(tab.locator(".status p")).to_be_visible()  # the address is read
    first = tab.locator(".answers-to h2").inner_text()
    tab.locator(".examples button").last.click()
    expect(tab.locator(".answers-to h2")).not_to_have_text(first)
    tab.get_by_label("500 samples", exact=True).check()
    expect(tab.get_by_role("columnheader", name="500 samples")).to_be_visible()
    other.goto(copied_link(tab))
    heading = tab.locator(".answers-to h2").inner_text()
    expect(other.locator(".answers-to h2")).to_have_text(heading)
    expect(other.get_by_role("columnheader", name="500 samples")).to_be_visible()
    assert other.evaluate(PANES) == tab.evaluate(PANES)


def test_an_earlier_comparison_is_one_entry_and_comes_back_with_a_click_and_without_a_reload(
    other: Page, app_url: str
) -> None:
    other.goto(app_url)
    expect(other.locator(".status p")).to_be_visible()
    first = other.locator(".answers-to h2").inner_text()
    other.locator(".examples button").last.click()
    links = other.locator(".earlier a")
    expect(links).to_have_count(2)
    for name in ("500 samples", "5,000 samples"):
        other.get_by_label(name, exact=True).check()
        expect(other.get_by_role("columnheader", name=name)).to_be_visible()
    expect(links.first).to_contain_text(re.compile(", 6 of qwen"))
    expect(links).to_have_count(2)
    other.evaluate("window.kept = true")
    other.locator(".earlier summary").click()
    links.last.click()
    expect(other.locator(".answers-to h2")).to_have_text(first)
    assert other.evaluate("window.kept")


def test_a_greedy_link_to_live_answers_reproduces_their_text(tab: Page, other: Page, app_url: str) -> None:
    asked = {"family": "smollm2-135m", "instruction": "Add two numbers.", "column": "baseline/regular"}
    tab.goto(f"{app_url}?{urlencode({**asked, 'temperature': 0, 'max_new_tokens': 12})}")
    expect(tab.get_by_label("Instruction", exact=True)).to_have_value("Add two numbers.")
    write_live(tab)
    other.goto(copied_link(tab))
    write_live(other)  # as soon as the button can be pressed
    assert other.evaluate(PANES) == tab.evaluate(PANES)
    text = other.locator("#panes pre").inner_text()
    other.get_by_label("Token probabilities").check()
    token = other.locator("#panes pre.tokens span").first
    expect(token).to_have_attribute("title", re.compile(r"\d+%. Others: “"))
    assert other.locator("#panes pre").inner_text().strip() == text.strip()


def test_an_address_brings_back_the_filters_of_results(tab: Page, other: Page, app_url: str) -> None:
    tab.goto(f"{app_url}?tab=results")
    tab.get_by_role("tab", name="Samples").click(timeout=WAIT)
    tab.get_by_label("flips").check()
    tab.get_by_role("textbox", name="Search").locator("visible=true").fill("tensor")
    matrix = "#results-matrix tr[data-id] button:visible"
    expect(tab.locator("#results-matrix")).to_contain_text("flips", timeout=WAIT)
    row = tab.locator(matrix).first
    row.click()
    opened = ".sample[aria-label=Sample]:visible h3"
    name = tab.locator(opened).inner_text(timeout=WAIT)
    for part in ("section=samples", "sample=", "kind=flips", "search=tensor"):
        expect(tab).to_have_url(re.compile(part))
    other.goto(tab.url)
    expect(other.get_by_label("flips")).to_be_checked(timeout=WAIT)
    expect(other.get_by_role("textbox", name="Search").locator("visible=true")).to_have_value("tensor")
    expect(other.locator(opened)).to_have_text(name, timeout=WAIT)
    expect(tab.locator(matrix)).to_have_count(other.locator(matrix).count())  # it may still be searching


@pytest.mark.parametrize(
    ("query", "notice"),
    [
        ({"temperature": "hot"}, "values that this page does not know: temperature=hot"),
        ({"tab": "results", "metric": "<b>x</b>"}, "No run of this set-up has the metric <b>x</b>"),
        (
            {"tab": "results", "left_out": "nobody"},
            "0 of 256 samples left out (1 of the ids are not in this set-up)",
        ),
        ({"family": "smollm2-135m", "sample": "nobody"}, "nobody"),
    ],
)
def test_an_address_that_makes_no_sense_gives_a_notice_and_the_page_works(
    tab: Page, app_url: str, query: dict[str, str], notice: str
) -> None:
    tab.goto(f"{app_url}?{urlencode(query)}")
    expect(tab.locator("body")).to_contain_text(notice, timeout=WAIT)
    shown = ".headline:visible" if query.get("tab") == "results" else "#panes:visible"
    expect(tab.locator(shown).first).to_be_visible(timeout=WAIT)
