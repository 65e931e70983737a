"""Instruction and reference of the samples of shipped runs, read by id from the installed packages.

The repository holds no text of others. A shipped run has the hash of each sample's instruction and reference
instead, so that another version of a package cannot pass for the one that was evaluated.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from functools import lru_cache

from pipeline.evaluation.datasets import read_sample
from pipeline.evaluation.runs import Run
from pipeline.schema import Task


def text_digest(instruction: str, reference: str | None) -> str:
    """Return the first 16 hex digits of the SHA-256 of a sample's instruction and reference."""
    return hashlib.sha256(json.dumps([instruction, reference]).encode()).hexdigest()[:16]


def digest_of(task: Task) -> str:
    """Return the digest of a task's texts, which are there or have been replaced by it."""
    return task.digest or text_digest(task.instruction, task.reference)


def with_texts(dataset: str, task: Task) -> Task:
    """Return a stored task with instruction and reference; if they cannot be read, with the reason.

    Args:
        dataset: the name of the run's dataset.
        task: of one of the run's attempts. If its texts were stored with it, it is returned as it is.
    """
    if not task.digest:
        return task
    texts = _read_texts(dataset, task.sample_id or "")
    if texts is None:
        return replace(task, problem=_problem(task, "which is not installed here or does not have it"))
    if text_digest(*texts) != task.digest:
        return replace(task, problem=_problem(task, "and the version installed here has another text"))
    return replace(task, instruction=texts[0], reference=texts[1])


def count_readable(run: Run) -> int:
    """Return how many of the run's attempts have an instruction and a reference that can be read here."""
    tasks = (attempt.task for attempt in run.attempts.values())
    return sum(not with_texts(run.config.dataset, task).problem for task in tasks)


@lru_cache(maxsize=2048)
def _read_texts(dataset: str, sample_id: str) -> tuple[str, str] | None:
    sample = read_sample(dataset, sample_id)
    return (sample.prompt, sample.function) if sample else None


def _problem(task: Task, why: str) -> str:
    return (
        f"The instruction and the reference of this sample cannot be shown: they come from the package "
        f"{task.repo}, {why}. Answers and scores are as they were stored. To read the sample, install the "
        "versions that were evaluated: pip install -r requirements.txt -c constraints.txt."
    )
