"""The Jobs tab and its API: a real client on a page of it, with the tests' own verbs."""

from __future__ import annotations

import inspect
import json
import re
import shlex
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.command_line.signature import Verb, job_parameters
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.jobs_kit import ended, fake_gpus, local_runner, settings_in
from tests.jobs_page import page_of
from training.finetune import finetune
from training.jobs import Job, Runner, open_runner
from training.jobs.admission import Caller, may_launch, require_launch
from training.jobs.time_estimate import estimate
from training.sweep import VERBS, sweep
from ui.api.jobs import submission
from ui.jobs import job_html
from ui.jobs import sweep_grid as jobs_sweep
from ui.jobs.curve import curve_of, plot
from ui.jobs.forms import build as build_form
from ui.jobs.look import redraw
from ui.jobs.preview import preview
from ui.jobs.saved import read_settings
from ui.lab import Lab


@pytest.fixture
def runner(fresh: Settings) -> Runner:
    return local_runner(fresh.data_dir)


def public(folder: Path, token: str | None = None) -> Settings:
    return settings_in(folder, host="0.0.0.0", jobs_token=token)


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
        assert found["job"]["result"]["checkpoint"] == "100-regular-epochs1"
        assert found["reports"][0]["loss"] == 2.0
        assert "step 1 of 1" in found["log"]
        evaluation = client.predict(
            checkpoint="100-regular-epochs1", samples=2, api_name="/submit_evaluation"
        )
        sweep = client.predict("100,200", "regular", epochs=1, samples=2, api_name="/submit_sweep")
        assert client.predict(sweep["id"], api_name="/cancel_job")["id"] == sweep["id"]
        ids = [job["id"] for job in client.predict(api_name="/jobs")]
        assert {row["id"], evaluation["id"], sweep["id"]} <= set(ids)
        for wrong, words in (
            ({"subset_size": 0}, "from 1 to"),
            ({"subset_size": 5, "family": "gpt"}, "no model family"),
            ({"subset_size": True}, "subset_size must be a whole number"),
            ({"subset_size": 5, "epochs": 2.5}, "epochs must be a whole number"),
            ({"subset_size": 5, "epochs": None}, "epochs is empty: it must be a whole number"),
            ({"subset_size": 5, "max_steps": False}, "max_steps must be a whole number"),
            ({"subset_size": 5, "token": 7}, "token must be a text, not 7"),
        ):
            with pytest.raises(AppError, match=words):
                client.predict(**wrong, api_name="/submit_finetune")
        with pytest.raises(AppError, match="state"):
            client.predict("sleeping", api_name="/jobs")
        with pytest.raises(AppError, match="limit must be 0 or more"):
            client.predict(limit=-1, api_name="/jobs")


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
    assert may_launch(settings_in(tmp_path), Caller(local=True))
    assert not may_launch(settings_in(tmp_path), Caller(local=False))
    assert not may_launch(public(tmp_path), Caller(local=False))
    assert not may_launch(public(tmp_path, "secret"), Caller(local=False))
    assert not may_launch(public(tmp_path, "secret"), Caller(local=False, token="sécret"))
    assert may_launch(public(tmp_path, "secret"), Caller(local=False, token="secret"))
    with pytest.raises(LabError, match="RCL_JOBS_TOKEN"):
        require_launch(public(tmp_path), Caller(local=False))


def test_the_form_shows_the_very_command_that_will_run(runner: Runner) -> None:
    given = {"subset_size": 300, "prompt": "augmented", "seed": 7}
    shown = preview(Lab(runner.settings), runner, "finetune", given)
    job = runner.submit("finetune", given)
    line = shlex.join(["python", *job.command[1:]])
    assert line == "python -m tests.verbs.finetune --subset-size=300 --prompt=augmented --seed=7"
    assert f'data-copy="{line}"' in shown
    assert re.sub("<[^>]*>", "", shown).startswith(line)


def test_a_form_that_makes_no_sense_says_why_before_it_is_sent(runner: Runner) -> None:
    lab = Lab(runner.settings)
    assert "Training samples is empty" in preview(lab, runner, "finetune", {"subset_size": None})
    assert "no checkpoint" in preview(lab, runner, "evaluate", {"subset_size": "123"})
    assert "Training-set sizes must be" in preview(lab, runner, "sweep", {"sizes": "<b>"})
    assert "<b>" not in preview(lab, runner, "sweep", {"sizes": "<b>"})


def test_no_form_begins_with_a_checkpoint_that_ships(tmp_path: Path) -> None:
    with gr.Blocks():
        form = build_form(Settings(tmp_path), "finetune", finetune)
    values = {name: component.value for name, component in form.fields.items()}
    runner = open_runner(Settings(tmp_path), VERBS)
    assert "already" not in preview(Lab(Settings(tmp_path)), runner, "finetune", values)
    assert "Replace an existing checkpoint" not in preview(
        Lab(Settings(tmp_path)), runner, "finetune", values
    )


