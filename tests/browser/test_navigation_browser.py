"""The address and the browser's history, in a real browser: each tab is a place that one comes back to."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlparse

import pytest
from playwright.sync_api import Page, TimeoutError, expect

WAIT = 30_000  # milliseconds, for what waits for the dataset


def tab(page: Page, name: str) -> Any:
    return page.get_by_role("tab", name=name, exact=True)


def expect_tab(page: Page, name: str) -> None:
    expect(tab(page, name)).to_have_attribute("aria-selected", "true")


@pytest.fixture
def page(tab: Page, app_url: str) -> Page:
    tab.goto(app_url)
    expect(tab.get_by_role("button", name="Write live")).to_be_visible()
    return tab


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("Results", ".answers .headline"),
        ("Dataset", ".rows button"),
        ("Jobs", "#jobs-queue .note"),
        ("About", ".facts-table"),
    ],
)
def test_a_reload_stays_in_its_tab_and_fills_it(page: Page, name: str, content: str) -> None:
    tab(page, name).click()
    page.reload()
    expect_tab(page, name)
    expect(page.locator(f"{content}:visible").first).to_be_visible(timeout=WAIT)


def test_back_and_forward_go_through_the_tabs_and_stay_in_the_app(page: Page) -> None:
    for name in ("About", "Jobs"):
        tab(page, name).click()
        expect_tab(page, name)
    page.go_back()
    expect_tab(page, "About")
    page.go_back()
    expect_tab(page, "Compare")
    page.go_forward()
    expect_tab(page, "About")


def test_a_tab_asks_again_and_again_how_things_stand_only_while_it_is_shown(page: Page) -> None:
    calls = page.evaluate("gradio_config.dependencies")
    reading = {each["api_name"]: each["id"] for each in calls}  # on the timers' ticks
    compare, jobs = {reading["tick"]}, {reading["refresh"]}

    def reads(callbacks: set[int]) -> Callable[[Any], bool]:
        return lambda request: "queue/join" in request.url and request.post_data_json["fn_index"] in callbacks

    def expect_reads(callbacks: set[int]) -> None:
        for _ in range(2):
            page.wait_for_event("request", reads(callbacks), timeout=WAIT)

    def expect_no_read(callbacks: set[int]) -> None:
        page.wait_for_timeout(2000)  # what the click began has ended
        with pytest.raises(TimeoutError):
            page.wait_for_event("request", reads(callbacks), timeout=5000)

    tab(page, "Jobs").click()
    expect_reads(jobs)
    tab(page, "Compare").click()
    expect_reads(compare)
    page.go_back()
    expect_tab(page, "Jobs")
    expect_reads(jobs)
    expect_no_read(compare)
    tab(page, "About").click()
    expect_no_read(jobs | compare)
    page.reload()
    expect_tab(page, "About")
    expect_no_read(jobs | compare)


def test_a_link_between_tabs_can_be_taken_back_and_reloaded(page: Page) -> None:
    tab(page, "Dataset").click()
    row = page.locator(".rows button").nth(3)
    row.click(timeout=WAIT)
    name = row.locator("b").inner_text()
    sample = page.locator(".sample:visible h3")
    expect(sample).to_have_text(name)
    page.get_by_role("button", name="Compare on this sample").click()
    expect_tab(page, "Compare")
    expect(sample).to_have_text(name)
    page.reload()
    expect(sample).to_have_text(name, timeout=WAIT)
    page.go_back()
    expect_tab(page, "Dataset")
    expect(sample).to_have_text(name)


def test_back_leads_to_what_was_picked_last_however_soon_it_was_left(page: Page) -> None:
    tab(page, "Dataset").click()
    rows = page.locator(".rows button")
    rows.first.click(timeout=WAIT)
    wanted = rows.nth(3).get_attribute("data-id")
    # Within one turn of the browser: no answer of the server can come between.
    page.evaluate("""() => {
        document.querySelectorAll(".rows button")[3].click();
        document.querySelector("[role=tab][data-tab-id=compare]").click();
    }""")
    expect_tab(page, "Compare")
    page.go_back()
    expect_tab(page, "Dataset")
    expect(page.locator(f".rows [data-id='{wanted}'][aria-current=true]")).to_be_visible()
    assert parse_qs(urlparse(page.url).query)["sample"] == [wanted]


def test_the_first_screen_s_link_to_the_results_can_be_taken_back(page: Page, app_url: str) -> None:
    page.goto(app_url)
    page.locator(".guide").get_by_role("link", name="Results").click()
    expect(page).to_have_url(re.compile("tab=results"))
    expect(page.locator(".answers").first).to_be_visible()
    page.go_back()
    expect(page.locator(".guide")).to_be_visible()
    expect(page).not_to_have_url(re.compile("tab=results"))


def test_a_link_between_tabs_leads_to_the_top_of_the_other_tab(page: Page) -> None:
    tab(page, "Dataset").click()
    page.locator(".rows button").first.click(timeout=WAIT)
    expect(page.locator(".pane:visible").first).to_be_visible(timeout=WAIT)
    page.evaluate("scrollTo(0, 500)")
    page.get_by_role("button", name="Compare on this sample").locator("visible=true").dispatch_event("click")
    expect_tab(page, "Compare")
    page.wait_for_function("scrollY === 0")


def test_an_address_opens_a_tab_with_its_view_and_keeps_what_is_not_its_own(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}?__theme=light&tab=results&metric=chrF")
    expect_tab(page, "Results")
    expect(page.get_by_label("Metric")).to_have_value("chrF", timeout=WAIT)
    expect(page).to_have_url(re.compile("__theme=light.*tab=results.*metric=chrF"))


def test_an_address_of_what_is_gone_opens_the_tab_and_says_so(page: Page, app_url: str) -> None:
    page.goto(f"{app_url}?tab=dataset&family=gpt-9")
    expect_tab(page, "Dataset")
    expect(page.get_by_text('There is no model family "gpt-9"')).to_be_visible()
    expect(page.locator(".rows button").first).to_be_visible(timeout=WAIT)


def test_an_address_of_another_family_keeps_its_checkpoints_however_late_others_are_listed(
    page: Page, app_url: str
) -> None:
    calls = page.evaluate("gradio_config.dependencies")
    listing = next(each["id"] for each in calls if each["api_name"] == "list_choices")

    def delay(route: Any) -> None:
        if route.request.post_data_json["fn_index"] == listing:
            page.wait_for_timeout(4000)
        route.continue_()

    page.route("**/queue/join*", delay)
    page.goto(f"{app_url}?family=smollm2-135m&column=baseline/regular&column=100/regular")
    damaged = page.get_by_label("100 samples (cannot be used)", exact=True)
    expect(damaged).to_be_checked()
    page.wait_for_timeout(6000)
    page.unroute("**/queue/join*")
    expect(damaged).to_be_checked()


def test_a_page_that_has_opened_the_view_of_its_address_comes_to_rest(tab: Page, app_url: str) -> None:
    tab.goto(f"{app_url}?family=smollm2-135m")
    expect(tab.get_by_label("Model family")).to_have_value(re.compile("SmolLM2"))
    calls = tab.evaluate("gradio_config.dependencies")
    timers = {each["id"] for each in calls for _, event in each["targets"] if event == "tick"}
    sent: list[int] = []

    def remember(request: Any) -> None:
        if "queue/join" in request.url or "run/predict" in request.url:
            sent.append(request.post_data_json["fn_index"])

    tab.wait_for_timeout(5_000)
    tab.on("request", remember)
    tab.wait_for_timeout(5_000)
    tab.remove_listener("request", remember)
    assert [call for call in sent if call not in timers] == []
