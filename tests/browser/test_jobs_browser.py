"""The Jobs tab in a real browser: with the real verbs once, else with the tests' own."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import expect

from pipeline.settings import Settings
from tests.conftest import serve
from tests.jobs_kit import local_runner, until
from tests.jobs_page import page_of
from training.jobs import Records, Runner

WAIT, LONG = 20_000, 240_000  # milliseconds: for the page, and for training on a busy machine


@pytest.fixture
def runner(fresh: Settings) -> Runner:
    return local_runner(fresh.data_dir)


def open_jobs(chromium: Any, url: str) -> Any:
    page = chromium.new_page()
    page.set_default_timeout(WAIT)
    page.goto(url)
    page.get_by_role("tab", name="Jobs").click()
    return page


def test_a_person_trains_watches_reloads_finds_and_evaluates_a_checkpoint(
    fresh_short: Settings, chromium: Any
) -> None:
    """The real app and the real verbs on the short model, from the form to the scores."""
    with serve(fresh_short) as url:
        page = open_jobs(chromium, url)
        form = page.locator("#jobs-finetune")
        form.get_by_label("Training samples").fill("1")
        form.get_by_label("Epochs").fill("40")
        form.get_by_label("Epochs").blur()
        expect(form.locator(".command")).to_contain_text("--subset-size=1 --epochs=40")
        page.get_by_role("button", name="Start fine-tuning").click()
        expect(page.locator("#jobs-head .state.running")).to_be_visible()
        loss = page.locator("#jobs-body .newest b")
        expect(loss).to_be_visible(timeout=LONG)
        first = loss.inner_text()
        expect(loss).not_to_have_text(first, timeout=LONG)

        page.reload()
        expect(page.locator("#jobs-head .state.succeeded")).to_be_visible(timeout=LONG)
        assert "step 40 of 40" in page.get_by_label("Log").input_value()
        page.get_by_role("button", name="Open in Compare").click()
        expect(page.get_by_label("1-regular-epochs40", exact=True)).to_be_checked()

        page.get_by_role("tab", name="Jobs").click()
        page.get_by_role("button", name="Evaluate it").click()
        form, command = page.locator("#jobs-evaluate"), page.locator("#jobs-evaluate .command")
        form.get_by_role("button", name="More settings").click()
        form.get_by_label("Test samples").fill("2")
        expect(command).to_contain_text("--samples=2")
        # What is unfolded settles meanwhile: text typed within its first milliseconds would be lost.
        form.get_by_label("Max new tokens").fill("8")
        form.get_by_label("Max new tokens").blur()
        expect(command).to_contain_text("--samples=2 --max-new-tokens=8 --checkpoint=1-regular-epochs40")
        page.get_by_role("button", name="Start evaluation").click()
        expect(page.locator("#jobs-head h3")).to_have_text("Evaluate 1-regular-epochs40 · regular")
        expect(page.locator("#jobs-head .state.succeeded")).to_be_visible(timeout=LONG)
        expect(page.locator("#jobs-body .scores")).to_contain_text("chrF")
        page.get_by_role("button", name="Open in Results").click()
        expect(page.get_by_role("tab", name="Results")).to_have_attribute("aria-selected", "true")
        expect(page.get_by_label("Evaluation set-up")).to_have_value(re.compile("2 samples"), timeout=WAIT)
        expect(page.locator(".headline").first).to_be_visible(timeout=WAIT)
        page.close()
    kinds = [(job.kind, job.state) for job in Records(fresh_short.data_dir / "jobs").list()]
    assert kinds == [("evaluate", "succeeded"), ("finetune", "succeeded")]


def test_a_running_job_is_cancelled_and_resumed_with_the_tabs_buttons(runner: Runner, chromium: Any) -> None:
    job = runner.submit("count", {"to": 2000})
    with page_of(runner) as url:
        page = open_jobs(chromium, url)
        log = page.locator("#jobs-log textarea")
        below = "log => log.scrollHeight - log.scrollTop - log.clientHeight"
        until(
            lambda: (
                log.count()
                and log.evaluate("log => log.onscroll && log.scrollTop > 200")
                and log.evaluate(below) < 5
            )
        )
        log.evaluate("log => { log.scrollTop = 0; log.onscroll(); }")
        seen = log.input_value()
        until(lambda: log.input_value() != seen)
        page.wait_for_timeout(500)
        assert log.evaluate("log => log.scrollTop") == 0  # who reads is left alone
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#jobs-head .state.cancelled")).to_be_visible(timeout=WAIT)
        page.get_by_role("button", name="Resume").click()
        until(lambda: runner.status(job.id).state == "running" and runner.status(job.id).attempt == 2)
        expect(page.locator("#jobs-head .state.running")).to_be_visible(timeout=WAIT)
        page.close()


def test_a_form_knows_a_job_that_has_ended_while_it_is_open(runner: Runner, chromium: Any) -> None:
    with page_of(runner) as url:
        page = open_jobs(chromium, url)
        form = page.locator("#jobs-finetune")
        said = form.locator(".preview").last
        form.get_by_label("Training samples").fill("17")
        form.get_by_label("Epochs").fill("12")
        form.get_by_label("Epochs").blur()
        expect(said).to_contain_text("no such job has finished here yet", timeout=WAIT)
        page.get_by_role("button", name="Start fine-tuning").click()
        expect(page.locator("#jobs-head .state.succeeded")).to_be_visible(timeout=LONG)
        expect(said).to_contain_text("there is a checkpoint of that name", timeout=WAIT)
        form.get_by_label("Training samples").fill("18")
        form.get_by_label("Training samples").blur()
        expect(said).to_contain_text("from the last job of this kind here", timeout=WAIT)
        page.close()


def test_the_queue_fits_a_phone(runner: Runner, chromium: Any) -> None:
    runner.submit("count", {"to": 2})
    with page_of(runner) as url:
        page = open_jobs(chromium, url)
        page.set_viewport_size({"width": 390, "height": 850})
        queue = page.locator("#jobs-queue .wide")
        expect(queue).to_contain_text("Count", timeout=WAIT)
        assert queue.evaluate("box => box.scrollWidth - box.clientWidth") <= 0
        buttons = page.locator(".jobs .actions").filter(has=page.get_by_role("button", name="Delete")).first
        assert buttons.evaluate("row => getComputedStyle(row).position") != "fixed"
        page.close()