@pytest.mark.parametrize("change", [{"epochs": 2}, {"learning_rate": 1e-4}, {"max_steps": 7}, {}])
def test_a_checkpoint_is_replaced_only_if_the_form_says_so(runner: Runner, change: dict[str, float]) -> None:
    asked: dict[str, Any] = {"subset_size": 100, "prompt": "regular", "name": "mine"}
    runner.start()
    ended(runner, runner.submit("finetune", asked))
    runner.close()
    words = "Replace an existing checkpoint must be set to train mine again"
    assert words in preview(Lab(runner.settings), runner, "finetune", {**asked, **change})
    with pytest.raises(LabError, match="replace must be set"):
        runner.submit("finetune", {**asked, **change})
    for allowed in ({"replace": True}, {"name": "other"}, {"name": None}):
        assert words not in preview(Lab(runner.settings), runner, "finetune", {**asked, **change, **allowed})
    assert runner.submit("finetune", {**asked, "replace": True}).state == "queued"


def test_a_form_says_what_its_job_would_replace_and_what_this_machine_lacks(runner: Runner) -> None:
    lab = Lab(runner.settings)
    asked = {"subset_size": 100, "prompt": "regular", "name": "mine"}
    assert "takes its place" not in preview(lab, runner, "finetune", asked)
    runner.start()
    ended(runner, runner.submit("finetune", asked))
    ended(runner, runner.submit("evaluate", {"checkpoint": "mine", "samples": 2}))
    runner.close()
    assert "takes its place" in preview(lab, runner, "finetune", {**asked, "replace": True})
    assert "takes its place" not in preview(lab, runner, "finetune", {**asked, "name": "other"})
    assert "complete run" in preview(lab, runner, "evaluate", {"checkpoint": "mine", "samples": 2})
    assert "complete run" not in preview(lab, runner, "evaluate", {"checkpoint": "mine", "samples": 3})
    judged = {"checkpoint": "mine", "judge": "naive"}
    assert "needs a key" in preview(lab, runner, "evaluate", judged)
    assert "needs a key" not in preview(lab, runner, "evaluate", judged, {"OPENAI_API_KEY": "sk-x"})
    assert "needs a key" not in preview(lab, runner, "evaluate", {**judged, "judge_model": "smollm2-135m"})


@pytest.mark.parametrize(
    ("gpus", "family", "words"),
    [
        ((), "llama-3.1-8b", "this machine shows none"),
        ((40,), "llama-3.1-8b", "GPU 0: 40 of 80 GB in use, by this page"),
        ((0,), "llama-3.1-8b", ""),
        ((), "smollm2-135m", ""),
    ],
)
def test_a_form_warns_of_a_gpu_that_is_missing_or_that_the_comparison_holds(
    runner: Runner, monkeypatch: pytest.MonkeyPatch, gpus: tuple[int, ...], family: str, words: str
) -> None:
    fake_gpus(monkeypatch, *gpus)
    asked = {"subset_size": 300, "prompt": "regular", "family": family}
    shown = preview(Lab(runner.settings), runner, "finetune", asked)
    assert (words in shown) if words else ("warning" not in shown)


@pytest.mark.parametrize(("kind", "verb"), VERBS.items())
def test_a_submission_takes_the_parameters_of_its_verb_and_a_token(
    tmp_path: Path, kind: str, verb: Verb
) -> None:
    runner = open_runner(settings_in(tmp_path), VERBS)
    taken = inspect.signature(submission(runner, kind)).parameters
    names = [parameter.name for parameter in job_parameters(verb) if not parameter.by_name]
    added_later = [parameter.name for parameter in job_parameters(verb) if parameter.by_name]
    assert list(taken) == [*names, "token", *added_later]


def test_an_estimate_says_whether_it_is_rough_or_measured_here(runner: Runner) -> None:
    asked = runner.prepare("finetune", {"subset_size": 100, "prompt": "regular", "epochs": 20}).arguments
    assert "rough" in estimate(runner, "finetune", asked).basis
    llama = {**asked, "family": "llama-3.1-8b"}
    assert estimate(runner, "finetune", llama).seconds is None
    runner.start()
    job = ended(runner, runner.submit("finetune", {"subset_size": 100, "prompt": "regular", "epochs": 10}))
    runner.close()
    found = estimate(runner, "finetune", asked)
    assert "the last job" in found.basis
    assert found.seconds
    assert job.started
    assert job.finished
    took = job.finished - job.started
    assert 0.9 * took < found.seconds < 2.2 * took  # twice the epochs, and the same start


