"""Hostile text in every place: it must be shown as text, and never become an element of a page."""

from __future__ import annotations

from dataclasses import fields, replace
from html.parser import HTMLParser
from typing import Any

from pipeline.evaluation.runs import Run
from pipeline.schema import Attempt, Completion, Score, Task
from training.jobs import Job

TAG = "\"'><hostile onload=alert(1)>&amp;"
HOSTILE = TAG + "\ud83d"


class Tags(HTMLParser):
    """Finds the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.add(tag)


def is_text(html: str) -> bool:
    """Whether ``HOSTILE`` is text everywhere, and the page can be sent as UTF-8."""
    return "hostile" not in Tags(html).found and bool(html.encode())


def hostile_job(text: str = HOSTILE, **changes: Any) -> Job:
    """A job with this text as every text."""
    names = ("family", "prompt", "sizes", "prompts", "seeds", "subset_size")
    arguments = {**dict.fromkeys(names, text), "seed": 43, "training_seed": 43}
    job = Job(
        text, text, arguments, (text, text), text, backend=text, owner=text,
        message=text, reason=text, slot=text, sweep=text,
    )  # fmt: skip
    return replace(job, **changes)


def hostile_run(run: Run, text: str = HOSTILE) -> Run:
    """The run with this text as every text that the page has no use for but to show it."""
    config = run.config
    texts = {
        field.name: text
        for field in fields(config)
        if isinstance(getattr(config, field.name), str) and field.name != "variant"
    }
    ids = {sample: f"{sample}{TAG}" for sample in config.sample_ids}
    others: dict[str, Any] = {
        "id": f"{config.id}{TAG}",
        "column": f"{config.column}{TAG}",
        "judges": {text: {text: text}},
    }
    others["recipe"] = {"epochs": 3, text: text}  # without epochs the recipe is unknown
    config = replace(config, **{**texts, **others, "sample_ids": tuple(ids.values())})
    attempts = {ids[key]: hostile_attempt(attempt, ids[key], text) for key, attempt in run.attempts.items()}
    return Run(config, attempts, run.path)


def hostile_attempt(attempt: Attempt, sample_id: str, text: str = HOSTILE) -> Attempt:
    votes = {"votes": [{"value": None, "reason": text, "words": [text]}]}
    task = Task(text, reference=text, sample_id=sample_id, repo=attempt.task.repo + TAG)
    scores = [
        *(Score(f"{name} ({TAG})", s.value, s.reason, votes) for name, s in attempt.scores.items()),
        Score(f"CodeJudge {TAG}", 0.5, None, votes),
        Score(f"unscored {TAG}", None, text, votes),
    ]
    completion = Completion(text, text, 3, "stop", 1.0)
    return replace(
        attempt, task=task, completion=completion, code=text, trimmed=text,
        scores={score.metric: score for score in scores},
    )  # fmt: skip
