"""The Jobs tab and its API: a real browser and a real client on a page of it, with the tests' own verbs."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.schema import LabError
from pipeline.settings import ASSETS, Settings
from tests.jobs_kit import ended, local_runner, settings_in, until
from training.jobs import Job, Runner
from training.jobs.estimate import estimate
from training.jobs.limits import may_launch, require_launch
from ui import compare, jobs, jobs_view, theme
from ui.jobs_preview import preview
from ui.lab import Lab


@contextmanager
def page_of(runner: Runner) -> Iterator[str]:
    """The tab between two others; gives the page's URL."""
    shutil.copy(ASSETS / "jobs.css", runner.settings.assets)
    lab = Lab(runner.settings)
    with gr.Blocks(fill_width=True) as page, gr.Tabs() as tabs:
        with gr.Tab("Compare", id="compare"):
            columns = compare.build(lab, page)
        with gr.Tab("Jobs", id="jobs"):
            jobs.build(lab, runner, page, tabs, columns)
        with gr.Tab("Results", id="results"):
            gr.Markdown("the results")
    runner.start()
    _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, **theme.launch())
    try:
        yield url
    finally:
        for job in runner.list(("queued", "running")):
            runner.cancel(job.id)
        until(lambda: not runner.list(("running",)))
        page.close()
        runner.close()


@pytest.fixture
def runner(fresh: Settings) -> Runner:
    return local_runner(fresh.data_dir)


def public(folder: Path, token: str | None = None) -> Settings:
    return settings_in(folder, host="0.0.0.0", jobs_token=token)


def test_a_person_starts_a_fine_tune_watches_reloads_and_evaluates_what_it_made(
    runner: Runner, chromium: Any
) -> None:
    from playwright.sync_api import expect

    with page_of(runner) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_role("tab", name="Jobs").click()
        page.get_by_label("Epochs").first.fill("20")
        page.get_by_label("Epochs").first.blur()
        expect(page.get_by_text("--epochs=20").first).to_be_visible()
        page.get_by_role("button", name="Start fine-tune").click()
        expect(page.locator("#jobs-queue tbody tr")).to_have_count(1)
        expect(page.locator("#jobs-head .state.running")).to_be_visible()
        expect(page.locator("#jobs-body polyline")).to_be_visible()
        first = page.locator("#jobs-body figcaption b").inner_text()
        expect(page.locator("#jobs-body figcaption b")).not_to_have_text(first)
        page.reload()
        page.get_by_role("tab", name="Jobs").click()
        expect(page.locator("#jobs-head .state.succeeded")).to_be_visible(timeout=15_000)
        assert "step 20 of 20" in page.get_by_label("Log").input_value()
        page.get_by_role("button", name="Open in Compare").click()
        expect(page.get_by_label("200 samples", exact=True)).to_be_checked()
        page.get_by_role("tab", name="Jobs").click()
        page.get_by_role("tab", name="Evaluation").click()
        page.get_by_label("Training samples").last.fill("200")
        page.get_by_label("Training samples").last.press("Enter")
        expect(
            page.get_by_text("--subset-size=200 ").or_(page.get_by_text("--subset-size=200")).last
        ).to_be_visible()
        page.get_by_role("button", name="Start evaluation").click()
        expect(page.locator("#jobs-head h3")).to_have_text("Evaluate 200 · regular")
        expect(page.locator("#jobs-head .state.succeeded")).to_be_visible(timeout=15_000)
        page.get_by_role("button", name="Open in Results").click()
        expect(page.get_by_text("the results")).to_be_visible()
        page.close()
    assert [(job.kind, job.state) for job in runner.list()] == [
        ("evaluate", "succeeded"),
        ("finetune", "succeeded"),
    ]


def test_a_running_job_is_cancelled_and_resumed_with_the_tabs_buttons(runner: Runner, chromium: Any) -> None:
    from playwright.sync_api import expect

    job = runner.submit("count", {"to": 2000})
    with page_of(runner) as url:
        page = chromium.new_page()
        page.goto(url)
        page.get_by_role("tab", name="Jobs").click()
        until(lambda: runner.progress(job.id))
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#jobs-head .state.cancelled")).to_be_visible(timeout=15_000)
        page.get_by_role("button", name="Resume").click()
        until(lambda: runner.status(job.id).state == "running" and runner.status(job.id).attempt == 2)
        expect(page.locator("#jobs-head .state.running")).to_be_visible(timeout=15_000)
        page.close()


