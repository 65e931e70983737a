"""The nouns of the project, as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

PromptVariant = Literal["regular", "augmented"]
VARIANTS: tuple[PromptVariant, ...] = get_args(PromptVariant)
FinishReason = Literal["stop", "length", "cancelled"]
DEFAULT_SEED = 42


class LabError(Exception):
    """Something that the user can understand and mend; its text is shown to them as it is."""


class FieldError(LabError):
    """A parameter whose value cannot be used.

    Its text has the parameter's name, as the API knows it; a form says its own label instead.

    Attributes:
        field: the parameter's name, such as ``max_new_tokens``.
        problem: the rest of the sentence, such as ``must be a number from 0 to 2, not 9.``
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(field, problem)
        self.field, self.problem = field, problem

    def __str__(self) -> str:
        return f"{self.field} {self.problem}"


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 sample``, ``1,000 samples``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One dataset row.

    ``function`` is what a model is to write. It occurs in ``full_code``, where a method may stand indented
    and ``function`` does not; ``pipeline.generation.prompts.context_around`` finds it.

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
        variant: the prompt variant it was trained under, None for the baseline (it takes both).
        seed: its training seed, None for the baseline and where unknown.
        path: its folder here, None for the baseline and for one that is still on the hub.
        hub_id: where it is published, if it is.
        fingerprint: hash of its adapter files, or a merged model's commit on the hub; empty for the baseline
            and before a download.
        problem: why its files cannot be used, in words; empty if they can.
    """

    family: str
    name: str
    subset_size: int = 0
    variant: PromptVariant | None = None
    seed: int | None = None
    path: Path | None = None
    hub_id: str | None = None
    fingerprint: str = ""
    problem: str = ""

    @property
    def is_baseline(self) -> bool:
        """Whether this is the bare base model."""
        return self.name == "baseline"

    @property
    def is_merged(self) -> bool:
        """Whether its folder holds a whole model rather than an adapter on the family's base."""
        return self.path is not None and not (self.path / "adapter_config.json").is_file()


@dataclass(frozen=True, slots=True)
class Column:
    """One (checkpoint, prompt variant) that a comparison shows."""

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


@dataclass(frozen=True, slots=True)
class Completion:
    """Generated text. ``finish_reason`` is None while it is still being written.

    Attributes:
        fingerprint: of the checkpoint that wrote it.
        text: as the model wrote it, the stop token left out.
        tokens: number of generated tokens.
        seconds: from the start of the batch to this row's end.
        seconds_to_first: from the start of the batch to the first token.
        note: what its reader should know of how it was made, as a sentence; empty where there is nothing.
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
    """A metric's value for one completion, or why there is none.

    Attributes:
        metric: name with its encoder or judge, such as ``BERTScore F1 (MiniLM-L6)``.
        value: None where unscored.
        reason: why it is unscored, in words; None where there is a value.
        details: what else is worth keeping (precision, recall, votes, a judge's words).
    """

    metric: str
    value: float | None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """The code of a file around the function to write: what stands before it, and what after it."""

    before: str = ""
    after: str = ""


@dataclass(frozen=True, slots=True)
class Task:
    """What a checkpoint is asked to write.

    Attributes:
        instruction: what the code should do.
        context: code of the file around it, for the augmented prompt.
        reference: the function of the dataset; None for a visitor's own instruction.
        sample_id: of the dataset row, None for a visitor's own instruction.
        repo: where the row is from; samples of one repository are one cluster in the statistics.
    """

    instruction: str
    context: Context = field(default_factory=Context)
    reference: str | None = None
    sample_id: str | None = None
    repo: str = ""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One checkpoint's attempt at one task: from the prompt to the scores.

    It is filled step by step (``pipeline.evaluation.attempts``): first prompt, then completion and code, then
    scores. Each step leaves alone what is there.

    Attributes:
        prompt: as the model reads it; empty before it is rendered, and in stored runs.
        trimmed: what was left out of the prompt, in words; empty when nothing was.
        completion: None before the first token, and where there is an ``error``.
        code: extracted from the completion once that is complete; metrics score it.
        scores: by metric name.
        error: why there is no completion, in words: the prompt does not fit, the checkpoint cannot be used.
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
        """Whether the completion is complete: it ended by itself, at the token limit, or was cancelled."""
        return self.completion is not None and self.completion.finish_reason is not None


Progress = Callable[[float, str], None]
"""Told how far a piece of work is: a fraction from 0 to 1 and a few words."""
