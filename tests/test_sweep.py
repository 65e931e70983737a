"""Sweeps: what they plan, what they skip, what a failed member stops, and the command line's run of it."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.evaluation.store import list_runs, load_run
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import get_family
from pipeline.schema import LabError
from tests.jobs_kit import ended, local_runner, settings_in
from training.jobs import Runner
from training.jobs.sweep_plan import evaluated, plan_sweep
from training.jobs.time_estimate import units
from training.sweep import sweep

ASKED = {"sizes": "200,100", "prompts": "regular,augmented", "seeds": "42,43", "samples": 3}
DEFAULTS = {
    "family": "smollm2-135m",
    "epochs": 3,
    "max_steps": None,
    "samples": 3,
    "judge": "none",
    "judge_model": "gpt-4o",
    "votes": 1,
    "judge_temperature": 0.5,
    "judge_max_tokens": 512,
    "prompts": "regular",
    "seeds": "42",
    "replace": False,
}


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = local_runner(tmp_path)
    runner.start()
    yield runner
    runner.close()


def made(runner: Runner) -> set[str]:
    """Names of the checkpoints, and columns of the complete runs, on this data folder."""
    family = get_family(runner.settings, "smollm2-135m")
    runs = [load_run(folder) for folder in list_runs(runner.settings)]
    names = [checkpoint.name for checkpoint in list_checkpoints(runner.settings, family) if checkpoint.path]
    return {*names, *(run.config.column for run in runs if run.complete)}


def test_a_sweep_of_too_many_combinations_is_refused_before_they_are_listed(tmp_path: Path) -> None:
    many = ",".join(map(str, range(1, 201)))
    asked = {**DEFAULTS, "sizes": many, "seeds": many, "prompts": "regular,augmented"}
    began = time.process_time()
    with pytest.raises(LabError, match="80,000 combinations; at most 500"):
        plan_sweep(settings_in(tmp_path), asked)
    assert time.process_time() - began < 1


def test_a_plan_is_every_combination_each_fine_tune_before_its_evaluation(tmp_path: Path) -> None:
    steps = plan_sweep(settings_in(tmp_path), {**DEFAULTS, **ASKED})
    assert len(steps) == 16
    for index, step in enumerate(steps):
        if step.kind == "evaluate":
            assert step.after == index - 1
            tuned = steps[index - 1].arguments
            assert step.arguments["subset_size"] == str(tuned["subset_size"])
            assert step.arguments["training_seed"] == tuned["seed"]
            assert step.arguments["prompt"] == tuned["prompt"]
    assert len({json.dumps(step.arguments) for step in steps}) == 16


def test_the_baseline_is_evaluated_once_a_variant_and_never_trained(tmp_path: Path) -> None:
    steps = plan_sweep(settings_in(tmp_path), {**DEFAULTS, **ASKED, "sizes": "baseline"})
    assert [(step.kind, step.arguments["prompt"]) for step in steps] == [
        ("evaluate", "regular"),
        ("evaluate", "augmented"),
    ]


def test_a_run_whose_samples_are_damaged_counts_as_missing(runner: Runner) -> None:
    ended(runner, runner.submit("evaluate", {"subset_size": "baseline", "samples": 3}))
    asked = {**DEFAULTS, "sizes": "baseline"}
    assert plan_sweep(runner.settings, asked) == []
    (folder,) = list_runs(runner.settings)
    (folder / "items.jsonl.gz").write_bytes(b"no gzip")
    assert [step.kind for step in plan_sweep(runner.settings, asked)] == ["evaluate"]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"sizes": "many"}, "sizes must be .* not 'many'"),
        ({"sizes": "0"}, "sizes must be .* not '0'"),
        ({"sizes": ","}, "sizes must name at least a size"),
        ({"prompts": "formal"}, "prompts must be .* not 'formal'"),
        ({"seeds": "x"}, "seeds must be .* not 'x'"),
        ({"family": "gpt-5"}, "no model family"),
        ({"sizes": "200,99999999"}, "sizes must be .* from 1 to 100,000, not '99999999'"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused_before_anything_is_queued(
    runner: Runner, wrong: dict[str, str], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        runner.submit("sweep", {**ASKED, **wrong})
    assert runner.list() == []


def test_a_sweep_makes_every_checkpoint_and_run_and_then_nothing_is_missing(runner: Runner) -> None:
    job = runner.submit("sweep", {**ASKED, "seeds": "42"})
    assert len(runner.list(sweep=job.id)) == 8
    assert runner.submit("sweep", {**ASKED, "seeds": "42"}).id == job.id
    job = ended(runner, job, 60)
    assert (job.state, job.progress, job.message) == ("succeeded", 1.0, "8 of 8 done (8 succeeded)")
    columns = {f"{size}/{prompt}" for size in (100, 200) for prompt in ("regular", "augmented")}
    assert made(runner) == {*columns, *(column.replace("/", "-") for column in columns)}
    again = runner.submit("sweep", {**ASKED, "seeds": "42"})
    assert (again.state, again.message) == ("succeeded", "nothing was missing")
    assert runner.list(sweep=again.id) == []


def test_only_what_is_missing_is_run_again(runner: Runner) -> None:
    asked = {**ASKED, "prompts": "regular", "seeds": "42"}
    ended(runner, runner.submit("sweep", asked), 60)
    shutil.rmtree(next(folder for folder in list_runs(runner.settings) if "200" in folder.name))
    job = ended(runner, runner.submit("sweep", asked), 60)
    [member] = runner.list(sweep=job.id)
    assert (member.kind, member.arguments["subset_size"]) == ("evaluate", "200")


@pytest.mark.parametrize("votes", [1, 3])
def test_a_judged_run_counts_as_there_for_just_its_votes(runner: Runner, votes: int) -> None:
    asked = {"subset_size": "baseline", "samples": 3, "judge": "naive", "votes": votes}
    job = ended(runner, runner.submit("evaluate", asked, secrets={"OPENAI_API_KEY": "sk-test"}))
    assert evaluated(runner.settings, job.arguments)
    assert not evaluated(runner.settings, {**job.arguments, "votes": 5})
    assert evaluated(runner.settings, {**job.arguments, "judge": "none"})


def test_a_run_judged_with_other_settings_does_not_count_as_there(runner: Runner) -> None:
    asked = {"subset_size": "baseline", "samples": 3, "judge": "naive"}
    job = ended(runner, runner.submit("evaluate", asked, secrets={"OPENAI_API_KEY": "sk-test"}))
    assert evaluated(runner.settings, job.arguments)
    assert not evaluated(runner.settings, {**job.arguments, "judge_temperature": 1.0})
    assert not evaluated(runner.settings, {**job.arguments, "judge_max_tokens": 4096})


def test_a_sweep_hands_its_judge_to_every_evaluation(tmp_path: Path) -> None:
    judge = {
        "judge": "naive", "judge_model": "o3", "votes": 3, "judge_temperature": 1.0, "judge_max_tokens": 4096
    }  # fmt: skip
    steps = plan_sweep(settings_in(tmp_path), {**DEFAULTS, "sizes": "baseline", **judge})
    assert [{name: step.arguments[name] for name in judge} for step in steps] == [judge]


def test_a_run_of_a_test_suite_is_not_one_of_the_familys_dataset(runner: Runner) -> None:
    asked = {"subset_size": "baseline", "samples": 3, "suite": "humaneval"}
    job = ended(runner, runner.submit("evaluate", asked))
    assert evaluated(runner.settings, job.arguments)
    assert not evaluated(runner.settings, {**job.arguments, "suite": "none"})
    assert [step.kind for step in plan_sweep(runner.settings, {**DEFAULTS, "sizes": "baseline"})] == [
        "evaluate"
    ]


def test_a_whole_run_of_a_suite_that_has_fewer_samples_than_are_asked_for_counts_as_there(
    runner: Runner,
) -> None:
    asked = {"subset_size": "baseline", "samples": 164, "suite": "humaneval"}
    job = ended(runner, runner.submit("evaluate", asked), 60)
    assert evaluated(runner.settings, {**job.arguments, "samples": 200})
    assert not evaluated(runner.settings, {**job.arguments, "samples": 100})
    assert units(runner.settings, "evaluate", {**job.arguments, "samples": 200}) == 164


@pytest.mark.parametrize(
    ("otherwise", "name"), [({"max_steps": 1}, "100-regular-steps1"), ({"epochs": 2}, "100-regular-epochs2")]
)
def test_a_sweep_with_other_settings_makes_checkpoints_of_other_names(
    runner: Runner, otherwise: dict[str, int], name: str
) -> None:
    asked = {"sizes": "100", "prompts": "regular", "samples": 3}
    ended(runner, runner.submit("sweep", {**asked, **otherwise}), 60)
    assert made(runner) == {name, f"{name}/regular"}
    steps = plan_sweep(runner.settings, {**DEFAULTS, **asked})
    assert [step.kind for step in steps] == ["finetune", "evaluate"]
    assert plan_sweep(runner.settings, {**DEFAULTS, **asked, **otherwise}) == []


def test_a_sweep_replaces_what_the_family_trains_otherwise_now_only_if_it_may(runner: Runner) -> None:
    asked = {"sizes": "100", "prompts": "regular", "samples": 3}
    ended(runner, runner.submit("sweep", asked), 60)
    families = runner.settings.assets / "families.toml"
    families.write_text(families.read_text().replace("learning_rate = 2e-3", "learning_rate = 1e-4"))
    before = [job.id for job in runner.list()]
    with pytest.raises(LabError, match="replace must be set to train 100-regular again"):
        runner.submit("sweep", asked)
    assert [job.id for job in runner.list()] == before
    steps = plan_sweep(runner.settings, {**DEFAULTS, **asked, "replace": True})
    assert [step.kind for step in steps] == ["finetune", "evaluate"]


def test_a_failed_member_stops_its_own_evaluation_only(runner: Runner) -> None:
    asked = {**ASKED, "sizes": "666,100", "prompts": "regular", "seeds": "42"}
    job = ended(runner, runner.submit("sweep", asked), 60)
    assert job.state == "failed"
    assert job.reason == "Of 4 jobs: 2 failed, 2 succeeded."
    reasons = {member.kind: member.reason for member in runner.list(("failed",), sweep=job.id)}
    assert reasons == {
        "finetune": "This size never works.",
        "evaluate": "Its fine-tune did not succeed.",
    }
    assert made(runner) == {"100-regular", "100/regular"}


def test_cancelling_a_sweep_cancels_all_of_it(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    job = runner.submit("sweep", ASKED)
    runner.cancel(job.id)
    runner.tick()
    assert runner.status(job.id).state == "cancelled"
    assert {member.state for member in runner.list(sweep=job.id)} == {"cancelled"}


def test_what_already_waits_is_not_queued_again_but_waited_for(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    tuning = runner.submit("finetune", {"subset_size": 100, "prompt": "regular"})
    job = runner.submit("sweep", {"sizes": "100", "prompts": "regular", "samples": 3})
    [member] = runner.list(sweep=job.id)
    assert (member.kind, member.needs) == ("evaluate", tuning.id)


def test_a_sweep_that_the_queue_has_no_room_for_is_refused_whole(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    seeds = ",".join(str(seed) for seed in range(130))
    with pytest.raises(LabError, match="500 may"):
        runner.submit("sweep", {**ASKED, "seeds": seeds})
    assert runner.list() == []


def test_the_command_line_runs_the_same_plan(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    runner = local_runner(tmp_path)
    monkeypatch.setattr("training.sweep.open_runner", lambda settings, verbs: runner)
    result = sweep("100", prompts="regular", samples=3)
    assert result["jobs"] == 2
    assert [sorted(found) for found in result["results"]] == [
        ["checkpoint", "fingerprint", "loss", "path"],
        ["column", "path", "run"],
    ]
    assert "2 of 2 done" in capsys.readouterr().err
    assert made(runner) == {"100-regular", "100/regular"}
    with pytest.raises(LabError, match="This size never works"):
        sweep("666", prompts="regular", samples=3)