def test_the_api_submits_shows_and_cancels(runner: Runner) -> None:
    with page_of(runner) as url:
        client = Client(url, verbose=False)
        asked = {"subset_size": 100, "prompt": "regular", "epochs": 1}
        row = client.predict(**asked, api_name="/submit_finetune")
        assert row["command"].startswith("python -m tests.verbs.finetune")
        assert client.predict(**asked, api_name="/submit_finetune")["id"] == row["id"]
        ended(runner, runner.status(row["id"]))
        found = client.predict(row["id"], api_name="/job")
        assert found["job"]["state"] == "succeeded"
        assert found["job"]["result"]["checkpoint"] == "100-regular"
        assert found["reports"][0]["loss"] == 2.0
        assert "step 1 of 1" in found["log"]
        evaluation = client.predict("100", samples=2, api_name="/submit_evaluation")
        sweep = client.predict("100,200", prompts="regular", samples=2, api_name="/submit_sweep")
        assert client.predict(sweep["id"], api_name="/cancel_job")["id"] == sweep["id"]
        ids = [job["id"] for job in client.predict(api_name="/jobs")]
        assert {row["id"], evaluation["id"], sweep["id"]} <= set(ids)
        for wrong, words in (
            ({"subset_size": 0}, "from 1 to"),
            ({"subset_size": 5, "family": "gpt"}, "no model family"),
        ):
            with pytest.raises(AppError, match=words):
                client.predict(**wrong, api_name="/submit_finetune")


def test_on_a_public_address_the_server_launches_nothing_without_its_token(runner: Runner) -> None:
    runner.settings = public(runner.settings.data_dir, token="the-token")
    with page_of(runner) as url:
        client = Client(url, verbose=False)
        for token in ("", "wrong"):
            for name, arguments in (
                ("/submit_finetune", [100]),
                ("/submit_evaluation", []),
                ("/submit_sweep", ["100"]),
            ):
                with pytest.raises(AppError, match="jobs token"):
                    client.predict(*arguments, token=token, api_name=name)
        assert runner.list() == []
        job = client.predict(100, token="the-token", api_name="/submit_finetune")
        with pytest.raises(AppError, match="jobs token"):
            client.predict(job["id"], api_name="/cancel_job")


def test_who_may_launch(tmp_path: Path) -> None:
    assert may_launch(settings_in(tmp_path), None)
    assert not may_launch(settings_in(tmp_path, on_space=True), None)
    assert not may_launch(public(tmp_path), "")
    assert not may_launch(public(tmp_path, "secret"), None)
    assert not may_launch(public(tmp_path, "secret"), "sécret")
    assert may_launch(public(tmp_path, "secret"), "secret")
    with pytest.raises(LabError, match="RCL_JOBS_TOKEN"):
        require_launch(public(tmp_path), None)


def test_the_form_shows_the_very_command_that_will_run(runner: Runner) -> None:
    given = {"subset_size": 300, "prompt": "augmented", "seed": 7}
    shown = preview(Lab(runner.settings), runner, "finetune", given)
    job = runner.submit("finetune", given)
    line = shlex.join(["python", *job.command[1:]])
    assert line == "python -m tests.verbs.finetune --subset-size=300 --prompt=augmented --seed=7"
    assert line in shown


def test_a_form_that_makes_no_sense_says_why_before_it_is_sent(runner: Runner) -> None:
    lab = Lab(runner.settings)
    assert "subset-size" in preview(lab, runner, "finetune", {"subset_size": None, "prompt": "regular"})
    assert "no checkpoint" in preview(lab, runner, "evaluate", {"subset_size": "123"})
    assert "is no size" in preview(lab, runner, "sweep", {"sizes": "<b>"})
    assert "<b>" not in preview(lab, runner, "sweep", {"sizes": "<b>"})


def test_an_estimate_says_whether_it_is_rough_or_measured_here(runner: Runner) -> None:
    asked = runner.prepare("finetune", {"subset_size": 100, "prompt": "regular", "epochs": 20}).arguments
    assert "rough" in estimate(runner, "finetune", asked).basis
    llama = {**asked, "family": "llama-3.1-8b"}
    assert estimate(runner, "finetune", llama).seconds is None
    runner.start()
    ended(runner, runner.submit("finetune", {"subset_size": 100, "prompt": "regular", "epochs": 10}))
    runner.close()
    found = estimate(runner, "finetune", asked)
    assert "the last job" in found.basis
    assert found.seconds == pytest.approx(2.5, abs=2)  # 20 epochs of a tenth of a second, and the start


def test_text_from_a_job_is_shown_as_text(runner: Runner) -> None:
    job = Job("1", "count", {"to": 1}, ("python", "<i>"), "k", state="failed", owner="<b>", reason="<script>")
    shown = jobs_view.queue([job], "", 0.0) + jobs_view.head(job) + jobs_view.body(job, [], [], "<u>", 0.0)
    assert not [tag for tag in ("<i>", "<b>", "<script>", "<u>") if tag in shown]


def test_a_curve_is_drawn_from_two_points_on(runner: Runner) -> None:
    reports = [{"fraction": step / 4, "step": step, "loss": 1 / step} for step in range(1, 5)]
    assert jobs_view.curve(reports[:1]) == ""
    assert "Loss: <b>0.250</b>" in jobs_view.curve(reports)
    broken = [*reports, {"fraction": 1.0, "step": 5, "loss": float("nan")}]
    assert "nan" not in jobs_view.curve(broken)
