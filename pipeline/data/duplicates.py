"""Exact copies of training samples among the test samples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.schema import counted


@dataclass(frozen=True, slots=True)
class Duplicates:
    """How many test samples have a copy in the training split.

    Attributes:
        test: all test samples.
        functions: those whose function is that of a training sample.
        rows: those whose prompt and function are, together, those of a training sample.
    """

    test: int
    functions: int
    rows: int

    @property
    def note(self) -> str:
        """A sentence that says it; empty where there are none."""
        if not self.functions:
            return ""
        have = "has" if self.functions == 1 else "have"
        return (
            f"{self.functions:,} of the {counted(self.test, 'test sample')} {have} the same function as a "
            f"training sample, {self.rows:,} with the same prompt. They stay, so that results remain "
            "comparable; a checkpoint may have memorized them."
        )


def copy_key(prompt: str, function: str) -> tuple[int, int]:
    """Return what two samples share if they are copies: hashes of the function, and of prompt and function.

    Of a large dataset the texts themselves would take gigabytes.
    """
    return hash(function), hash((prompt, function))


def count_duplicates(train: Iterable[tuple[int, int]], test: Iterable[tuple[int, int]]) -> Duplicates:
    """Count the test samples that occur in the training split; both are given by their ``copy_key``."""
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
