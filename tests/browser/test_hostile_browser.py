"""Hostile text in every stored thing, seen in a real browser: Gradio and Plotly do not make markup of it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from pipeline.evaluation.store import append_attempts, create_run, runs_dir
from pipeline.settings import ASSETS, Settings
from tests.hostile import TAG, hostile_job, hostile_run
from tests.jobs_kit import local_runner
from tests.jobs_page import page_of
from tests.made_up_runs import bare_settings, make_run
from training.jobs import Runner

WAIT = 90_000  # milliseconds, for the first import of scipy and plotly on a busy machine
SCRIPT = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture
def runner(fresh: Settings, tmp_path: Any) -> Runner:
    """A runner on a data folder with a hostile family, hostile runs and a hostile job."""
    runner = local_runner(fresh.data_dir)
    families = runner.settings.assets / "families.toml"
    text = families.read_text(encoding="utf-8")
    families.write_text(re.sub(r"^title = .*$", f"title = '''{TAG}'''", text, flags=re.MULTILINE))
    reported = (ASSETS / "reported.toml").read_text(encoding="utf-8")
    (runner.settings.assets / "reported.toml").write_text(reported, encoding="utf-8")
    elsewhere = bare_settings(tmp_path / "made")
    for size in (0, 200, 500):
        run = hostile_run(make_run(elsewhere, size, samples=8), TAG)
        folder = create_run(runs_dir(runner.settings), run.config)
        append_attempts(folder, run.attempts.values())
    scores = {TAG: {"mean": TAG, "n": TAG, "unscored": TAG}}
    job = hostile_job(TAG, id="job", kind="evaluate", state="failed", result={"scores": scores}, sweep=None)
    runner.records.add([job], 10)
    return runner


def test_nothing_stored_becomes_markup(runner: Runner, tab: Page) -> None:
    with page_of(runner) as url:
        tab.goto(url)
        tab.get_by_role("combobox", name="Model family").click()
        expect(tab.get_by_role("option").first).to_contain_text("<hostile")
        tab.keyboard.press("Escape")
        tab.get_by_role("tab", name="Results").click()
        expect(tab.locator("#results-curve .ytitle")).to_contain_text("<hostile", timeout=WAIT)
        tab.locator("#results-curve .point").first.hover(force=True)
        for name in ("Pairs", "Samples", "Disagreement", "Runs and export"):
            tab.get_by_role("tab", name=name).click()
            if name != "Pairs":
                tab.locator("tr[data-id] button:visible").first.click()
                tab.wait_for_timeout(1_000)
        tab.get_by_role("tab", name="Jobs", exact=True).click()
        tab.locator("#jobs-queue button").first.click()
        expect(tab.locator("#jobs-body .scores")).to_contain_text("<hostile")
        assert tab.locator("hostile").count() == 0


def test_a_link_shows_its_hostile_values_as_text(runner: Runner, tab: Page) -> None:
    with page_of(runner) as url:
        tab.goto(f"{url}?tab=compare&family={quote(SCRIPT)}")
        expect(tab.get_by_test_id("toast-text")).to_contain_text("<img src=x")
        assert tab.locator("img[src=x]").count() == 0
        assert tab.title() != "owned"
