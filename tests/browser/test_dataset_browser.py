"""The Dataset tab in a real browser: the list and the open sample agree, whatever is searched for."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

WAIT = 30_000  # milliseconds, for what waits for the dataset


@pytest.fixture
def page(tab: Page, app_url: str) -> Page:
    tab.goto(f"{app_url}?tab=dataset")
    expect(marked(tab)).to_have_count(1, timeout=WAIT)
    return tab


def search(page: Page, text: str) -> None:
    page.get_by_label("Search the test samples").locator("visible=true").fill(text)


def rows(page: Page) -> Any:
    return page.locator(".rows:visible button")


def marked(page: Page) -> Any:
    """The row of the open sample."""
    return page.locator(".rows:visible [aria-current=true]")


def button(page: Page, name: str) -> Any:
    return page.get_by_role("button", name=name).locator("visible=true")


def expect_first_is_open(page: Page, count: str) -> None:
    expect(page.get_by_text(f"of {count} test samples")).to_be_visible()
    expect(marked(page)).to_have_count(1)
    name = marked(page).locator("b").inner_text()
    expect(rows(page).first.locator("b")).to_have_text(name)
    expect(page.locator("#open-sample .sample h3")).to_have_text(name)


def test_a_search_opens_its_first_hit_and_keeps_an_open_sample_that_is_among_its_hits(page: Page) -> None:
    search(page, "rotary inverse")
    expect_first_is_open(page, "5")
    rows(page).nth(3).click()
    expect(marked(page)).to_have_attribute("data-id", rows(page).nth(3).get_attribute("data-id") or "")
    kept = marked(page).get_attribute("data-id")
    search(page, "rotary")
    expect(page.get_by_text("of 17 test samples")).to_be_visible()
    expect(marked(page)).to_have_attribute("data-id", kept)
    search(page, "attention")
    expect_first_is_open(page, "96")


def test_what_was_open_under_a_search_is_open_and_marked_after_a_way_through_compare(page: Page) -> None:
    search(page, "rotary inverse")
    expect_first_is_open(page, "5")
    name = marked(page).locator("b").inner_text()
    search(page, "rotary")
    expect(page.get_by_text("of 17 test samples")).to_be_visible()
    button(page, "Compare on this sample").click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".sample:visible h3")).to_have_text(name)
    page.get_by_role("tab", name="Dataset").click()
    page.wait_for_timeout(1_000)
    expect(marked(page).locator("b")).to_have_text(name)
    expect(page.locator("#open-sample .sample h3")).to_have_text(name)


def test_a_search_without_a_hit_opens_nothing_to_compare_on(page: Page) -> None:
    search(page, "nothing has these words")
    expect(page.get_by_text("No test sample matches this search.")).to_be_visible()
    expect(page.locator("#open-sample .sample")).to_have_count(0)
    expect(button(page, "Compare on this sample")).to_be_disabled()
    search(page, "rotary")
    expect_first_is_open(page, "17")
    expect(button(page, "Compare on this sample")).to_be_enabled()


def test_a_search_that_is_typed_fast_ends_with_the_hits_of_its_last_text(page: Page) -> None:
    page.get_by_label("Search the test samples").press_sequentially("rotary embedding", delay=15)
    expect_first_is_open(page, "15")
    page.wait_for_timeout(1_000)
    expect_first_is_open(page, "15")
    expect(page).to_have_url(re.compile("search=rotary\\+embedding"))


def test_the_answers_are_of_the_family_that_compare_shows_until_another_is_chosen(
    tab: Page, app_url: str
) -> None:
    def go(name: str) -> None:
        tab.get_by_role("tab", name=name, exact=True).click()

    def choose(label: str, family: str) -> None:
        tab.get_by_label(label).locator("visible=true").click()
        tab.get_by_role("option", name=family).click()

    def expect_answers_of(family: str) -> None:
        expect(tab.get_by_label("Answers of")).to_have_value(re.compile(family))
        expect(tab.locator("#open-sample")).to_contain_text(f"Stored answers of {family}", timeout=WAIT)
        expect(tab).to_have_url(re.compile(f"family={family}", re.IGNORECASE))

    tab.goto(app_url)
    expect(tab.locator(".status p")).to_be_visible()
    go("Dataset")
    expect_answers_of("Qwen")
    go("Compare")
    choose("Model family", "SmolLM2")
    expect(tab.locator(".status p")).to_contain_text("SmolLM2")
    go("Dataset")
    expect_answers_of("SmolLM2")
    choose("Answers of", "Qwen")
    expect_answers_of("Qwen")
    go("Compare")
    expect(tab.get_by_label("Model family").locator("visible=true")).to_have_value(re.compile("SmolLM2"))
    go("Dataset")
    expect_answers_of("Qwen")


def test_a_link_to_the_dataset_keeps_its_family_after_a_way_through_compare(tab: Page, app_url: str) -> None:
    tab.goto(f"{app_url}?tab=dataset&family=smollm2-135m")
    expect(tab.get_by_label("Answers of")).to_have_value(re.compile("SmolLM2"))
    expect(marked(tab)).to_have_count(1, timeout=WAIT)
    tab.get_by_role("tab", name="Compare").click()
    expect(tab.locator(".status p")).to_be_visible()
    tab.get_by_role("tab", name="Dataset").click()
    tab.wait_for_timeout(2_000)
    expect(tab.get_by_label("Answers of")).to_have_value(re.compile("SmolLM2"))


def test_the_ways_to_further_pages_end_with_the_list(page: Page) -> None:
    search(page, "rotary")
    expect(page.get_by_text("1 to 10 of 17 test samples")).to_be_visible()
    expect(button(page, "Previous page")).to_be_disabled()
    button(page, "Next page").click()
    expect(page.get_by_text("11 to 17 of 17 test samples")).to_be_visible()
    expect(button(page, "Next page")).to_be_disabled()
    expect(button(page, "Previous page")).to_be_enabled()
