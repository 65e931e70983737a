"""The evaluation verb as its user runs it: stored, resumed after kill -9, judged by a real server."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from pipeline.command_line.verbs import run_verb
from pipeline.data.arxivdl import load_arxivdl
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.evaluate_columns import EvaluationPlan, evaluate_columns, run_config, summarize
from pipeline.evaluation.store import load_run
from pipeline.evaluation.tasks import task_from_sample
from pipeline.generation import open_engine
from pipeline.generation.torch_engine import load_engine
from pipeline.models.checkpoints import columns
from pipeline.models.families import Family
from pipeline.schema import SamplingParams
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.likelihood import BITS_PER_BYTE
from pipeline.settings import Settings
from tests.judge_server import JudgeServer
from training.evaluate import evaluate as verb
from training.evaluate import original_spelling
from training.jobs.progress import Reporter

KEY = "sk-very-secret-0123456789"
QUICK = ("--subset-size", "baseline", "--max-new-tokens", "6", "--temperature", "0")
# The verb storing two at a time, so that few samples are stored in many steps.
IN_PAIRS = """
from pipeline.evaluation import evaluate_columns
evaluate_columns.LEAST_TOGETHER = evaluate_columns.MOST_TOGETHER = 2
from training.evaluate import main
raise SystemExit(main())
"""


def start(
    settings: Settings, *arguments: str, program: tuple[str, str] = ("-m", "training.evaluate"), **env: str
) -> subprocess.Popen[str]:
    command = [sys.executable, *program, *arguments]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI")}
    environment = {**clean, "RCL_DATA_DIR": str(settings.data_dir), "HF_HUB_OFFLINE": "1", **env}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def runs(settings: Settings) -> list[Path]:
    return list((settings.data_dir / "runs").glob("*/items.jsonl"))


def test_an_evaluation_killed_midway_resumes_without_repeating_a_generation_or_a_paid_judgement(
    fresh_short: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with JudgeServer() as server:
        judge = {"OPENAI_BASE_URL": server.url, "OPENAI_API_KEY": KEY}
        task = (*QUICK, "--samples", "8", "--judge", "naive", "--judge-model", "SmolLM2-135M-Instruct")
        task += ("--judge-temperature", "1", "--judge-max-tokens", "2048")
        process = start(fresh_short, *task, program=("-c", IN_PAIRS), **judge)
        while process.poll() is None and not runs(fresh_short):
            time.sleep(0.05)
        process.kill()
        process.communicate()
        (folder,) = (items.parent for items in runs(fresh_short))
        before = load_run(folder).attempts
        assert 0 < len(before) < 8

        for name, value in {**judge, "RCL_DATA_DIR": str(fresh_short.data_dir)}.items():
            monkeypatch.setenv(name, value)
        assert run_verb(verb, [*task, "--resume"]) == 0
        printed = "".join(capsys.readouterr())
        result = json.loads(next(line for line in printed.splitlines() if line.startswith("{")))
        after = load_run(folder)
        assert after.complete
        assert all(
            after.attempts[sample].completion == attempt.completion for sample, attempt in before.items()
        )
        for sample, attempt in before.items():
            kept = {name: score for name, score in attempt.scores.items() if score.value is not None}
            assert after.attempts[sample].scores | kept == after.attempts[sample].scores
        asked = len(server.requests)
        assert asked == 8
        name = "CodeJudge naive (SmolLM2-135M-Instruct, temperature 1, 2,048 tokens)"
        assert result["scores"][name]["n"] == 8
        sent = server.requests[-1].body
        assert (sent["temperature"], sent["max_tokens"]) == (1, 2048)
        assert after.config.judges[name]["temperature"] == 1
        assert after.config.judges[name]["max_tokens"] == 2048
        assert after.config.command.startswith(f"OPENAI_BASE_URL={server.url} python -m training.evaluate ")
        assert after.config.command.endswith(
            "--judge=naive --judge-model=SmolLM2-135M-Instruct --judge-temperature=1 --judge-max-tokens=2048"
        )
        assert "CodeJudge Score: " in printed
        assert "BERTScore: " in printed
        assert "would judge its own output" in printed

        again = verb(
            "baseline", max_new_tokens=6, temperature=0, samples=8,
            judge="naive", judge_model="SmolLM2-135M-Instruct", judge_temperature=1, judge_max_tokens=2048,
            resume=True,
        )  # fmt: skip
        assert again["run"] == result["run"]
        assert again["scores"].keys() == result["scores"].keys()
        for metric, score in again["scores"].items():
            assert score == pytest.approx(result["scores"][metric], abs=1e-4)  # printed with six digits
        assert len(server.requests) == asked
        assert KEY not in printed
        assert all(KEY.encode() not in file.read_bytes() for file in fresh_short.data_dir.glob("runs/*/*"))


def test_greedy_text_is_the_same_at_any_batch_size(short: Settings, family: Family, tmp_path: Path) -> None:
    """One sample alone against the same in a batch of three; in fp32, as bf16 rounds by the batch's shape."""
    engine = load_engine(short, family, dtype=torch.float32)
    column = columns(short, family)["baseline/regular"]

    def texts(samples: int) -> list[str]:
        plan = EvaluationPlan(
            samples, SamplingParams(0, 0.1, 6), judge=None, resume=False, root=tmp_path / str(samples)
        )
        (run,) = evaluate_columns(short, family, [column], plan, Reporter(), engine)
        return [run.attempts[sample].completion.text for sample in run.config.sample_ids]

    assert texts(1) == texts(3)[:1]


