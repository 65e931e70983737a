"""The engine of a Hugging Face ZeroGPU Space, where a GPU is there only inside decorated calls.

Such a call runs in a process of its own, which Spaces keeps for some time. The model is loaded there; this
process has its tokenizer alone. transformers writes: to compile would take longer than it saves in a call of
seconds. Spaces must be imported before torch and see the decorated functions before the app is served, so
``app.py`` imports this module first.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

import spaces

from pipeline.generation.engine import Engine, Request
from pipeline.generation.line import Line, PlaceInLine, Turn
from pipeline.generation.local_engine import open_local_engine
from pipeline.generation.prompt_writer import PromptWriter
from pipeline.generation.prompts import Prompt
from pipeline.generation.tokenization import prepare_tokenizer
from pipeline.models.families import Family, get_family
from pipeline.models.weights import base_model_dir
from pipeline.schema import Completion, Context, LabError, Progress, PromptVariant, SamplingParams
from pipeline.settings import Settings

_ROWS = 16  # requests in one call
_LOADING, _STEP, _READING = 20.0, 0.05, 0.2
"""Seconds that are asked for: to load the model, for each token of the rows, and for each reference."""
_MOST = 120  # seconds that Spaces gives to one call, if it is not asked for longer
_PLAIN = "a ZeroGPU call is too short to compile in"


@cache
def engine_in_call(family: str) -> Engine:
    """The family's engine in the process of the calls."""
    settings = Settings.from_env()
    return open_local_engine(settings, get_family(settings, family), plain=_PLAIN)


def _seconds_to_write(family: str, requests: Sequence[Request], sampling: SamplingParams) -> int:
    return min(_MOST, math.ceil(_LOADING + _STEP * sampling.max_new_tokens))


@spaces.GPU(duration=_seconds_to_write)
def _write(
    family: str, requests: Sequence[Request], sampling: SamplingParams
) -> Iterator[list[Completion] | str]:
    """Generate. An error is handed on as its text: Spaces keeps only the names of exceptions."""
    try:
        yield from engine_in_call(family).stream(requests, sampling, Turn(""))
    except LabError as error:
        yield str(error)


def _seconds_to_read(family: str, requests: Sequence[Request], references: Sequence[str]) -> int:
    return min(_MOST, math.ceil(_LOADING + _READING * len(references)))


@spaces.GPU(duration=_seconds_to_read)
def _read(
    family: str, requests: Sequence[Request], references: Sequence[str]
) -> Sequence[float | LabError] | str:
    try:
        return engine_in_call(family).bits_per_byte(requests, references)
    except LabError as error:
        return str(error)


@dataclass
class ZeroGpuEngine:
    """Generates in decorated calls, a visitor's rows in one (see ``Engine``)."""

    family: Family
    prompts: PromptWriter
    _line: Line = field(default_factory=lambda: Line(_ROWS))

    def describe(self) -> str:
        """The family and where it runs."""
        return f"{self.family.title.partition(' (')[0]} · ZeroGPU · transformers ({_PLAIN})"

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion."""
        return self.prompts.render(instruction, variant, context, sampling)

    def place(self) -> PlaceInLine | None:
        """See ``Engine.place``."""
        return self._line.place()

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests in one call; see ``Engine.stream``."""
        completions = [Completion(each.checkpoint.fingerprint, "", 0, None, 0.0) for each in requests]
        with self._line.seat(turn or Turn(), len(requests), 1, sampling.max_new_tokens) as seat:
            for _ in self._line.wait(seat):
                yield completions
            if self._line.runs(seat):
                for news in _write(self.family.name, requests, sampling):
                    if isinstance(news, str):
                        raise LabError(news)
                    completions, seat.seen = news, time.monotonic()
                    yield completions
                    if seat.turn.leaving.is_set():
                        break
        yield [c if c.finish_reason else replace(c, finish_reason="cancelled") for c in completions]

    def bits_per_byte(
        self, requests: Sequence[Request], references: Sequence[str]
    ) -> Sequence[float | LabError]:
        """See ``Engine.bits_per_byte``."""
        found = _read(self.family.name, requests, references)
        if isinstance(found, str):
            raise LabError(found)
        return found


def open_zero_gpu_engine(
    settings: Settings, family: Family, progress: Progress | None = None
) -> ZeroGpuEngine:
    """Bring the family's base model here, and read its tokenizer.

    Raises:
        LabError: the base model cannot be loaded.
    """
    from transformers import AutoTokenizer

    source = base_model_dir(settings, family, progress)
    tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    prepare_tokenizer(tokenizer)
    return ZeroGpuEngine(family, PromptWriter(family, tokenizer))
