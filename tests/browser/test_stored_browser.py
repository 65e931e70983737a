"""Stored answers in a real browser: the page opens with them, and no model is needed."""

from __future__ import annotations

import re
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.compare_page import pane, score
from ui.compare import sample_place

WAIT = 30_000  # milliseconds, for what waits for the dataset
BASELINE, LARGEST = "Baseline · augmented", "10,000 samples · augmented"


@pytest.fixture
def page(tab: Page, app_url: str) -> Page:
    tab.goto(app_url)
    expect(heading(tab)).to_be_visible()
    return tab


def heading(page: Page) -> Any:
    return page.locator(".answers-to h2")


def test_the_page_opens_on_stored_answers_that_get_better_with_more_data(page: Page) -> None:
    expect(heading(page)).to_have_text(re.compile("Stored answers to"))
    for name, verdict in ((BASELINE, "failed"), (LARGEST, "passed")):
        expect(pane(page, name)).to_have_attribute("data-origin", "stored")
        expect(pane(page, name)).to_contain_text(re.compile(r"Stored run qwen\S+ of \d{4}-\d\d-\d\d"))
        expect(score(page, "execution", name)).to_contain_text(verdict)
    expect(page.locator(".status p")).to_contain_text("make code-model")
    expect(page.get_by_role("button", name="Write live")).to_be_enabled()


