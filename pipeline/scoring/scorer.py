"""The one interface of every metric."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pipeline.schema import Attempt, Score, Task


class Scorer(Protocol):
    """One metric, or several that are computed together."""

    @property
    def quick(self) -> bool:
        """Whether it takes milliseconds and no model: each answer is then scored as soon as it ends."""
        ...

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the scores that it gives, each with its encoder or judge."""
        ...

    def applies_to(self, task: Task) -> bool:
        """Whether attempts at this task are scored; the others get no score, not even an unscored one."""
        ...

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """Score a batch: for each attempt one ``Score`` for each of ``metrics``, in the same order.

        A score that cannot be computed has ``value=None`` and a reason; no error is raised.
        """
        ...


def score_all(attempts: Sequence[Attempt], scorers: Sequence[Scorer]) -> list[dict[str, Score]]:
    """Return each attempt's scores by metric name, of the metrics that apply to its task."""
    scores: list[dict[str, Score]] = [{} for _ in attempts]
    for scorer in scorers:
        rows = [i for i, attempt in enumerate(attempts) if scorer.applies_to(attempt.task)]
        for i, row in zip(rows, scorer.score([attempts[i] for i in rows]), strict=True):
            scores[i].update((score.metric, score) for score in row)
    return scores
