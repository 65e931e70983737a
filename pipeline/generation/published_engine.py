"""An engine for a family whose published checkpoints may be adapters or merged models."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipeline.generation.engine import Request
from pipeline.generation.prompts import Prompt
from pipeline.generation.torch_engine import TorchEngine, load_model
from pipeline.schema import Checkpoint, Completion, Context, PromptVariant, SamplingParams


@dataclass
class PublishedEngine:
    """A local engine whose family also has checkpoints on the hub (see ``Engine``).

    Adapters run on the family's one base. A merged model has no base to share: it is loaded beside it, at
    the same precision, when it is first asked for, and its rows make a batch of their own.

    Attributes:
        base: the engine of the family's base model.
        fetch: brings a checkpoint's files here.
        merged: engines of the merged models loaded so far, by fingerprint.
    """

    base: TorchEngine
    fetch: Callable[[Checkpoint], Checkpoint]
    merged: dict[str, TorchEngine] = field(default_factory=dict)
    batch_rows: int = field(init=False)

    def __post_init__(self) -> None:
        """As many rows as the base takes."""
        self.batch_rows = self.base.batch_rows

    def describe(self) -> str:
        """As the base's."""
        return self.base.describe()

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, decoding: SamplingParams
    ) -> Prompt:
        """As the base's: a merged model keeps its tokenizer."""
        return self.base.render(instruction, variant, context, decoding)

    def stream(
        self, requests: Sequence[Request], decoding: SamplingParams, cancel: threading.Event | None = None
    ) -> Iterator[list[Completion]]:
        """One batch for the base and all adapters, then one for each merged model; see ``Engine.stream``."""
        here = [self._here(request) for request in requests]
        completions = [Completion(request.checkpoint.fingerprint, "", 0, None, 0.0) for request in here]
        for engine, rows in self._groups(here):
            for part in engine.stream([here[row] for row in rows], decoding, cancel):
                for row, completion in zip(rows, part, strict=True):
                    completions[row] = completion
                yield list(completions)

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """See ``Engine.bits_per_byte``."""
        here = [self._here(request) for request in requests]
        bits = [0.0] * len(here)
        for engine, rows in self._groups(here):
            found = engine.bits_per_byte([here[row] for row in rows], [references[row] for row in rows])
            for row, value in zip(rows, found, strict=True):
                bits[row] = value
        return bits

    def _here(self, request: Request) -> Request:
        return replace(request, checkpoint=self.fetch(request.checkpoint))

    def _groups(self, requests: Sequence[Request]) -> list[tuple[TorchEngine, list[int]]]:
        """The rows of each model, the base's first."""
        rows: dict[str, list[int]] = {}
        for row, request in enumerate(requests):
            checkpoint = request.checkpoint
            rows.setdefault(checkpoint.fingerprint if checkpoint.is_merged else "", []).append(row)
        return [
            (self._merged(requests[rows[key][0]].checkpoint) if key else self.base, rows[key])
            for key in sorted(rows)
        ]

    def _merged(self, checkpoint: Checkpoint) -> TorchEngine:
        if checkpoint.fingerprint not in self.merged:
            model = load_model(self.base.family, str(checkpoint.path), self.base.dtype)
            self.merged[checkpoint.fingerprint] = TorchEngine(
                self.base.family, model, self.base.tokenizer, merged=True
            )
        return self.merged[checkpoint.fingerprint]
