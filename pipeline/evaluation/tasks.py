"""Tasks from dataset samples and from a visitor's own instruction."""

from __future__ import annotations

from pipeline.evaluation.limits import MAX_INSTRUCTION, check_text
from pipeline.generation.prompts import context_around
from pipeline.schema import Context, LabError, Sample, Task


def task_from_sample(sample: Sample) -> Task:
    """Return the task to write a dataset sample's function."""
    context = context_around(sample.full_code, sample.function)
    return Task(sample.prompt, context, sample.function, sample.id, sample.repo)


def task_from_instruction(instruction: str, code: str = "") -> Task:
    """Return a visitor's own task, with the code of a file for the augmented prompt.

    Raises:
        LabError: the instruction is empty, too long, or not text.
    """
    if not instruction.strip():
        raise LabError("Write an instruction first: what should the code do?")
    check_text("instruction", instruction, MAX_INSTRUCTION)
    check_text("context", code)
    return Task(instruction.strip(), Context(before=code))
