"""The data of the project, as frozen dataclasses."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

PromptVariant = Literal["regular", "augmented", "chat"]
VARIANTS: tuple[PromptVariant, ...] = get_args(PromptVariant)
TrainedVariant = Literal["regular", "augmented"]
TRAINED_VARIANTS: tuple[TrainedVariant, ...] = get_args(TrainedVariant)
"""The variants that adapters are trained with; ``chat`` is for the base model alone."""
FinishReason = Literal["stop", "length", "cancelled"]
Schedule = Literal["linear", "cosine", "constant"]
Origin = Literal["base", "shipped", "trained", "published", "imported"]
DEFAULT_SEED = 42
BASELINE = "baseline"
SIZE_NAME = re.compile(
    r"(?P<size>[1-9]\d*)-(?P<variant>regular|augmented)(?P<end>-seed(?P<seed>0|[1-9]\d*))?\Z", re.ASCII
)
"""The names that checkpoints get by themselves if they follow the family's recipe."""


class LabError(Exception):
    """An error that the user can understand and fix. Its text is shown to the user.

    A technical cause follows on a line of its own, which the page folds away.
    """


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


def listed(words: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


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
class Recipe:
    """How an adapter is trained, apart from its samples and its seed.

    Attributes:
        learning_rate: the peak.
        batch_size: samples in an optimizer step, or rows of the family's ``sequence_length`` tokens where it
            packs.
        packing: whether rows are filled with whole samples, which do not attend to each other.
        epochs: passes over the samples.
        max_steps: optimizer steps after which the training stops; None for all epochs.
        scheduler: how the learning rate goes on after the warm-up: it falls to 0, or stays.
        warmup: steps over which the learning rate rises; None for ten, and at most a tenth of all steps.
    """

    learning_rate: float
    batch_size: int
    lora_r: int
    lora_alpha: int
    packing: bool = False
    epochs: int = 3
    max_steps: int | None = None
    scheduler: Schedule = "linear"
    warmup: int | None = None


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A family's base model (``baseline``) or a LoRA adapter on it.

    Its name is its identity; size, variant, seed and recipe are attributes, which several can share.

    Attributes:
        family: the family's name.
        name: unique in the family: ``baseline``, ``1000-regular-seed43``, ``my-adapter``.
        subset_size: training samples, 0 for the baseline, None if unknown.
        variant: the prompt variant that it was trained with. None for the baseline and if unknown: all can be
            tried.
        seed: its training seed, None for the baseline and if unknown.
        path: its folder on this machine, None for the baseline and before a download.
        hub_id: where it is published, if it is.
        fingerprint: hash of its adapter files, or a merged model's commit on the hub; empty for the baseline
            and before a download.
        problem: why its files cannot be used, in words; empty if they can.
        origin: where it comes from.
        recipe: what is known of how it was trained: the fields of ``Recipe`` by name, and ``dataset``.
    """

    family: str
    name: str
    subset_size: int | None = 0
    variant: TrainedVariant | None = None
    seed: int | None = None
    path: Path | None = None
    hub_id: str | None = None
    fingerprint: str = ""
    problem: str = ""
    origin: Origin = "base"
    recipe: Mapping[str, Any] = field(default_factory=dict, compare=False)

    @property
    def is_baseline(self) -> bool:
        """Whether this is the base model without an adapter."""
        return self.name == BASELINE

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
        """Its name in the API and in stored runs: ``baseline/regular``, ``my-adapter/augmented``.

        Names such as ``1000-regular-seed43`` tell the variant; it is not repeated: ``1000-seed43/regular``.
        """
        known = SIZE_NAME.match(self.checkpoint.name)
        if known and known["variant"] == self.variant:
            return f"{known['size']}{known['end'] or ''}/{self.variant}"
        return f"{self.checkpoint.name}/{self.variant}"


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How to sample tokens. ``temperature`` 0 is greedy; ``seed`` fixes each row's draws independently.

    A family has its own temperature and number of tokens (``Family.sampling``): they decide unless others are
    asked for.
    """

    temperature: float = 0.0
    min_p: float = 0.1
    max_new_tokens: int = 256
    seed: int = DEFAULT_SEED

    @property
    def effective(self) -> SamplingParams:
        """Itself without what has no effect: greedy decoding uses neither min-p nor the seed."""
        return SamplingParams(0.0, 0.0, self.max_new_tokens) if self.temperature == 0 else self


@dataclass(frozen=True, slots=True)
class TokenChoice:
    """One token of a completion, and what the model could have written in its place.

    Attributes:
        text: of the token; a part of a character is the replacement character.
        probability: of the token by the model itself: at temperature 1, before min-p.
        others: the most likely other tokens with theirs, the most likely first.
    """

    text: str
    probability: float
    others: tuple[tuple[str, float], ...] = ()


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
        choices: of each token, once a local model has written the whole for a person; else empty. Not stored.
    """

    fingerprint: str
    text: str
    tokens: int
    finish_reason: FinishReason | None
    seconds: float
    seconds_to_first: float = 0.0
    note: str = ""
    choices: tuple[TokenChoice, ...] = ()


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


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs on a paid server, in US dollars for a million tokens.

    Attributes:
        input: for tokens that it reads.
        output: for tokens that it writes.
        source: where the price is from: the date of the list, ISO 8601, or the variable that sets it.
    """

    input: float
    output: float
    source: str = "RCL_PRICES"

    def usd(self, tokens_read: int, tokens_written: int) -> float:
        """US dollars for these tokens."""
        return (tokens_read * self.input + tokens_written * self.output) / 1e6


Progress = Callable[[float, str], None]
"""A callback for progress: the fraction of the work that is done, from 0 to 1, and a message."""


def percent_done(fraction: float) -> int:
    """The percent of work that is done, rounded down: 100 only once all of it is."""
    return int(100 * fraction + 1e-9)  # 100 * 0.29 is a little less than 29
