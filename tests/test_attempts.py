"""The path from a task to scores: which scores come when, and what the page says meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.evaluation.attempts import compare
from pipeline.generation.prompts import Prompt
from pipeline.schema import Attempt, Checkpoint, Column, Completion, LabError, SamplingParams, Score, Task
from pipeline.scoring.text import CHRF, PARSES, Parses, TextSimilarity
from tests.attempts import BASELINE
from ui.lab import progress_message

TASK = Task("Add.", reference="def add(a, b):\n    return a + b")
TUNED = Column(Checkpoint("smollm2-135m", "200-regular", 200, "regular", fingerprint="abc123"), "regular")


class Writer:
    """An engine whose first row ends before the second; so it takes no model."""

    def render(self, instruction: str, *_: Any) -> Prompt:
        return Prompt(instruction)

    def stream(self, *_: Any) -> Iterator[list[Completion]]:
        done = Completion("", TASK.reference or "", 9, "stop", 0.1)
        yield [done, Completion("", "def", 1, None, 0.1)]
        yield [done, done]


class Dear:
    """A metric that is not quick."""

    metrics, quick = ("dear",), False

    def applies_to(self, task: Task) -> bool:
        return True

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        return [[Score("dear", 1.0)] for _ in attempts]


def test_quick_scores_come_when_an_answer_ends_and_the_others_metric_by_metric() -> None:
    scorers = [TextSimilarity(), Parses(), Dear()]
    metrics = [name for scorer in scorers for name in scorer.metrics]
    sampling = SamplingParams(max_new_tokens=8)
    steps: Any = list(compare(Writer(), scorers, [BASELINE, TUNED], TASK, sampling))  # type: ignore[arg-type]
    assert [attempt.scores.keys() for attempt in steps[1]] == [set(metrics) - {"dear"}, set()]
    assert steps[1][0].scores[CHRF].value == 100
    assert steps[1][0].scores[PARSES].value == 1
    assert all(set(attempt.scores) == set(metrics) for attempt in steps[-1])
    said = list(dict.fromkeys(progress_message(step, sampling, metrics) for step in steps))
    assert said == ["Reading the prompt", "Writing 1 of 8 tokens", "Scoring 5 of 5: dear", ""]


def test_an_attempt_that_failed_has_a_reason_for_each_score() -> None:
    failed = Column(Checkpoint("smollm2-135m", "x"), "augmented")

    class Refusing(Writer):
        def stream(self, requests: Sequence[Any], *_: Any) -> Iterator[list[Completion]]:
            yield [Completion("", "x = 1", 3, "stop", 0.1) for _ in requests]

        def render(self, instruction: str, variant: str, *_: Any) -> Prompt:
            if variant == "augmented":
                raise LabError("It does not fit.")
            return Prompt(instruction)

    *_, (_, last) = compare(Refusing(), [Parses(), Dear()], [BASELINE, failed], TASK, SamplingParams())  # type: ignore[arg-type]
    assert {name: score.reason for name, score in last.scores.items()} == dict.fromkeys(
        (PARSES, "dear"), "It does not fit."
    )