def test_the_original_projects_spelling_is_read(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    words = original_spelling(["--api_key", KEY, "--subset_size", "10,000", "--augmented_prompt"])
    assert words == ["--judge=naive", "--subset-size", "10,000", "--prompt=augmented"]
    assert os.environ["OPENAI_API_KEY"] == KEY
    assert "prefer OPENAI_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [
        (("--subset-size", "1,500"), 'There is no checkpoint "1500/regular"', 1),
        (("--subset-size", "many"), "'baseline' or a number", 2),
        (("--subset-size", "baseline", "--prompt", "other"), "invalid choice", 2),
        (("--subset-size", "baseline", "--family", "gpt-9"), "There is no model family", 1),
        (("--subset-size", "baseline", "--judge", "naive"), "set OPENAI_API_KEY", 1),
    ],
)
def test_a_wrong_argument_is_refused_in_words(
    fresh: Settings, arguments: tuple[str, ...], words: str, code: int
) -> None:
    process = start(fresh, *arguments)
    _, err = process.communicate()
    assert process.returncode == code
    assert words in err
    assert "Traceback" not in err


def test_prompts_that_do_not_fit_are_counted_at_the_start_and_the_others_are_scored(
    short: Settings, family: Family, tmp_path: Path
) -> None:
    engine, column = open_engine(short, family), columns(short, family)["baseline/regular"]
    sampling = SamplingParams(0, 0.1, 6)
    tasks = [task_from_sample(sample) for sample in load_dataset(short, family.dataset).evaluation(3)]
    prompts = [engine.render(task.instruction, "regular", task.context, sampling) for task in tasks]
    lengths = sorted(engine.count_tokens(prompt.text) for prompt in prompts)
    engine = open_engine(short, replace(family, sequence_length=lengths[1] + sampling.max_new_tokens))
    plan = EvaluationPlan(3, sampling, judge=None, resume=False, root=tmp_path)
    said: list[str] = []
    (run,) = evaluate_columns(short, family, [column], plan, lambda _, words: said.append(words), engine)
    (unfit,) = [attempt for attempt in run.attempts.values() if attempt.error]
    assert f"1 of 3 prompts stays unscored. The first reason: {unfit.error}" in said
    assert "this model has room for" in unfit.error
    assert unfit.completion is None
    assert {score.reason for score in unfit.scores.values()} == {unfit.error}
    fit = [attempt for attempt in run.attempts.values() if not attempt.error]
    assert len(fit) == 2
    assert all(set(attempt.scores) == set(unfit.scores) for attempt in fit)
    assert all(attempt.scores[BITS_PER_BYTE].value for attempt in fit)
    assert summarize(run)["scores"][BITS_PER_BYTE]["unscored"] == 1


def test_a_prompt_that_does_not_fit_gets_an_unscored_verdict_so_that_the_run_counts_as_judged(
    fresh_short: Settings, family: Family
) -> None:
    short, sampling = fresh_short, SamplingParams(0, 0.1, 6)
    engine, column = open_engine(short, family), columns(short, family)["baseline/regular"]
    tasks = [task_from_sample(sample) for sample in load_dataset(short, family.dataset).evaluation(3)]
    prompts = [engine.render(task.instruction, "regular", task.context, sampling) for task in tasks]
    lengths = sorted(engine.count_tokens(prompt.text) for prompt in prompts)
    engine = open_engine(short, replace(family, sequence_length=lengths[1] + sampling.max_new_tokens))
    with JudgeServer() as server:
        judge = JudgeConfig("naive", "judge", server.url)
        plan = EvaluationPlan(3, sampling, judge, resume=False, root=short.data_dir / "runs")
        (run,) = evaluate_columns(short, family, [column], plan, lambda *_: None, engine)
    verdicts = run.scores(judge.name)
    assert len(verdicts) == len(run.attempts)
    (unjudged,) = [verdict for verdict in verdicts if verdict.value is None]
    assert "this model has room for" in unjudged.reason


def test_a_temperature_of_0_names_the_same_run_as_one_of_0_point_0(
    short: Settings, family: Family, tmp_path: Path
) -> None:
    data, column = load_dataset(short, family.dataset), columns(short, family)["baseline/regular"]
    plans = [EvaluationPlan(1, SamplingParams(t, 0.1, 2), None, False, tmp_path) for t in (0, 0.0)]
    ids = {run_config(family, column, data, data.evaluation(1), plan).id for plan in plans}
    assert len(ids) == 1


def test_what_a_dataset_says_of_itself_is_said_at_the_start_and_stored_with_the_run(
    short: Settings, family: Family, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = "def f(x):\n    return x"
    row = {"prompt": "Return x.", "function": code, "full_code": code, "file_length": len(code)}
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.Dataset.from_list([row] * 10).to_parquet(tmp_path / "own" / "train.parquet")
    copies = partial(load_arxivdl, source=str(tmp_path / "own"))
    monkeypatch.setattr("pipeline.evaluation.datasets.load_arxivdl", copies)
    plan = EvaluationPlan(1, SamplingParams(0, 0.1, 2), judge=None, resume=False, root=tmp_path / "runs")
    said: list[str] = []
    (run,) = evaluate_columns(
        short,
        replace(family, dataset="arxivdl"),
        [columns(short, family)["baseline/regular"]],
        plan,
        lambda _, words: said.append(words),
    )
    (note,) = run.config.dataset_notes
    assert note.startswith("2 of the 2 test samples have the same function as a training sample")
    assert note in said
    assert summarize(run)["dataset_notes"] == [note]