def test_the_end_of_a_job_of_one_step_says_nothing_of_the_pace(
    runner: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = runner.prepare("finetune", {"subset_size": 100, "prompt": "regular"}).arguments
    job = Job("1", "finetune", asked, ("python",), "k", state="succeeded", started=0.0, finished=400.0)
    monkeypatch.setattr(runner, "list", lambda states: [job])
    reports = [(0.01, 150.0), (0.98, 356.0), (1.0, 400.0)]  # the last 44 s are no 2% of the work
    told = [{"fraction": fraction, "time": time} for fraction, time in reports]
    monkeypatch.setattr(runner, "progress", lambda _: told)
    basis = estimate(runner, "finetune", asked).basis
    assert "rough" in basis
    assert "finished" not in basis


def test_text_from_a_job_is_shown_as_text(runner: Runner) -> None:
    job = Job("1", "count", {"to": 1}, ("python", "<i>"), "k", state="failed", owner="<b>", reason="<script>")
    shown = job_html.queue([job], "", 0.0) + job_html.head(job, 0.0) + job_html.body(job, curve_of([]), "<u>")
    assert not [tag for tag in ("<i>", "<b>", "<script>", "<u>") if tag in shown]


def test_a_sweep_is_a_grid_of_sizes_by_variants_and_seeds(runner: Runner) -> None:
    asked = {"sizes": "baseline,100,20000", "prompts": "regular", "seeds": "43,44", "samples": 2}
    sweep = runner.submit("sweep", asked)
    members = runner.list(sweep=sweep.id)
    shown = jobs_sweep.grid(members[::-1], 0.0)
    heads = re.findall(r'scope="(\w+)">(.*?)</th>', shown)
    assert [text for scope, text in heads if scope == "col"] == [
        "Samples",
        "regular<br>seed 43",
        "regular<br>seed 44",
    ]
    assert [text for scope, text in heads if scope == "row"] == ["baseline", "100", "20,000"]
    assert sorted(re.findall('data-id="([^"]*)"', shown)) == sorted(job.id for job in members)


def test_a_curve_is_drawn_from_two_points_on() -> None:
    reports = [{"fraction": step / 4, "step": step, "loss": 1 / step} for step in range(1, 5)]
    assert not plot(curve_of(reports[:1])).visible
    shown = plot(curve_of(reports))
    assert shown.visible
    assert (shown.x, shown.y) == ("Step", "Loss")
    broken = [*reports, {"fraction": 1.0, "step": 5, "loss": float("nan")}]
    assert curve_of(broken) == curve_of(reports)
    assert curve_of([{"fraction": 0.5, "score": 0.25}]).points == ((50.0, 0.25),)


def test_a_curve_that_the_page_shows_already_is_not_sent_again(runner: Runner) -> None:
    runner.start()
    job = ended(runner, runner.submit("count", {"to": 3}))
    runner.close()
    first = redraw(runner, Caller(local=True), job.id)
    at = next(place for place, each in enumerate(first) if isinstance(each, gr.LinePlot))
    assert redraw(runner, Caller(local=True), job.id, first[at + 1])[at] == gr.skip()


def test_settings_of_a_form_are_read_back_as_they_were_saved(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    asked = {"subset_size": 300, "learning_rate": 1e-4, "lora_r": 16, "scheduler": "cosine", "name": "mine"}
    file.write_text(json.dumps({"verb": "finetune", "arguments": asked}))
    read = read_settings(file, "finetune", finetune)
    assert asked.items() <= read.items()
    assert read["prompt"] == "regular"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("no json", "cannot be read"),
        ('{"verb": "sweep", "arguments": {}}', "no settings of this form"),
        ('{"verb": "finetune", "arguments": {"subset_size": 300, "lora_r": 0}}', "LoRA rank must be"),
        ('{"verb": "finetune", "arguments": {"subset_size": 300, "evil": 1}}', "is not an argument"),
        (" " * 200_000, "more than 100,000 bytes"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.json"
    file.write_text(text)
    with pytest.raises(LabError, match=words):
        read_settings(file, "finetune", finetune)


def test_a_form_starts_on_a_checkpoint_that_does_not_exist_yet(tmp_path: Path) -> None:
    own = tmp_path / "checkpoints" / "smollm2-135m" / "100-regular"
    own.mkdir(parents=True)
    (own / "adapter_config.json").write_text("{}")
    with gr.Blocks():
        form = build_form(Settings(tmp_path), "finetune", finetune)
        of_sweep = build_form(Settings(tmp_path), "sweep", sweep)
    assert form.fields["subset_size"].value == 300  # 200 ships
    assert of_sweep.fields["sizes"].value == "baseline, 300, 600"


def test_empty_fields_of_a_fine_tune_show_the_familys_recipe(tmp_path: Path) -> None:
    with gr.Blocks():
        form = build_form(Settings(tmp_path), "finetune", finetune)
    shown = {name: form.fields[name].placeholder for name in ("learning_rate", "lora_r", "warmup")}
    assert shown == {"learning_rate": "0.002, as usual", "lora_r": "8, as usual", "warmup": "not set"}


def test_titles_tell_what_differs_from_the_defaults(runner: Runner) -> None:
    asked = {"subset_size": 300, "prompt": "regular"}
    assert job_html.title(runner.prepare("finetune", asked)) == "Fine-tune 300 · regular"
    other = runner.prepare("finetune", {**asked, "learning_rate": 1e-4, "lora_r": 16, "epochs": 1})
    assert job_html.title(other) == "Fine-tune 300 · regular · learning rate 1e-4 · rank 16 · epochs 1"
    tested = runner.prepare("evaluate", {"subset_size": "baseline", "suite": "humaneval"})
    assert job_html.title(tested) == "Evaluate baseline · regular · test suite humaneval"
