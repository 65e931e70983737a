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
VOTES = {"votes": [{"value": None, "reason": HOSTILE, "words": [HOSTILE]}]}


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


def hostile_job(**changes: Any) -> Job:
    """A job with hostile text as every text."""
    names = ("family", "prompt", "sizes", "prompts", "seeds", "subset_size")
    arguments = {**dict.fromkeys(names, HOSTILE), "seed": 43, "training_seed": 43}
    job = Job(
        HOSTILE, HOSTILE, arguments, (HOSTILE, HOSTILE), HOSTILE, backend=HOSTILE, owner=HOSTILE,
        message=HOSTILE, reason=HOSTILE, slot=HOSTILE, sweep=HOSTILE,
    )  # fmt: skip
    return replace(job, **changes)


def hostile_run(run: Run) -> Run:
    """The run with ``HOSTILE`` as every text that the page has no use for but to show it."""
    config = run.config
    texts = {
        field.name: HOSTILE
        for field in fields(config)
        if isinstance(getattr(config, field.name), str) and field.name != "variant"
    }
    ids = {sample: f"{sample}{TAG}" for sample in config.sample_ids}
    others = {"id": f"{config.id}{TAG}", "judges": {HOSTILE: {HOSTILE: HOSTILE}}}
    config = replace(config, **{**texts, **others, "sample_ids": tuple(ids.values())})
    attempts = {ids[key]: hostile_attempt(attempt, ids[key]) for key, attempt in run.attempts.items()}
    return Run(config, attempts, run.path)


def hostile_attempt(attempt: Attempt, sample_id: str) -> Attempt:
    task = Task(HOSTILE, reference=HOSTILE, sample_id=sample_id, repo=attempt.task.repo + TAG)
    scores = [
        *(Score(f"{name} ({TAG})", s.value, s.reason, VOTES) for name, s in attempt.scores.items()),
        Score(f"CodeJudge {TAG}", None, HOSTILE, VOTES),
    ]
    completion = Completion(HOSTILE, HOSTILE, 3, "stop", 1.0)
    return replace(
        attempt, task=task, completion=completion, code=HOSTILE, trimmed=HOSTILE,
        scores={score.metric: score for score in scores},
    )  # fmt: skip
