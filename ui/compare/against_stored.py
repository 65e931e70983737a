"""A live answer beside the stored one to the same task: a word where its score is another one."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.schema import Attempt, Column
from pipeline.scoring import metric_of
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.scoring.text import CHRF
from ui import numbers


def other_scores(live: Sequence[Attempt], stored: Sequence[Attempt]) -> dict[Column, str]:
    """A sentence on each live answer that scores otherwise than the stored one.

    By its tests where both were executed, else by chrF.
    """
    before = {attempt.column: attempt for attempt in stored if attempt.completion}
    said = {each.column: _other_score(each, before[each.column]) for each in live if each.column in before}
    return {column: sentence for column, sentence in said.items() if sentence}


def _other_score(live: Attempt, stored: Attempt) -> str:
    for name in (*EXECUTION.values(), CHRF):
        was, now = _written(stored, name), _written(live, name)
        if was and now:
            again = "this one was computed anew, and rounding can change an answer"
            what = was if name in EXECUTION.values() else f"has {name} {was}"
            return f"The stored answer {what}: {again}." if was != now else ""
    return ""


def _written(attempt: Attempt, name: str) -> str:
    """A score as it is shown; empty without one."""
    score = attempt.scores.get(name)
    return "" if score is None or score.value is None else numbers.score(score.value, metric_of(name))
