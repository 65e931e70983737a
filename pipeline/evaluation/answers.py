"""An attempt as plain data: the same for the API, the terminal and the export of a comparison.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

from typing import TypedDict

from pipeline.schema import Attempt, Score
from pipeline.scoring import in_order


class ScoreRow(TypedDict):
    """A score; where ``value`` is null it is unscored, and ``reason`` says why."""

    metric: str
    value: float | None
    reason: str | None


class Answer(TypedDict):
    """One column's answer so far; ``finish_reason`` is null while it is being written."""

    column: str
    fingerprint: str
    text: str
    code: str
    tokens: int
    seconds: float
    finish_reason: str | None
    trimmed: str
    note: str
    error: str
    scores: list[ScoreRow]


def as_answer(attempt: Attempt) -> Answer:
    """Return an attempt as data."""
    completion = attempt.completion
    return {
        "column": attempt.column.key,
        "fingerprint": completion.fingerprint if completion else attempt.column.checkpoint.fingerprint,
        "text": completion.text if completion else "",
        "code": attempt.code,
        "tokens": completion.tokens if completion else 0,
        "seconds": completion.seconds if completion else 0.0,
        "finish_reason": completion.finish_reason if completion else None,
        "trimmed": attempt.trimmed,
        "note": completion.note if completion else "",
        "error": attempt.error,
        "scores": [as_score_row(attempt.scores[name]) for name in in_order(attempt.scores)],
    }


def as_score_row(score: Score) -> ScoreRow:
    """Return a score as data."""
    return {"metric": score.metric, "value": score.value, "reason": score.reason}
