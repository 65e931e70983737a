"""Reference likelihood: how many bits the checkpoint needs for each byte of the reference, given the prompt.

One forward pass a sample, deterministic, no generation involved.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.generation.engine import Engine, Request
from pipeline.schema import LabError, Score
from pipeline.scoring.scorer import Candidate

BITS_PER_BYTE = "bits per byte"


@dataclass(frozen=True)
class Likelihood:
    """Bits per UTF-8 byte of the reference under the checkpoint that wrote the candidate; lower is better."""

    engine: Engine

    metrics = (BITS_PER_BYTE,)
    needs_reference = True

    def score(self, candidates: Sequence[Candidate]) -> list[list[Score]]:
        """See ``Scorer``."""
        scores = [Score(BITS_PER_BYTE, None, _why_not(candidate)) for candidate in candidates]
        askable = [i for i, score in enumerate(scores) if not score.reason]
        for i, score in zip(askable, self._ask([candidates[i] for i in askable]), strict=True):
            scores[i] = score
        return [[score] for score in scores]

    def _ask(self, candidates: Sequence[Candidate]) -> list[Score]:
        requests = [Request(c.column, c.prompt) for c in candidates if c.column]
        references = [c.reference for c in candidates if c.reference]
        try:
            bits = self.engine.bits_per_byte(requests, references) if requests else []
        except LabError as error:
            if len(candidates) == 1:
                return [Score(BITS_PER_BYTE, None, str(error))]
            return [score for c in candidates for score in self._ask([c])]  # one bad row spoils no other
        return [
            Score(BITS_PER_BYTE, b) if math.isfinite(b) else Score(BITS_PER_BYTE, None, f"the model gave {b}")
            for b in bits
        ]


def _why_not(candidate: Candidate) -> str | None:
    if not candidate.reference:
        return "there is no reference"
    if candidate.column is None or not candidate.prompt:
        return "the checkpoint or the prompt is not known"
    return None
