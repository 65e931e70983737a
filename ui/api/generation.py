"""The endpoints ``/generate``, ``/compare`` and ``/score``.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, Literal

import gradio as gr

from pipeline.evaluation.answers import Answer, ScoreRow, as_answer, as_score_row
from pipeline.evaluation.attempts import extract_and_score
from pipeline.evaluation.limits import (
    MAX_ANSWER,
    MAX_COLUMNS,
    MAX_INSTRUCTION,
    check_text,
    choose_columns,
    choose_sampling,
)
from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import (
    Attempt,
    Checkpoint,
    Column,
    Completion,
    FieldError,
    PromptVariant,
    SamplingParams,
    Task,
)
from training.jobs.admission import require_spending
from ui.api.endpoint import endpoint, publish
from ui.callbacks import IN_LINE, visitor, while_read
from ui.callers import caller
from ui.lab import Lab

Usual = Literal["default"]
"""Stands for the family's own value: a parameter of an endpoint always has one."""
_USUAL = SamplingParams()


def one_column(compare: Callable[..., Iterator[list[Answer]]]) -> Callable[..., Iterator[Answer]]:
    """Make ``/generate`` of ``/compare``: the same with one column, in signature and docstring too."""

    @wraps(compare)
    def generate(self: "GenerationApi", column: str, *more: Any, **named: Any) -> Iterator[Answer]:
        for answers in compare(self, [column], *more, **named):
            yield answers[0]

    signature = inspect.signature(compare)
    itself, _, *others = signature.parameters.values()
    column = inspect.Parameter("column", itself.kind, default="baseline/regular", annotation=str)
    generate.__name__ = "generate"
    generate.__annotations__ = {"column": str, **compare.__annotations__, "return": Iterator[Answer]}
    generate.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [itself, column, *others], return_annotation=Iterator[Answer]
    )
    *_, arguments = inspect.cleandoc(compare.__doc__ or "").partition("\n")
    generate.__doc__ = (
        "Generate with one checkpoint; streams the answer while it is written, and ends with its scores.\n"
        + re.sub(
            "columns: .*",
            "column: checkpoint and prompt variant, such as 1000/regular (see /checkpoints)",
            arguments,
        )
    )
    return generate


class GenerationApi:
    """The endpoints' functions."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    def compare(
        self,
        columns: list[str],
        instruction: str = "",
        sample_id: str = "",
        context: str = "",
        family: str = DEFAULT_FAMILY,
        temperature: float | Usual = "default",
        min_p: float = _USUAL.min_p,
        max_new_tokens: int | Usual = "default",
        seed: int = _USUAL.seed,
        token: str = "",
        dataset: str = "",
    ) -> Iterator[list[Answer]]:
        """Generate with up to twelve checkpoints in one batch; streams all answers, and ends with scores.

        Args:
            columns: checkpoints and prompt variants, such as ["baseline/regular", "1000/regular"]
            instruction: what the code should do; leave it empty to use a dataset sample
            sample_id: a test sample (see /samples), instead of an instruction
            context: code of the file around it, which the augmented prompt shows
            family: model family
            temperature: 0 for greedy, at most 2; "default" is the family's own, as in the page
            min_p: drops tokens less likely than this share of the likeliest one
            max_new_tokens: an answer is cut off after this many tokens; "default" is the family's own
            seed: fixes the random draws of every column
            token: the server's jobs token, for a family whose server its owner pays for
            dataset: of the sample, where it is not the family's own (see /datasets)
        """
        if not columns or len(columns) > MAX_COLUMNS:
            raise FieldError("columns", f"must name from 1 to {MAX_COLUMNS} columns, not {len(columns)}.")
        chosen = get_family(self.lab.settings, family, dataset)
        sampling = choose_sampling(
            chosen,
            temperature=None if temperature == "default" else temperature,
            min_p=min_p,
            max_new_tokens=None if max_new_tokens == "default" else max_new_tokens,
            seed=seed,
        )
        require_spending(self.lab.settings, caller(self.lab.settings, token), chosen)
        chosen_columns = choose_columns(self.lab.settings, chosen, columns)
        task = self._task(chosen, chosen_columns, instruction, sample_id, context)
        for stage in while_read(self.lab.compare(visitor(), chosen, chosen_columns, task, sampling)):
            yield [as_answer(attempt) for attempt in stage.attempts]

    generate = endpoint(one_column(compare))
    compare = endpoint(compare)

    @endpoint
    def score(
        self, completion: str, reference: str = "", instruction: str = "", family: str = DEFAULT_FAMILY
    ) -> list[ScoreRow]:
        """Score a completion that any model wrote; without a reference, by the metrics that need none.

        Args:
            completion: the model's answer, with any text around its code
            reference: the function that it should be
            instruction: what was asked
            family: model family, whose metrics are used
        """
        check_text("completion", completion, MAX_ANSWER)
        check_text("reference", reference, MAX_ANSWER)
        check_text("instruction", instruction, MAX_INSTRUCTION)
        attempt = Attempt(
            Task(instruction, reference=reference or None),
            Column(Checkpoint(family, "baseline"), "regular"),
            completion=Completion("", completion, 0, "stop", 0.0),
        )
        with self.lab.use_model(get_family(self.lab.settings, family)) as model:
            (scored,) = extract_and_score(model.scorers, [attempt])
            return [as_score_row(score) for score in scored.scores.values()]

    def _task(
        self, family: Family, columns: list[Column], instruction: str, sample_id: str, context: str
    ) -> Task:
        if bool(sample_id) == bool(instruction.strip()):
            state = "is given beside a sample_id" if sample_id else "is empty, and so is sample_id"
            raise FieldError("instruction", f"{state}: give one of the two.")
        if sample_id and context:
            raise FieldError("context", "must be empty if there is a sample_id, whose file is the context.")
        if not sample_id:
            return task_from_instruction(instruction, context)
        variant: PromptVariant = (
            "augmented" if any(column.variant == "augmented" for column in columns) else "regular"
        )
        return task_from_sample(self.lab.dataset(family, variant, again=True).result().get(sample_id))


def add(lab: Lab, page: gr.Blocks) -> None:
    """Publish the endpoints of this module."""
    api = GenerationApi(lab)
    for function in (api.generate, api.compare):
        publish(page, function, **IN_LINE)
    publish(page, api.score, concurrency_limit=2)  # it computes here, and waits in no line of an engine
