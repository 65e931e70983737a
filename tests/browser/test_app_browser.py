"""The page in a real browser, with the real embedded model and few tokens."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from threading import Event
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pipeline.generation import line, torch_engine
from pipeline.generation.running_batch import RunningBatch
from pipeline.schema import Sample
from pipeline.settings import Settings
from tests.compare_page import WAIT, pane, score
from tests.conftest import serve
from ui.compare import output as outputs
from ui.dataset import tab as dataset_tab

BASELINE, SECOND = "Baseline · regular", "200 samples · regular"
GOOD, DAMAGED = "10,000 samples · regular", "100 samples · regular"
VERDICT = re.compile("yes|no")
LIVE_TOKENS = re.compile(r"live\s*[1-9][\d,]* tokens?")  # not of a stored answer


@pytest.fixture
def page(tab: Page, app_url: str) -> Iterator[Page]:
    """The page, opened again for each test."""
    errors: list[str] = []

    def remember(error: Any) -> None:
        errors.append(str(error))

    tab.on("pageerror", remember)
    tab.goto(f"{app_url}?family=smollm2-135m")
    expect(tab.get_by_label("Model family")).to_have_value(re.compile("SmolLM2"))
    expect(tab.get_by_role("button", name="Write live")).to_be_visible(timeout=20_000)
    yield tab
    tab.remove_listener("pageerror", remember)
    assert not errors


def open_sampling(page: Page) -> None:
    if not page.get_by_label("Max new tokens").is_visible():
        page.get_by_role("button", name="Sampling settings").click()
        page.wait_for_timeout(500)  # text typed within the first milliseconds of what is unfolded is lost


def set_most_tokens(page: Page, number: int) -> None:
    open_sampling(page)
    page.get_by_label("Max new tokens").fill(str(number))
    page.get_by_label("Max new tokens").press("Tab")


def ask(page: Page, instruction: str, tokens: int) -> None:
    set_most_tokens(page, tokens)
    page.get_by_label("Own instruction").check()
    # Until the form has changed whole, the button below it still moves and can be missed.
    expect(page.locator(".sample")).to_be_hidden()
    expect(page.get_by_role("button", name="Top-k accuracy")).to_be_visible()
    page.get_by_label("Instruction", exact=True).fill(instruction)
    page.get_by_role("button", name="Write live").click()


def test_two_checkpoints_stream_side_by_side_on_a_sample_and_are_scored(page: Page) -> None:
    expect(page.locator(".sample")).to_contain_text(re.compile(r"\d of \d"), timeout=WAIT)
    set_most_tokens(page, 32)
    page.get_by_role("button", name="Write live").click()
    for name in (BASELINE, GOOD):
        expect(pane(page, name)).to_have_attribute("data-state", "writing", timeout=WAIT)
        expect(pane(page, name)).to_contain_text(LIVE_TOKENS, timeout=WAIT)
    for name in (BASELINE, GOOD):
        expect(score(page, "bits per byte", name)).to_have_text(re.compile(r"\.\d\d"), timeout=WAIT)
        expect(score(page, "chrF", name)).to_have_text(re.compile(r"\d\.\d"))
    expect(pane(page, GOOD)).to_contain_text("adapter ")
    expect(pane(page, BASELINE)).to_contain_text("no adapter")
    left, right = (pane(page, name).bounding_box() for name in (BASELINE, SECOND))
    assert left
    assert right
    assert left["y"] == right["y"]
    assert left["x"] + left["width"] <= right["x"]

    page.get_by_label("Show the reference").check()
    expect(pane(page, "Reference")).to_be_visible()
    page.get_by_label("Difference from the reference").check()
    expect(pane(page, GOOD).locator("pre.diff .del").first).to_be_visible()

    pane(page, "Reference").get_by_role("button", name="Copy").click()
    expect(pane(page, "Reference").get_by_role("button", name="Copied")).to_be_visible()
    assert (
        page.evaluate("navigator.clipboard.readText()") == pane(page, "Reference").locator("pre").inner_text()
    )


def test_stop_keeps_what_was_written_and_the_next_comparison_runs(page: Page) -> None:
    ask(page, "Write a class with many long methods for matrices.", 900)
    expect(pane(page, GOOD).locator("pre")).to_contain_text(re.compile(r"\w{3}"), timeout=WAIT)
    page.get_by_role("button", name="Stop").click()
    expect(pane(page, BASELINE)).to_contain_text("stopped by you")
    expect(pane(page, GOOD).locator("pre")).to_contain_text(re.compile(r"\w{3}"))
    page.get_by_label("Max new tokens").fill("4")
    page.get_by_role("button", name="Write live").click()
    expect(score(page, "parses", BASELINE)).to_have_text(VERDICT, timeout=WAIT)


def test_the_reference_can_be_shown_while_the_answers_are_written(page: Page) -> None:
    expect(page.locator(".sample")).to_contain_text(re.compile(r"\d of \d"), timeout=WAIT)
    set_most_tokens(page, 400)
    page.get_by_role("button", name="Write live").click()
    expect(pane(page, BASELINE)).to_contain_text(LIVE_TOKENS, timeout=WAIT)
    page.get_by_label("Show the reference").check()
    page.wait_for_timeout(1_500)  # the panes are drawn again and again meanwhile
    expect(pane(page, BASELINE)).to_have_attribute("data-state", "writing")
    expect(pane(page, "Reference")).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(pane(page, BASELINE)).to_have_attribute("data-state", "done", timeout=WAIT)
    expect(pane(page, "Reference")).to_be_visible()


def test_a_damaged_checkpoint_says_so_in_its_pane(page: Page) -> None:
    page.get_by_label("100 samples (cannot be used)", exact=True).check()
    ask(page, "Write a function that adds two tensors.", 4)
    expect(pane(page, DAMAGED).get_by_role("alert")).to_contain_text("damaged", timeout=WAIT)
    expect(score(page, "parses", GOOD)).to_have_text(VERDICT, timeout=WAIT)


def test_an_empty_instruction_gets_one_message_and_the_answers_stay(page: Page) -> None:
    ask(page, "Write a function that adds two tensors.", 4)
    expect(score(page, "parses", GOOD)).to_have_text(VERDICT, timeout=WAIT)
    page.get_by_label("Instruction", exact=True).fill("  ")
    page.get_by_role("button", name="Write live").click()
    expect(page.get_by_text("Write an instruction first")).to_have_count(1)
    expect(score(page, "parses", GOOD)).to_have_text(VERDICT)


def test_a_temperature_out_of_range_gets_a_message_and_stays_in_its_field(page: Page) -> None:
    open_sampling(page)
    temperature = page.get_by_label("Temperature")
    temperature.fill("9")
    temperature.press("Tab")
    ask(page, "Add two tensors.", 4)
    expect(page.get_by_text("Temperature must be a number from 0 to 2, not 9.")).to_be_visible()
    expect(temperature).to_have_value("9")


def status(page: Page) -> Any:
    return page.locator(".status p")


WRITING = re.compile(r"Writing \d+ of 900 tokens")


def test_a_second_visitor_is_served_beside_the_first(
    page: Page, chromium: Any, app_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slowly(monkeypatch)
    ask(page, "Write a class with many long methods for matrices.", 900)
    expect(status(page)).to_have_text(WRITING, timeout=WAIT)
    other = chromium.new_page()
    other.goto(f"{app_url}?family=smollm2-135m")
    expect(status(other)).to_contain_text("Ready", timeout=WAIT)
    ask(other, "Write a function that adds two tensors.", 4)
    expect(score(other, "parses", BASELINE)).to_have_text(VERDICT, timeout=WAIT)
    expect(status(page)).to_have_text(WRITING)
    page.get_by_role("button", name="Stop").click()
    expect(pane(page, BASELINE)).to_contain_text("stopped by you")
    other.close()


def answer_late(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Hold the answers to changes of the form back; gives what lets them go."""
    held, follow, answered = Event(), outputs.follow, Event()

    def follow_late(*args: Any) -> Any:
        updates = follow(*args)
        held.wait(WAIT / 1000)
        answered.set()
        return updates

    def release() -> None:
        held.set()
        assert answered.wait(WAIT / 1000)
        time.sleep(0.3)  # until the page has the answer

    monkeypatch.setattr(outputs, "follow", follow_late)
    monkeypatch.setattr(line, "LOOK_SECONDS", 3)  # who waits draws nothing over the answer meanwhile
    return release


