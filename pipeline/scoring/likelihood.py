"""Reference likelihood: how many bits the checkpoint needs for each byte of the reference, given the prompt.

One forward pass a sample, deterministic, no generation involved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.generation.engine import Engine, Request
from pipeline.schema import Attempt, LabError, Score, Task

BITS_PER_BYTE = "bits per byte"


@dataclass(frozen=True)
class Likelihood:
    """Bits per UTF-8 byte of the reference under the attempt's checkpoint; lower is better."""

    engine: Engine

    metrics = (BITS_PER_BYTE,)
    quick = False

    def applies_to(self, task: Task) -> bool:
        """See ``Scorer``."""
        return task.reference is not None

    def score(self, attempts: Sequence[Attempt]) -> list[list[Score]]:
        """See ``Scorer``."""
        scores = [Score(BITS_PER_BYTE, None, _why_not(attempt)) for attempt in attempts]
        rows = [i for i, score in enumerate(scores) if not score.reason]
        for i, score in zip(rows, self._ask([attempts[i] for i in rows]), strict=True):
            scores[i] = score
        return [[score] for score in scores]

    def _ask(self, attempts: Sequence[Attempt]) -> list[Score]:
        requests = [Request(a.column.checkpoint, a.prompt, seed_key="") for a in attempts]
        references = [a.task.reference or "" for a in attempts]
        try:
            bits = self.engine.bits_per_byte(requests, references) if requests else []
        except LabError as error:
            if len(attempts) == 1:
                return [Score(BITS_PER_BYTE, None, str(error))]
            return [score for a in attempts for score in self._ask([a])]  # one bad row spoils no other
        return [_score(each) for each in bits]


def _score(bits: float | LabError) -> Score:
    if isinstance(bits, LabError):
        return Score(BITS_PER_BYTE, None, str(bits))
    if not math.isfinite(bits):
        return Score(BITS_PER_BYTE, None, f"the model gave {bits}")
    return Score(BITS_PER_BYTE, bits)


def _why_not(attempt: Attempt) -> str | None:
    if not attempt.task.reference:
        return "there is no reference"
    if not attempt.prompt:
        return "the prompt is not known"
    return None
