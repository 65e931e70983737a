"""The one interface of every metric."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.schema import Column, Score


@dataclass(frozen=True, slots=True)
class Candidate:
    """A completion to be scored.

    Attributes:
        instruction: what was asked.
        text: the raw completion.
        code: the code extracted from it (``pipeline.scoring.extract``).
        reference: the dataset's function, None for a free instruction.
        prompt: the rendered prompt that the model saw.
        column: which checkpoint wrote it, for metrics that ask the model itself.
    """

    instruction: str
    text: str
    code: str
    reference: str | None = None
    prompt: str = ""
    column: Column | None = None


class Scorer(Protocol):
    """A metric, or a few that share their work."""

    @property
    def metrics(self) -> tuple[str, ...]:
        """Names of the scores that it gives, each with its encoder or judge."""
        ...

    @property
    def needs_reference(self) -> bool:
        """Whether a candidate without a reference cannot be scored."""
        ...

    def score(self, candidates: Sequence[Candidate]) -> list[list[Score]]:
        """Score a batch: for each candidate one ``Score`` for each of ``metrics``, in their order.

        What cannot be scored comes back with ``value=None`` and a reason; nothing is raised for it.
        """
        ...
