"""The data of the project, as frozen dataclasses."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

PromptVariant = Literal["regular", "augmented", "chat"]
VARIANTS: tuple[PromptVariant, ...] = get_args(PromptVariant)
TrainedVariant = Literal["regular", "augmented"]
TRAINED_VARIANTS: tuple[TrainedVariant, ...] = get_args(TrainedVariant)
"""The variants that adapters are trained with; ``chat`` is for the base model alone."""
FinishReason = Literal["stop", "length", "cancelled"]
DEFAULT_SEED = 42


class LabError(Exception):
    """An error that the user can understand and fix. Its text is shown to the user."""


class FieldError(LabError):
    """A parameter whose value cannot be used.

    Its text starts with the parameter's name in the API; a form shows its own label instead.

    Attributes:
        field: the parameter's name, such as ``max_new_tokens``.
        problem: the rest of the sentence, such as ``must be a number from 0 to 2, not 9.``
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field, self.problem = field, problem

    def __str__(self) -> str:
        return f"{self.field} {self.problem}"


def quoted(value: Any) -> str:
    """A value as JSON writes it, for a message: ``"a text"``, ``false``, ``null``; long ones are cut."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    text = text.encode(errors="backslashreplace").decode()  # half of a character cannot be printed
    return text if len(text) <= 60 else f"{text[:60]}…"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 sample``, ``1,000 samples``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One dataset row.

    ``function`` is the code that a model is asked to write. It is part of ``full_code``; a method is indented
    there and not in ``function`` (see ``pipeline.generation.prompts.context_around``).

    ``needs_class`` marks a method that uses its class: its instruction alone is not enough to write it.
    """

    id: str
    prompt: str
    function: str
    function_name: str
    full_code: str
    file_length: int
    repo: str
    file: str
    needs_class: bool = False


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A family's base model (``baseline``) or a LoRA adapter on it.

    Attributes:
        family: the family's name.
        name: unique in the family: ``baseline``, ``1000-regular``, ``1000-regular-seed43``.
        subset_size: training samples, 0 for the baseline.
        variant: the prompt variant that it was trained with, None for the baseline, which takes all.
        seed: its training seed, None for the baseline and if unknown.
        path: its folder on this machine, None for the baseline and before a download.
        hub_id: where it is published, if it is.
        fingerprint: hash of its adapter files, or a merged model's commit on the hub; empty for the baseline
            and before a download.
        problem: why its files cannot be used, in words; empty if they can.
    """

    family: str
    name: str
    subset_size: int = 0
    variant: TrainedVariant | None = None
    seed: int | None = None
    path: Path | None = None
    hub_id: str | None = None
    fingerprint: str = ""
    problem: str = ""

    @property
    def is_baseline(self) -> bool:
        """Whether this is the base model without an adapter."""
        return self.name == "baseline"

    @property
    def is_merged(self) -> bool:
        """Whether its folder holds a whole model instead of an adapter."""
        return self.path is not None and not (self.path / "adapter_config.json").is_file()


@dataclass(frozen=True, slots=True)
class Column:
    """A checkpoint with a prompt variant: what a comparison shows in one column."""

    checkpoint: Checkpoint
    variant: PromptVariant

    @property
    def key(self) -> str:
        """Its name in the API and in stored runs: ``baseline/regular``, ``1000-seed43/augmented``."""
        return f"{self.checkpoint.name.replace('-' + self.variant, '', 1)}/{self.variant}"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample tokens. ``temperature`` 0 is greedy; ``seed`` fixes each row's draws independently."""

    temperature: float = 0.1
    min_p: float = 0.1
    max_new_tokens: int = 256
    seed: int = DEFAULT_SEED

    @property
    def effective(self) -> SamplingParams:
        """Itself without what has no effect: greedy decoding uses neither min-p nor the seed."""
        return SamplingParams(0.0, 0.0, self.max_new_tokens) if self.temperature == 0 else self


@dataclass(frozen=True, slots=True)
class Completion:
    """Generated text. ``finish_reason`` is None while the text is being generated.

    Attributes:
        fingerprint: of the checkpoint that wrote it.
        text: without the stop token.
        tokens: number of generated tokens.
        seconds: from the start of the batch to this row's end.
        seconds_to_first: from the start of the batch to the first token.
        note: a sentence for the reader on how it was generated; empty if there is nothing to say.
    """

    fingerprint: str
    text: str
    tokens: int
    finish_reason: FinishReason | None
    seconds: float
    seconds_to_first: float = 0.0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Score:
    """A metric's value for one completion, or the reason why there is none.

    Attributes:
        metric: name with its encoder or judge, such as ``BERTScore F1 (MiniLM-L6)``.
        value: None if unscored.
        reason: why it is unscored, as a sentence; None if there is a value.
        details: further results, such as precision and recall, or a judge's votes.
    """

    metric: str
    value: float | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """The code of a file before and after the function to write."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What a checkpoint is asked to write.

    Attributes:
        instruction: what the code should do.
        context: the code of its file, for the augmented prompt.
        reference: the function of the dataset; None for a visitor's own instruction.
        sample_id: of the dataset row, None for a visitor's own instruction.
        repo: its repository; samples of one repository are one cluster in the statistics.
        digest: hash of instruction and reference in a shipped run, which stores neither
            (``pipeline.evaluation.texts`` reads them); else empty.
        problem: why they cannot be read here, as a sentence; empty if they can.
    """

    instruction: str
    context: Context = field(default_factory=Context)
    reference: str | None = None
    sample_id: str | None = None
    repo: str = ""
    digest: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One checkpoint's attempt at one task: from the prompt to the scores.

    It is filled step by step (``pipeline.evaluation.attempts``): first prompt, then completion and code, then
    scores. No step changes what an earlier one filled in.

    Attributes:
        prompt: the model's input; empty before it is rendered, and in stored runs.
        trimmed: what was left out of the prompt, as a sentence; empty if nothing was.
        completion: None before the first token, and if there is an ``error``.
        code: extracted from the complete completion; metrics score it.
        scores: by metric name.
        error: why there is no completion, such as a prompt that does not fit the model.
    """

    task: Task
    column: Column
    prompt: str = ""
    trimmed: str = ""
    completion: Completion | None = None
    code: str = ""
    scores: Mapping[str, Score] = field(default_factory=dict)
    error: str = ""

    @property
    def written(self) -> bool:
        """Whether the completion has ended: by itself, at the token limit, or by cancelling."""
        return self.completion is not None and self.completion.finish_reason is not None


Progress = Callable[[float, str], None]
"""A callback for progress: the fraction of the work that is done, from 0 to 1, and a message."""
