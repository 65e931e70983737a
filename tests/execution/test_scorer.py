"""Execution as a metric, in an evaluation and for single attempts."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evaluation.attempts import add_scores
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.tasks import task_from_sample
from pipeline.schema import Attempt, Checkpoint, Column, Completion, LabError, Score, Task
from pipeline.scoring.execution import sandbox
from pipeline.scoring.execution.suites.metric import Execution, executions
from pipeline.scoring.execution.suites.suite import TestSuite, load_suite
from pipeline.settings import Settings
from ui.executed import executed

confined = pytest.mark.skipif(bool(sandbox.unavailable()), reason="this system cannot confine a process")
METRIC = "execution (HumanEval)"
COLUMN = Column(Checkpoint("smollm2-135m", "baseline"), "regular")


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> TestSuite:
    return load_suite(Settings(tmp_path_factory.mktemp("data")), "humaneval")


def attempt(task: Task, code: str) -> Attempt:
    return Attempt(task, COLUMN, "prompt", completion=Completion("", code, 1, "stop", 0.0), code=code)


def scored(execution: Execution, attempts: list[Attempt]) -> list[Attempt]:
    return add_scores([execution], attempts)


@confined
def test_a_pass_is_1_and_a_failure_0_with_its_reason(suite: TestSuite) -> None:
    sample = suite.dataset.test[0]
    task = task_from_sample(sample)
    codes = [sample.function, "def has_close_elements(numbers, threshold):\n    return True"]
    right, wrong = (a.scores[METRIC] for a in scored(Execution(suite), [attempt(task, c) for c in codes]))
    assert (right.value, right.details["verdict"]) == (1.0, "passed")
    assert (wrong.value, wrong.details["verdict"]) == (0.0, "failed")
    assert "which gave True" in wrong.details["why"]


@confined
def test_a_sample_without_tests_gets_no_score(suite: TestSuite) -> None:
    own = attempt(Task("write f"), "def f(): pass")
    other = attempt(replace(task_from_sample(suite.dataset.test[0]), sample_id="other"), "def f(): pass")
    failed = replace(own, error="the prompt does not fit", completion=None)
    assert [a.scores for a in scored(Execution(suite), [own, other, failed])] == [{}, {}, {}]


def test_where_nothing_confines_a_candidate_its_score_says_so(
    suite: TestSuite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (done,) = scored(Execution(suite), [attempt(task_from_sample(suite.dataset.test[0]), "pass")])
    assert done.scores[METRIC].value is None
    assert "RCL_UNSAFE_EXECUTION=1" in (done.scores[METRIC].reason or "")


def test_a_suite_is_a_dataset_of_test_samples(tmp_path: Path) -> None:
    dataset = load_dataset(Settings(tmp_path), "humaneval")
    assert (len(dataset.train), len(dataset.test)) == (0, 164)
    assert dataset.get("HumanEval/7").function_name == "filter_by_substring"
    assert [sample.id for sample in dataset.search("filter_by_substring")] == ["HumanEval/7"]
    with pytest.raises(LabError):
        dataset.get("HumanEval/164")


def test_the_augmented_prompt_of_humaneval_shows_the_signature_as_a_file(suite: TestSuite) -> None:
    task = task_from_sample(suite.dataset.test[0])
    assert task.context.before.endswith('    """\n')
    assert task.context.after == ""
    assert "def has_close_elements" in task.instruction


@confined
def test_a_page_shows_why_an_answer_fails_and_which_calls_differ(suite: TestSuite) -> None:
    code = "def has_close_elements(numbers, threshold):\n    open\n    return '<b>'"
    (done,) = scored(Execution(suite), [attempt(task_from_sample(suite.dataset.test[0]), code)])
    page = executed(done.scores.values())
    assert "Tests: failed" in page
    assert "which gave &#x27;&lt;b&gt;&#x27;" in page
    assert "uses open, so it may have reached the reference" in page
    call = {"call": "f('<i>')", "expected": "1", "got": "2", "wrong": "", "same_exception": True}
    details = {"verdict": "failed", "why": "x", "flags": [], "calls": 3, "passed_calls": 2, "wrong": [call]}
    page = executed([Score("execution (packages)", 0.0, details=details), Score("chrF", 1.0)])
    assert "2 of 3 calls as the reference" in page
    assert "f(&#x27;&lt;i&gt;&#x27;)" in page


def test_only_datasets_with_a_suite_are_executed(tmp_path: Path) -> None:
    assert not executions(Settings(tmp_path), "arxivdl")
    (execution,) = executions(Settings(tmp_path), "humaneval")
    assert execution.metrics == (METRIC,)
