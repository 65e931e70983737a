"""Execution as a metric: 1 where the code passes its sample's tests, 0 if it does not."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cached_property
from threading import Lock
from typing import Any

from pipeline.schema import Attempt, LabError, Score, Task
from pipeline.scoring.execution.run import ExecutionResult, Executor, sandbox_for
from pipeline.scoring.execution.spec import EXECUTION, Suite, TestSpec
from pipeline.scoring.execution.suites.suite import DATASETS, TestSuite, load_suite
from pipeline.settings import Settings

_WRONG_CALLS_KEPT = 5
_log = logging.getLogger(__name__)


def executions(settings: Settings, dataset: str) -> list[Execution]:
    """The metric that executes answers to samples of a dataset; an empty list if no suite tests them.

    A suite's samples are rows of the dataset of the suite's name.
    """
    suites: dict[str, Suite] = {"packages": "packages", **DATASETS}
    if dataset not in suites:
        return []
    try:
        suite = load_suite(settings, suites[dataset])
    except LabError as error:
        _log.warning("Answers are not executed: %s", error)
        return []
    return [Execution(suite, unsafe=settings.unsafe_execution)]


class Execution:
    """Whether the code passes the tests of its sample; a sample without tests gets no score.

    ``Score.details`` holds ``verdict``, ``why`` (in words, where it does not pass), ``flags`` (why a pass may
    be no evidence), ``calls`` and ``passed_calls`` (their numbers) and ``wrong``: the first calls that
    differ, each with ``call``, ``expected``, ``got`` and how they differ.

    Args:
        suite: the samples and their tests.
        unsafe: whether to execute where the system cannot confine a candidate.
    """

    quick = False

    def __init__(self, suite: TestSuite, *, unsafe: bool = False) -> None:
        self.specs: Mapping[str, TestSpec] = suite.specs
        self.metrics: tuple[str, ...] = (EXECUTION[suite.name],)
        self._unsafe = unsafe
        self._lock = Lock()

    @cached_property
    def _executor(self) -> Executor:
        """Kept, because its sandbox takes seconds to start."""
        return Executor(sandbox_for(self.specs.values(), unsafe=self._unsafe))

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.sample_id in self.specs

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """See ``Scorer``."""
        jobs = [(attempt.code, self.specs[attempt.task.sample_id or ""]) for attempt in attempts]
        try:
            with self._lock:  # it already uses every core
                return [[self._score(result)] for result in self._executor.execute(jobs)]
        except LabError as error:
            return [[Score(self.metrics[0], None, str(error))] for _ in attempts]

    def _score(self, result: ExecutionResult) -> Score:
        if result.verdict == "unscored":
            return Score(self.metrics[0], None, result.reason)
        return Score(self.metrics[0], float(result.verdict == "passed"), details=_details(result))


def _details(result: ExecutionResult) -> dict[str, Any]:
    wrong = [call for call in result.calls if call.wrong]
    return {
        "verdict": result.verdict,
        "why": result.reason,
        "flags": list(result.flags),
        "calls": len(result.calls),
        "passed_calls": len(result.calls) - len(wrong),
        "wrong": [asdict(call) for call in wrong[:_WRONG_CALLS_KEPT]],
        "same_exceptions": all(call.same_exception for call in result.calls),
        "seconds": round(result.seconds, 3),
    }
