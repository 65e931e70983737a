"""The local engine of a family with published checkpoints, which may be adapters or merged models."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

from pipeline.generation.engine import Request
from pipeline.generation.line import PlaceInLine, Turn
from pipeline.generation.model_loading import load_model
from pipeline.generation.prompts import Prompt
from pipeline.generation.torch_engine import TorchEngine
from pipeline.models.fingerprints import FileStates, file_states
from pipeline.schema import Checkpoint, Completion, Context, LabError, PromptVariant, SamplingParams


@dataclass
class PublishedEngine:
    """Generates for a family whose published checkpoints may be adapters or merged models (see ``Engine``).

    Adapters run on the family's one base. A merged model has no base to share: it is loaded beside it, at
    the same precision, when it is first asked for, and its rows make a batch of their own.

    Attributes:
        base: the engine of the family's base model.
        fetch: brings a checkpoint's files here.
        merged: of the merged models loaded so far, by folder, the state of the files and the engine.
    """

    base: TorchEngine
    fetch: Callable[[Checkpoint], Checkpoint]
    merged: dict[Path, tuple[FileStates, TorchEngine]] = field(default_factory=dict)
    _loading: Lock = field(default_factory=Lock)

    def describe(self) -> str:
        """Describe the base's model, precision and device."""
        return self.base.describe()

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """Render as for the base: a merged model keeps its tokenizer."""
        return self.base.render(instruction, variant, context, sampling)

    def place(self) -> PlaceInLine | None:
        """The place in the base's line."""
        return self.base.place()

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """First the base and all adapters, then each merged model; see ``Engine.stream``."""
        local = [self._fetched(request) for request in requests]
        completions = [Completion(request.checkpoint.fingerprint, "", 0, None, 0.0) for request in local]
        for engine, rows in self._groups(local):
            for part in engine.stream([local[row] for row in rows], sampling, turn):
                for row, completion in zip(rows, part, strict=True):
                    completions[row] = completion
                yield list(completions)

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """See ``Engine.bits_per_byte``."""
        local = [self._fetched(request) for request in requests]
        bits = [0.0] * len(local)
        for engine, rows in self._groups(local):
            values = engine.bits_per_byte([local[row] for row in rows], [references[row] for row in rows])
            for row, value in zip(rows, values, strict=True):
                bits[row] = value
        return bits

    def _fetched(self, request: Request) -> Request:
        return replace(request, checkpoint=self.fetch(request.checkpoint))

    def _groups(self, requests: Sequence[Request]) -> list[tuple[TorchEngine, list[int]]]:
        """The rows of each model, the base's first."""
        rows: dict[Path | None, list[int]] = {None: []}
        for row, request in enumerate(requests):
            checkpoint = request.checkpoint
            rows.setdefault(checkpoint.path if checkpoint.is_merged else None, []).append(row)
        groups = [(self.base, rows.pop(None))]
        groups += [(self._merged(requests[own[0]].checkpoint), own) for own in rows.values()]
        return [(engine, own) for engine, own in groups if own]

    def _merged(self, checkpoint: Checkpoint) -> TorchEngine:
        """The engine of a merged model; one whose files have been replaced is loaded again."""
        assert checkpoint.path is not None
        states = file_states(sorted(checkpoint.path.iterdir()))
        with self._loading:
            known, engine = self.merged.pop(checkpoint.path, (None, None))
            if engine is None or known != states:
                engine = None  # so that two versions are not in memory at once
                model = load_model(self.base.family, checkpoint.path, self.base.dtype)
                _check_merged(checkpoint.name, model, self.base.model)
                # A tokenizer of its own, as two threads must not use one.
                engine = TorchEngine(self.base.family, model, deepcopy(self.base.tokenizer), merged=True)
            self.merged[checkpoint.path] = states, engine
            return engine


def _check_merged(name: str, model: Any, base: Any) -> None:
    """Check that a merged model is a fine-tune of the base.

    Raises:
        LabError: it has another architecture or vocabulary, or values that are not finite.
    """
    for field_name in ("model_type", "vocab_size", "hidden_size", "num_hidden_layers"):
        own, expected = (getattr(each.config, field_name, None) for each in (model, base))
        if own != expected:
            raise LabError(
                f"Checkpoint {name} cannot be used here: it is not a fine-tune of the base model "
                f"({field_name}: {own}, not {expected})."
            )
    for tensor_name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise LabError(
                f"Checkpoint {name} cannot be used: {tensor_name} holds values that are not finite."
            )