def write_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that who writes still does when a busy browser has shown who waits."""
    step = RunningBatch.step

    def slow_step(batch: RunningBatch) -> None:
        time.sleep(0.2)
        step(batch)

    monkeypatch.setattr(RunningBatch, "step", slow_step)


def test_who_waits_sees_the_place_in_line_and_can_leave(
    tab: Page, chromium: Any, fresh: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_slowly(monkeypatch)
    monkeypatch.setattr(torch_engine, "ROWS", {"cpu": 1})
    with serve(fresh) as url:
        tab.goto(f"{url}?family=smollm2-135m")
        expect(status(tab)).to_contain_text("loads when you press Write live", timeout=WAIT)
        ask(tab, "Write a class with many long methods for matrices.", 900)
        expect(status(tab)).to_have_text(WRITING, timeout=WAIT)
        other = chromium.new_page()
        other.goto(f"{url}?family=smollm2-135m")
        expect(status(other)).to_contain_text("You would be 1st in line, about", timeout=WAIT)
        release = answer_late(monkeypatch)
        ask(other, "Write a function that adds two tensors.", 4)
        expect(status(other)).to_have_text(re.compile("1st in line, about .*(s|min)"), timeout=WAIT)
        release()
        other.get_by_role("button", name="Leave").click()
        expect(other.get_by_role("button", name="Stop")).to_be_disabled()
        other.get_by_role("button", name="Write live").click()
        expect(other.get_by_role("button", name="Leave")).to_be_visible()
        tab.get_by_role("button", name="Stop").click()
        expect(score(other, "parses", BASELINE)).to_have_text(VERDICT, timeout=WAIT)
        expect(status(other)).to_contain_text("Ready", timeout=WAIT)
        other.close()


def test_a_comparison_asked_for_as_the_page_opens_waits_for_the_sample(page: Page) -> None:
    page.get_by_role("button", name="Write live").click()
    expect(pane(page, BASELINE)).to_contain_text(LIVE_TOKENS, timeout=WAIT)
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("button", name="Stop").click()
    expect(pane(page, BASELINE)).to_contain_text("stopped by you")


def test_answers_bear_the_name_of_their_task_and_turn_grey_when_the_form_moves_on(page: Page) -> None:
    sample = page.locator(".sample:visible h3")
    expect(sample).not_to_be_empty(timeout=WAIT)
    name, word = sample.inner_text(), page.get_by_text("The form has changed since these answers")
    set_most_tokens(page, 4)
    page.get_by_role("button", name="Write live").click()
    expect(page.get_by_role("heading", name=f"Answers to {name}")).to_be_visible(timeout=WAIT)
    expect(score(page, "parses", GOOD)).to_have_text(VERDICT, timeout=WAIT)
    expect(word).to_have_count(0)
    button, box = (lambda name: page.get_by_role("button", name=name).click()), page.get_by_label
    changes: list[tuple[Callable[[], None], Callable[[], None]]] = [
        (lambda: button("Next"), lambda: button("Previous")),
        (lambda: box("500 samples").check(), lambda: box("500 samples").uncheck()),
        (lambda: set_most_tokens(page, 5), lambda: set_most_tokens(page, 4)),
        (lambda: box("Own instruction").check(), lambda: box("Dataset sample").check()),
    ]
    for change, change_back in changes:
        change()
        expect(word).to_be_visible()
        expect(page.locator("#panes .panes")).to_have_css("filter", "grayscale(1)")
        expect(page.get_by_role("heading", name=f"Answers to {name}")).to_be_visible()
        change_back()
        expect(word).to_have_count(0)


def test_a_family_that_this_machine_cannot_run_says_what_it_needs_before_the_click(page: Page) -> None:
    page.get_by_label("Model family").click()
    page.get_by_role("option", name="Llama").click()
    expect(status(page)).to_contain_text("needs a CUDA GPU, and this machine has none")
    expect(status(page)).to_have_class("failed")
    page.get_by_role("button", name="Write live").click()
    expect(page.get_by_role("alert").filter(has_text="needs a CUDA GPU")).to_be_visible()


def test_a_search_that_is_typed_while_the_dataset_tab_opens_keeps_its_list(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, show = Event(), dataset_tab.show_sample

    def show_late(sample: Sample) -> str:
        begun.set()
        time.sleep(3)
        return show(sample)

    monkeypatch.setattr(dataset_tab, "show_sample", show_late)
    page.get_by_role("tab", name="Dataset").click()
    assert begun.wait(WAIT / 1000)
    page.get_by_placeholder("Name, instruction or repository").fill("attention")
    expect(page.locator("#open-sample pre.code").first).to_be_visible(timeout=WAIT)
    page.wait_for_timeout(1_000)
    expect(page.locator(".rows button").nth(2)).to_contain_text("PagedAttentionArgs")


def test_a_sample_of_the_dataset_tab_goes_to_compare(page: Page) -> None:
    page.get_by_role("tab", name="Dataset").click()
    page.get_by_placeholder("Name, instruction or repository").fill("attention")
    row = page.locator(".rows button").nth(2)
    expect(row).to_contain_text(re.compile("attention", re.IGNORECASE), timeout=WAIT)
    name = row.locator("b").inner_text()
    row.press("Enter")
    expect(page.get_by_role("tabpanel").locator("pre.code").first).to_contain_text(name.rpartition(".")[2])
    page.get_by_role("button", name="Compare on this sample").click()
    expect(page.get_by_role("tab", name="Compare")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".sample:visible h3")).to_have_text(name)


@pytest.mark.parametrize("width", [390, 1400])
def test_no_tab_is_wider_than_the_screen(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    for tab in ("Compare", "Dataset", "About"):
        page.get_by_role("tab", name=tab).click()
        page.wait_for_timeout(300)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
