"""One comparison from task to scores, as snapshots that tabs and the API show."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace

from pipeline.generation import Engine, Request
from pipeline.generation.prompts import Context
from pipeline.models.checkpoints import get_column
from pipeline.models.families import Family
from pipeline.schema import Column, Completion, LabError, Sample, SamplingParams, Score
from pipeline.scoring import Candidate, Scorer, extract_code, score_all
from pipeline.settings import Settings

MOST_COLUMNS = 12
_MOST_INSTRUCTION = 20_000  # characters; what fits the model is fewer still, and the engine says how many
_MOST_TEXT = 500_000


@dataclass(frozen=True, slots=True)
class Task:
    """What every column of a comparison is asked; ``reference`` is None for a free instruction."""

    instruction: str
    context: Context = field(default_factory=Context)
    reference: str | None = None
    sample_id: str | None = None

    @classmethod
    def of_sample(cls, sample: Sample) -> Task:
        """The task that a dataset sample sets."""
        context = Context.around(sample.full_code, sample.function)
        return cls(sample.prompt, context, sample.function, sample.id)

    @classmethod
    def of_instruction(cls, instruction: str, code: str = "") -> Task:
        """A free instruction, with the code of a file for the augmented prompt.

        Raises:
            LabError: it is empty, far too long, or not text.
        """
        if not instruction.strip():
            raise LabError("Write an instruction first: what should the code do?")
        check_text("instruction", instruction, _MOST_INSTRUCTION)
        check_text("file context", code)
        return cls(instruction.strip(), Context(before=code))


@dataclass(frozen=True, slots=True)
class Pane:
    """One column of a comparison as it stands.

    Attributes:
        completion: None before the first token, and where there is an ``error``.
        code: what is scored, taken out of the completion once it is whole.
        trimmed: what was left out of the prompt, in words.
        error: why this column cannot be shown, in words.
    """

    column: Column
    prompt: str = ""
    trimmed: str = ""
    completion: Completion | None = None
    code: str = ""
    scores: tuple[Score, ...] = ()
    error: str = ""


def check_text(name: str, text: str, most: int = _MOST_TEXT) -> None:
    """Raise ``LabError`` where something given is too long or not text."""
    if len(text) > most:
        raise LabError(f"The {name} is too long: {len(text):,} characters; at most {most:,} are taken.")
    if "\0" in text:
        raise LabError(f"The {name} holds NUL characters, so it is no text. Remove them.")


def pick_columns(settings: Settings, family: Family, keys: Sequence[str]) -> list[Column]:
    """The columns by key, each once.

    Raises:
        LabError: none, too many, or an unknown one.
    """
    keys = list(dict.fromkeys(keys))
    if not keys:
        raise LabError("Choose at least one checkpoint and one prompt variant.")
    if len(keys) > MOST_COLUMNS:
        raise LabError(f"At most {MOST_COLUMNS} columns fit one comparison, and {len(keys)} were chosen.")
    return [get_column(settings, family, key) for key in keys]


def check_sampling(decoding: SamplingParams) -> SamplingParams:
    """The same settings; raises ``LabError`` where one is out of range."""
    for name, value, low, high in (
        ("The temperature", decoding.temperature, 0, 2),
        ("min_p", decoding.min_p, 0, 1),
        ("Max new tokens", decoding.max_new_tokens, 1, 4096),
        ("The seed", decoding.seed, 0, 2**31 - 1),
    ):
        if value is None or not low <= value <= high:  # an emptied number field gives None
            given = "left empty" if value is None else f"{value:,}"
            raise LabError(f"{name} must be a number from {low} to {high:,}, not {given}.")
    return decoding


def compare(
    engine: Engine,
    scorers: Sequence[Scorer],
    columns: Sequence[Column],
    task: Task,
    decoding: SamplingParams,
    cancel: threading.Event | None = None,
) -> Iterator[list[Pane]]:
    """Generate for all columns in one batch, then score; yields the panes after every few tokens.

    A column that cannot be used (a damaged checkpoint, a prompt that does not fit) says so in its own
    pane, and the others go on without it.

    Raises:
        LabError: the task fits none of the columns, said once and not in every pane.
    """
    panes = [_ask(engine, column, task, decoding) for column in columns]
    if all(pane.error for pane in panes):
        raise LabError(" ".join(dict.fromkeys(pane.error for pane in panes)))
    yield panes
    try:
        panes = yield from _write(engine, panes, decoding, cancel)
    except LabError:
        # The batch was refused before its first token: find out which checkpoints are to blame.
        panes = [_try_alone(engine, pane) for pane in panes]
        panes = yield from _write(engine, panes, decoding, cancel)
    yield _score(scorers, panes, task)


def _ask(engine: Engine, column: Column, task: Task, decoding: SamplingParams) -> Pane:
    try:
        prompt = engine.render(task.instruction, column.variant, task.context, decoding)
    except LabError as error:
        return Pane(column, error=str(error))
    return Pane(column, prompt.text, prompt.trimmed)


def _write(
    engine: Engine, panes: list[Pane], decoding: SamplingParams, cancel: threading.Event | None
) -> Generator[list[Pane], None, list[Pane]]:
    requests = [Request(pane.column, pane.prompt) for pane in panes if not pane.error]
    if not requests:
        return panes
    for completions in engine.stream(requests, decoding, cancel):
        written = iter(completions)
        panes = [pane if pane.error else _with(pane, next(written)) for pane in panes]
        yield panes
    return panes


def _with(pane: Pane, completion: Completion) -> Pane:
    code = extract_code(completion.text) if completion.finish_reason and not pane.code else pane.code
    return replace(pane, completion=completion, code=code)


def _try_alone(engine: Engine, pane: Pane) -> Pane:
    if pane.error:
        return pane
    try:
        for _ in engine.stream([Request(pane.column, pane.prompt)], SamplingParams(max_new_tokens=1)):
            pass
    except LabError as error:
        return replace(pane, error=str(error))
    return pane


def _score(scorers: Sequence[Scorer], panes: list[Pane], task: Task) -> list[Pane]:
    """Score what is whole; an answer that was stopped says nothing about its checkpoint."""
    candidates = {
        pane.column: Candidate(
            task.instruction, pane.completion.text, pane.code, task.reference, pane.prompt, pane.column
        )
        for pane in panes
        if pane.completion and pane.completion.finish_reason != "cancelled"
    }
    rows = score_all(list(candidates.values()), scorers) if candidates else []
    scores = {column: tuple(row.values()) for column, row in zip(candidates, rows, strict=True)}
    return [replace(pane, scores=scores.get(pane.column, ())) for pane in panes]
