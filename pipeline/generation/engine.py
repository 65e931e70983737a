"""The protocol of engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.generation.line import PlaceInLine, Turn
from pipeline.generation.prompts import Prompt
from pipeline.schema import Checkpoint, Completion, Context, LabError, PromptVariant, SamplingParams

ROUNDING_NOTE = (
    "Answers that are written together share a batch. A batch of another size rounds its 16-bit numbers "
    "differently: about one token in a hundred changes, and the text after it. Bits per byte do not "
    "depend on the other answers, and are right to about .01."
)
"""What rounding does to the numbers and texts of an engine, for people."""
INT8 = "int8 weights"
"""In the description of an engine that computes with them, and so in its runs."""


@dataclass(frozen=True, slots=True)
class Request:
    """One row of a batch: a prompt for one checkpoint.

    Attributes:
        seed_key: with the sampling seed it fixes the row's random numbers, independent of the other rows.
    """

    checkpoint: Checkpoint
    prompt: str
    seed_key: str


class Engine(Protocol):
    """Generates for many checkpoints of one family, and for everybody who asks, at once.

    A row's random numbers and its bits per byte do not depend on the other rows. Its text does, greedy text
    included: kernels for another batch shape round differently, which in bf16 changes the most likely token
    at about 1.2% of the positions (SmolLM2-135M and five adapters, alone against a batch of six).
    """

    def describe(self) -> str:
        """The model, its precision and its device, in a few words."""
        ...

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """Render a prompt, trimmed to leave room for ``sampling.max_new_tokens``.

        Raises:
            LabError: the instruction alone does not fit.
        """
        ...

    def place(self) -> PlaceInLine | None:
        """The place in line that a newcomer would get; None if it could start at once."""
        ...

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests beside those of everybody else.

        Yields the completions so far, in the order of the requests, after every few tokens, and while it
        waits in line (``turn.place``); in the last list each has its ``finish_reason``. Without a visitor it
        yields when completions are whole, and the others have no text. Closing the iterator, or setting
        ``turn.leaving``, stops early.

        Raises:
            LabError: a checkpoint cannot be used (damaged, missing, of another base).
        """
        ...

    def bits_per_byte(
        self, requests: Sequence[Request], references: Sequence[str]
    ) -> Sequence[float | LabError]:
        """Bits per UTF-8 byte of each reference given its prompt; lower is better.

        A server's engine gives an error in the place of a row that failed: the others are paid for.

        Raises:
            LabError: a checkpoint cannot be used.
        """
        ...
