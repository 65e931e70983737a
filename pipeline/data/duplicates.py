"""Test samples that are copies of training samples, apart from white space at the end of lines."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.schema import counted


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How many test samples are copies of training samples.

    Attributes:
        test: number of all test samples.
        functions: number of test samples with the function of a training sample.
        rows: number of test samples with the prompt and the function of a training sample.
    """

    test: int
    functions: int
    rows: int

    @property
    def note(self) -> str:
        """A sentence with these numbers; empty if there are no copies."""
        if not self.functions:
            return ""
        have = "has" if self.functions == 1 else "have"
        return (
            f"{self.functions:,} of the {counted(self.test, 'test sample')} {have} the same function as a "
            f"training sample, {self.rows:,} with the same prompt. They stay, so that results remain "
            "comparable; a checkpoint may have memorized them."
        )


def copy_key(prompt: str, function: str) -> tuple[int, int]:
    """Return hashes of the function, and of prompt and function; the texts would take too much memory.

    Line ends and white space at the end of lines make no difference.
    """
    function, prompt = (
        "\n".join(line.rstrip() for line in text.strip().splitlines()) for text in (function, prompt)
    )
    return hash(function), hash((prompt, function))


def count_duplicates(train: Iterable[tuple[int, int]], test: Iterable[tuple[int, int]]) -> Duplicates:
    """Count the test samples that are in the training split, from the ``copy_key`` of each sample."""
    functions: set[int] = set()
    rows: set[int] = set()
    for function, row in train:
        functions.add(function)
        rows.add(row)
    of_test = list(test)
    return Duplicates(
        test=len(of_test),
        functions=sum(function in functions for function, _ in of_test),
        rows=sum(row in rows for _, row in of_test),
    )