def test_an_example_that_is_clicked_while_the_sample_before_gets_its_number_stays(
    tab: Page, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, asked, show = Event(), Event(), sample_place.show_place

    def show_late(lab: Any, family: str, name: str, variants: Any, place: Any, again: bool = False) -> Any:
        shown = show(lab, family, name, variants, place, again)
        if not again:  # the clock asks, not a person
            asked.set()
            held.wait(WAIT / 1000)
        return shown

    tab.goto(app_url)
    expect(heading(tab)).to_be_visible()
    monkeypatch.setattr(sample_place, "show_place", show_late)
    tab.get_by_label("Model family").wait_for()
    assert asked.wait(WAIT / 1000)
    example = tab.locator(".examples button").last
    name = example.inner_text()
    example.click()
    expect(heading(tab)).to_have_text(f"Stored answers to {name}")
    held.set()
    expect(tab.locator(".sample:visible")).to_contain_text(re.compile(r"\d of \d"))
    expect(tab.locator(".sample:visible h3")).to_have_text(name)
    expect(heading(tab)).to_have_text(f"Stored answers to {name}")


def test_another_example_or_sample_shows_its_stored_answers_and_they_can_be_compared(page: Page) -> None:
    example = page.locator(".examples button").last
    name = example.inner_text()
    example.click()  # it is one under the regular prompt
    expect(heading(page)).to_have_text(f"Stored answers to {name}")
    expect(page.locator(".sample:visible h3")).to_have_text(name)
    expect(page.get_by_label("Regular", exact=True)).to_be_checked()
    page.get_by_label("500 samples", exact=True).check()
    expect(pane(page, "500 samples · regular")).to_have_attribute("data-origin", "stored")
    page.get_by_label("Difference from the baseline").check()
    changed = pane(page, "10,000 samples · regular").locator("pre.diff .ins")
    expect(changed.first).to_be_visible()
    page.reload()
    expect(heading(page)).to_have_text(f"Stored answers to {name}")


def test_passing_the_family_by_keyboard_keeps_what_is_chosen_and_another_family_brings_its_own(
    page: Page,
) -> None:
    added = page.get_by_label("500 samples", exact=True)
    added.check()
    family = page.get_by_label("Model family").locator("visible=true")
    family.focus()
    family.press("Tab")
    page.wait_for_timeout(2000)
    expect(added).to_be_checked()
    family.click()
    page.get_by_role("option", name="SmolLM2").click()
    expect(added).not_to_be_checked()


def test_what_no_run_has_says_so_and_is_not_passed_off_as_stored(page: Page) -> None:
    page.get_by_role("button", name="Sampling settings").click()
    page.wait_for_timeout(500)
    tokens = page.get_by_label("Max new tokens")
    tokens.fill("64")
    tokens.press("Tab")
    expect(page.locator("#panes")).to_contain_text("No answers are stored for this.")
    expect(page.locator("#news")).to_have_text("No answers are stored for this.")
    tokens.fill("256")
    tokens.press("Tab")
    expect(heading(page)).to_be_visible()
    page.get_by_label("Own instruction").check()
    expect(page.locator("#panes .pane")).to_have_count(0)
    expect(page.get_by_label("Augmented", exact=True)).not_to_be_checked()  # there is no code to add
    expect(page.get_by_label("Regular", exact=True)).to_be_checked()


def test_the_dataset_tab_and_a_drill_down_show_stored_answers_and_lead_to_compare(page: Page) -> None:
    page.get_by_role("tab", name="Dataset").click()
    expect(page.locator("#open-sample .pane[data-origin=stored]").first).to_be_visible(timeout=WAIT)
    page.get_by_role("tab", name="Results").click()
    page.get_by_role("tab", name="Samples").click(timeout=WAIT)
    row = page.locator("#results-matrix tr[data-id] button:visible").nth(2)
    row.click(timeout=WAIT)
    opened = page.locator(".sample[aria-label=Sample]:visible h3")
    name = opened.inner_text(timeout=WAIT).rpartition("::")[2]
    page.get_by_role("button", name="Compare on this sample").locator("visible=true").click()
    expect(page.locator(".answers-to h2")).to_have_text(f"Stored answers to {name}", timeout=WAIT)


def test_twelve_columns_scroll_inside_the_table_and_their_rows_keep_their_names(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("500 samples", "5,000 samples", "Regular"):
        page.get_by_label(name, exact=True).check()
    table = page.locator("#panes .scores")
    expect(table.first.get_by_role("columnheader", name="Baseline")).to_have_count(2)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    head = table.get_by_role("rowheader", name="chrF")
    left = head.bounding_box()["x"]
    table.evaluate("each => each.scrollLeft = 200")
    assert head.bounding_box()["x"] == left
    expect(page.get_by_role("heading", name="prompt")).to_have_text(["Regular prompt", "Augmented prompt"])


def test_scores_and_the_tops_of_the_answers_are_on_the_first_screen(page: Page) -> None:
    page.set_viewport_size({"width": 1280, "height": 800})
    scores = page.locator("#panes .scores").bounding_box()
    assert scores["y"] + scores["height"] < 640
    assert page.locator("#panes pre").first.bounding_box()["y"] < 760


def test_on_a_phone_a_link_leads_to_the_task_and_write_live_leads_back_to_the_answers(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    link = page.locator(".guide").get_by_role("link", name="Choose a task")
    expect(link).to_be_in_viewport()
    link.click()
    expect(page.get_by_label("Own instruction")).to_be_in_viewport()
    page.get_by_label("Own instruction").check()
    expect(page.locator("#panes .empty")).not_to_be_in_viewport()
    page.get_by_role("button", name="Write live").click()
    expect(page.get_by_text("Write an instruction first")).to_be_in_viewport()


def test_the_status_never_names_another_family_than_the_address(tab: Page, app_url: str) -> None:
    tab.add_init_script(
        "window.said = new Set(); setInterval(() => "
        "said.add(document.querySelector('.actions .status')?.innerText.trim()), 10)"
    )
    tab.goto(f"{app_url}?family=smollm2-135m")
    expect(tab.locator(".status p")).to_contain_text("SmolLM2")
    assert not [each for each in tab.evaluate("[...said]") if each and "make code-model" in each]


@pytest.mark.parametrize("name", ["Markdown", "JSON", "HTML"])
def test_a_comparison_downloads_with_its_texts(page: Page, name: str) -> None:
    expect(page.locator(".status p")).to_be_visible()  # the address is read
    with page.expect_download() as download:
        page.locator("#panes").get_by_role("button", name=name).click()
    text = Path(download.value.path()).read_text(encoding="utf-8")
    for part in ("_interpolation_search", "qwen2.5-coder-1.5b_10000-augmented_greedy", "chrF", "elif"):
        assert part in text


def test_a_blind_vote_hides_the_names_until_it_is_given_and_can_be_deleted(page: Page) -> None:
    expect(page.locator(".status p")).to_be_visible()  # the address is read
    page.get_by_label("Blind vote").check()
    ballot = page.get_by_role("group", name="Your vote")
    expect(ballot).to_be_visible()
    expect(page.locator("#panes .scores")).to_have_count(0)
    expect(page.locator("#panes")).not_to_contain_text("Baseline")
    page.keyboard.press("2")
    expect(page.locator(".ballot[role=status]")).to_contain_text("Your best answer, B, is")
    expect(page.locator("#panes .scores")).to_be_visible()
    page.keyboard.press("n")
    expect(heading(page)).not_to_contain_text("_interpolation_search")
    expect(ballot).to_be_visible()
    page.get_by_role("tab", name="Results").click()
    page.get_by_role("tab", name="Votes").click(timeout=WAIT)
    votes = page.locator("#results-votes")
    expect(votes).to_contain_text("1 vote from 1 browser", timeout=WAIT)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export my votes").click()
    assert "_interpolation_search" in Path(download.value.path()).read_text(encoding="utf-8")
    page.get_by_role("button", name="Delete my votes").click()
    expect(votes).to_contain_text("Nobody has voted yet")
