"""An attempt as a line of ``items.jsonl``: one JSON object a sample, checked when it is read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs this one up to Python 3.11

from pipeline.evaluation.texts import digest_of
from pipeline.json_files import parse_object, validate
from pipeline.schema import Attempt, Column, Completion, Context, Score, Task
from pipeline.scoring import metric_of
from pipeline.sendable import MEASURED_DIGITS, sendable


class _Vote(TypedDict, total=False):
    value: float | None
    reason: str | None
    words: list[str]


class _Details(TypedDict, total=False):
    """The details of a score that the analysis and the pages read; all others are kept as they are."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]
    votes: list[_Vote]
    flipped: bool
    windows: int


@dataclass(frozen=True)
class _Score:
    metric: str
    value: float | None
    reason: str | None = None
    details: _Details = field(default_factory=_Details)


@dataclass(frozen=True)
class _Line:
    """A line of ``items.jsonl``: with instruction and reference, or with their hash as ``digest``."""

    sample_id: str
    repo: str
    completion: Completion | None
    code: str
    trimmed: str
    scores: Mapping[str, _Score]
    error: str = ""
    instruction: str = ""
    reference: str | None = None
    digest: str = ""


_AS_LINE = TypeAdapter(_Line)
_ROUNDING = 1e-3  # outside a metric's range, by float32: a BERTScore of equal texts
_QUOTE = 16  # characters; a shorter text is no quote of the sample


def to_line(attempt: Attempt) -> str:
    """Return an attempt as a line, with its line end."""
    task = attempt.task
    line = {
        "sample_id": task.sample_id,
        **_texts(task),
        "repo": task.repo,
        "completion": _completion(attempt.completion) if attempt.completion else None,
        "code": attempt.code,
        "trimmed": attempt.trimmed,
        "scores": {name: asdict(_possible(score)) for name, score in attempt.scores.items()},
        "error": attempt.error,
    }
    return as_text(line)


def _completion(completion: Completion) -> dict[str, Any]:
    return {key: value for key, value in asdict(completion).items() if key != "choices"}


def _texts(task: Task) -> dict[str, str | None]:
    if task.digest:
        return {"digest": task.digest}
    return {"instruction": task.instruction, "reference": task.reference}


def as_text(line: Mapping[str, Any]) -> str:
    """Return a line's object as text, with its line end."""
    return json.dumps(sendable(line, MEASURED_DIGITS), ensure_ascii=False) + "\n"


def from_line(text: bytes, column: Column) -> Attempt:
    """Return the attempt that a line holds; raise ``ValueError`` if it cannot be read."""
    line = validate(_AS_LINE, text)
    if line.completion and not math.isfinite(line.completion.seconds + line.completion.seconds_to_first):
        raise ValueError("completion.seconds: it is not finite")
    if not (line.instruction or line.digest):
        raise ValueError("instruction: there is neither the text nor its digest")
    return Attempt(
        task=Task(line.instruction, Context(), line.reference, line.sample_id, line.repo, line.digest),
        column=column,
        trimmed=line.trimmed,
        completion=line.completion,
        code=line.code,
        scores={
            name: _possible(Score(score.metric, score.value, score.reason, score.details))
            for name, score in line.scores.items()
        },
        error=line.error,
    )


def _possible(score: Score) -> Score:
    """Return the score; it becomes unscored if its metric cannot give its value."""
    low, high = metric_of(score.metric).range
    if score.value is None:
        return score
    if not math.isfinite(score.value):
        reason = f"the metric gave {score.value}, which is not a finite number"
    elif not low - _ROUNDING <= score.value <= high + _ROUNDING:
        reason = f"the metric gave {score.value:g}, and its range is {low:g} to {high:g}"
    else:
        return score
    return replace(score, value=None, reason=reason)


def without_texts(line: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Return a line's object with the hash of instruction and reference in their place.

    Where scores repeat one of them word by word, as judges do, its name stands instead.

    Args:
        line: of a run.
        task: the line's, with the texts if they can be read here.
    """
    texts = {"instruction": task.instruction.strip(), "reference": (task.reference or "").strip()}
    quotes = {text: f"[the {name}]" for name, text in texts.items() if len(text) >= _QUOTE}
    longest_first = dict(sorted(quotes.items(), key=lambda quote: -len(quote[0])))
    kept = {name: value for name, value in line.items() if name not in texts}
    return {**kept, "scores": _without(kept["scores"], longest_first), "digest": digest_of(task)}


def _without(value: Any, quotes: Mapping[str, str]) -> Any:
    """The value with all quotes in it replaced, the longest first, since one may hold another."""
    if isinstance(value, str):
        for text, name in quotes.items():
            value = value.replace(text, name)
    if isinstance(value, list):
        return [_without(each, quotes) for each in value]
    if isinstance(value, dict):
        return {name: _without(each, quotes) for name, each in value.items()}
    return value


def is_whole(line: bytes) -> bool:
    """Whether the text is a line to its end."""
    try:
        return bool(parse_object(line))
    except ValueError:
        return False
