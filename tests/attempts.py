"""Attempts as tests need them: a task, and what was written for it."""

from __future__ import annotations

from pipeline.generation import Request
from pipeline.schema import Attempt, Checkpoint, Column, Completion, Task

BASELINE = Column(Checkpoint("smollm2-135m", "baseline"), "regular")


def attempt(
    instruction: str,
    text: str,
    code: str,
    reference: str | None = None,
    prompt: str = "",
    column: Column = BASELINE,
) -> Attempt:
    """A complete attempt by ``column``."""
    completion = Completion(column.checkpoint.fingerprint, text, 1, "stop", 0.1)
    return Attempt(Task(instruction, reference=reference), column, prompt, completion=completion, code=code)


def request_for(column: Column, prompt: str) -> Request:
    """A row of a batch, as the one path asks for it."""
    return Request(column.checkpoint, prompt, f"{column.key}\0{prompt}")
