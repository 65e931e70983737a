"""What every engine does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.generation.prompts import Prompt
from pipeline.schema import Checkpoint, Completion, Context, PromptVariant, SamplingParams


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a batch: a prompt for one checkpoint.

    Attributes:
        seed_key: with the sampling seed it fixes the row's random numbers, whatever else is in the batch.
    """

    checkpoint: Checkpoint
    prompt: str
    seed_key: str


class Engine(Protocol):
    """Generates for many checkpoints of one family at once."""

    batch_rows: int
    """How many requests at a time keep it busy, for work that is not in a hurry."""

    def describe(self) -> str:
        """The model, its precision and its device, in a few words."""
        ...

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, decoding: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for ``decoding.max_new_tokens``; raises ``LabError``."""
        ...

    def stream(
        self, requests: Sequence[Request], decoding: SamplingParams, cancel: threading.Event | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests in one batch.

        Yields the completions so far, in the order of the requests, after every few tokens; in the last
        list each has its ``finish_reason``. Closing the iterator, or setting ``cancel``, stops early.

        Raises:
            LabError: a checkpoint cannot be used (damaged, missing, of another base), in words.
        """
        ...

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """Bits per UTF-8 byte of each reference given its prompt; lower is better."""
        ...
