"""What version 0.1 (commit 8b9e5f2) wrote and offered still works; ``tests/data/v0.1`` is its data folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import append_attempts, create_run, load_config, load_run, runs_dir
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.generation import Request, open_engine
from pipeline.models.checkpoints import get_column, list_checkpoints
from pipeline.models.families import Family, get_family
from pipeline.models.hub import fetch
from pipeline.schema import SamplingParams, Score
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import Settings
from tests.made_up_runs import bare_settings
from training.jobs import open_runner
from training.sweep import VERBS
from ui.results import tables
from ui.results.presenter import Presenter

WRITTEN = Path(__file__).parent / "data" / "v0.1"
JUDGE = "CodeJudge naive (judge)"


def copy_data(folder: Path) -> None:
    for part in WRITTEN.iterdir():
        if part.is_dir():
            shutil.copytree(part, folder / part.name)


@pytest.fixture
def old(tmp_path: Path) -> Settings:
    """Settings whose data folder is that of version 0.1, and without shipped runs."""
    settings = bare_settings(tmp_path)
    settings.data_dir.mkdir()
    copy_data(settings.data_dir)
    return settings


def judged(settings: Settings) -> Run:
    return next(run for run in StoredRuns(settings).runs() if run.config.variant == "augmented")


def test_its_runs_are_read_whole_with_every_score(old: Settings) -> None:
    cache = RunCache(StoredRuns(old))
    runs = cache.stored.runs()
    assert cache.stored.problems() == []
    assert sorted(run.config.variant for run in runs) == ["augmented", "regular"]
    assert all(run.complete for run in runs)
    assert all(attempt.written and attempt.code for run in runs for attempt in run.attempts.values())
    assert [score.value for score in judged(old).scores(JUDGE)] == [0.0, 0.0]


def test_its_runs_are_shown_and_opened(old: Settings) -> None:
    presenter = Presenter(StoredRuns(old))
    for metric in presenter.runs.setup("").metrics:
        assert presenter.show("", metric)["body"].visible
    setup = presenter.runs.setup("")
    for sample in setup.runs[0].config.sample_ids:
        assert "Compared step by step" in presenter.sample(setup.key, sample, "nothing", "")


def test_the_judge_of_its_runs_is_named_though_its_settings_were_not_stored(old: Settings) -> None:
    assert judged(old).config.judges == {}
    assert f"<td>{JUDGE}</td>" in tables.runs([judged(old)])


def test_its_runs_go_on(old: Settings) -> None:
    run = judged(old)
    create_run(runs_dir(old), run.config)
    first, second = run.attempts.values()
    append_attempts(run.path, [replace(first, scores={"new": Score("new", 1.0)})])
    resumed = load_run(run.path).attempts
    assert resumed[run.config.sample_ids[0]].scores == {**first.scores, "new": Score("new", 1.0)}
    assert resumed[run.config.sample_ids[1]] == second
    assert load_config(run.path) == run.config


def test_its_verdicts_are_not_paid_for_again(old: Settings) -> None:
    """The judge that gave them is gone, so each comes from the cache."""
    config = JudgeConfig("naive", "judge", "http://127.0.0.1:8123/v1")
    client = JudgeClient(config, "", old.data_dir / "judge-cache", timeout=1, patience=1)
    run = judged(old)
    again = CodeJudge(client).score(list(run.attempts.values()))
    assert [score.value for (score,) in again] == [score.value for score in run.scores(JUDGE)]


def test_its_jobs_are_listed_with_their_logs_and_results(old: Settings) -> None:
    runner = open_runner(old, VERBS)
    (job,) = runner.list()
    assert (job.kind, job.state, job.arguments["judge"]) == ("evaluate", "succeeded", "naive")
    assert job.result is not None
    assert job.result["run"] == judged(old).config.id
    assert "judged 2 of 2" in runner.logs(job.id)
    assert runner.progress(job.id)[-1]["message"] == "done"


def test_its_checkpoints_are_listed(old: Settings) -> None:
    trained = {each.name: each for each in list_checkpoints(old, get_family(old, "smollm2-135m"))}
    assert trained["16-regular"].fingerprint == "f141b7d62ebf"


def test_a_checkpoint_that_it_fetched_from_the_hub_is_not_fetched_again(old: Settings) -> None:
    family = get_family(old, "llama-3.1-8b")
    published = next(each for each in list_checkpoints(old, family) if each.name == "200-regular")
    assert fetch(old, family, published) == published
    assert published.path is not None


def test_its_checkpoints_generate(fresh_short: Settings, family: Family) -> None:
    copy_data(fresh_short.data_dir)
    column = get_column(fresh_short, family, "16/regular")
    engine = open_engine(fresh_short, family)
    *_, (completion,) = engine.stream(
        [Request(column.checkpoint, "def add(a, b):", "")], SamplingParams(0, 0, 4), None
    )
    assert (completion.fingerprint, completion.tokens) == ("f141b7d62ebf", 4)


def test_every_call_of_its_api_is_still_one(tmp_path: Path) -> None:
    import app
    from ui.lab import Lab

    settings = Settings(data_dir=tmp_path)
    now = app.build(Lab(settings), open_runner(settings, VERBS)).get_api_info()["named_endpoints"]
    for name, then in json.loads((WRITTEN / "api.json").read_text(encoding="utf-8")).items():
        parameters = now[name]["parameters"]
        assert [each["parameter_name"] for each in parameters][: len(then)] == list(then)
        needed = {each["parameter_name"] for each in parameters if not each["parameter_has_default"]}
        assert needed <= {parameter for parameter, kind in then.items() if kind == "required"}
