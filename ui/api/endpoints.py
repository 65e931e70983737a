"""The HTTP API: typed functions over what the tabs use. Their signatures are the API page.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any, TypedDict, get_args

import gradio as gr
from gradio.utils import get_function_description
from pydantic import TypeAdapter, ValidationError

from pipeline.evaluation.attempts import compare
from pipeline.evaluation.limits import check_sampling, check_text, choose_columns
from pipeline.evaluation.tasks import task_from_instruction, task_from_sample
from pipeline.models.checkpoints import columns as all_columns
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import (
    Attempt,
    Checkpoint,
    Column,
    Completion,
    LabError,
    PromptVariant,
    SamplingParams,
    Score,
    Task,
)
from pipeline.scoring import extract_code, score_all
from ui.callbacks import ON_MODEL, in_words
from ui.lab import Lab


class ScoreRow(TypedDict):
    """A score; ``value`` is null where it could not be had, and ``reason`` says why."""

    metric: str
    value: float | None
    reason: str | None


class Answer(TypedDict):
    """One column as it stands: ``finish_reason`` is null while it is being written."""

    column: str
    fingerprint: str
    text: str
    code: str
    tokens: int
    seconds: float
    finish_reason: str | None
    trimmed: str
    error: str
    scores: list[ScoreRow]


class SampleRow(TypedDict):
    """A test sample without its file."""

    id: str
    prompt: str
    function: str
    function_name: str
    repo: str
    file: str


class SamplePage(TypedDict):
    """One page of what a search finds."""

    total: int
    samples: list[SampleRow]


class CheckpointRow(TypedDict):
    """A checkpoint, and the keys of the columns that it can answer in."""

    name: str
    subset_size: int
    fingerprint: str
    here: bool
    columns: list[str]


def endpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arguments' types, say errors in words, and type a stream by what it yields."""
    signature = inspect.signature(function)

    def check(*args: Any, **kwargs: Any) -> None:
        for name, value in signature.bind(*args, **kwargs).arguments.items():
            kind = signature.parameters[name].annotation
            try:
                TypeAdapter(Any if kind is inspect.Parameter.empty else kind).validate_python(value)
            except ValidationError as error:
                raise LabError(f"{name}: {error.errors()[0]['msg']}.") from error

    @wraps(function)
    def answer(*args: Any, **kwargs: Any) -> Any:
        with in_words():
            check(*args, **kwargs)
            return function(*args, **kwargs)

    @wraps(function)
    def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with in_words():
            check(*args, **kwargs)
            yield from function(*args, **kwargs)

    if not inspect.isgeneratorfunction(function):
        return answer
    yielded = get_args(signature.return_annotation)[0]
    stream.__signature__ = signature.replace(return_annotation=yielded)  # type: ignore[attr-defined]
    return stream


class Api:
    """The endpoints' functions."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @endpoint
    def generate(
        self,
        column: str = "baseline/regular",
        instruction: str = "",
        sample_id: str = "",
        context: str = "",
        family: str = DEFAULT_FAMILY,
        temperature: float = 0.1,
        min_p: float = 0.1,
        max_new_tokens: int = 256,
        seed: int = 42,
    ) -> Iterator[Answer]:
        """Generate with one checkpoint; streams the answer as it grows, the last one with its scores.

        Args:
            column: checkpoint and prompt variant, such as 1000/regular (see /checkpoints)
            instruction: what the code should do; leave it empty to use a dataset sample
            sample_id: a test sample (see /samples), instead of an instruction
            context: code of the file around it, which the augmented prompt shows
            family: model family
            temperature: 0 for greedy decoding, at most 2
            min_p: drops tokens less likely than this share of the likeliest one
            max_new_tokens: where the answer is cut off
            seed: fixes the draw
        """
        decoding = SamplingParams(temperature, min_p, max_new_tokens, seed)
        for answers in self._compare([column], instruction, sample_id, context, family, decoding):
            yield answers[0]

    @endpoint
    def compare(
        self,
        columns: list[str],
        instruction: str = "",
        sample_id: str = "",
        context: str = "",
        family: str = DEFAULT_FAMILY,
        temperature: float = 0.1,
        min_p: float = 0.1,
        max_new_tokens: int = 256,
        seed: int = 42,
    ) -> Iterator[list[Answer]]:
        """Generate with up to twelve checkpoints in one batch; streams all answers, the last with scores.

        Args:
            columns: checkpoints and prompt variants, such as ["baseline/regular", "1000/regular"]
            instruction: what the code should do; leave it empty to use a dataset sample
            sample_id: a test sample (see /samples), instead of an instruction
            context: code of the file around it, which the augmented prompt shows
            family: model family
            temperature: 0 for greedy decoding, at most 2
            min_p: drops tokens less likely than this share of the likeliest one
            max_new_tokens: where the answers are cut off
            seed: fixes every column's draw
        """
        decoding = SamplingParams(temperature, min_p, max_new_tokens, seed)
        yield from self._compare(columns, instruction, sample_id, context, family, decoding)

    @endpoint
    def score(
        self, completion: str, reference: str = "", instruction: str = "", family: str = DEFAULT_FAMILY
    ) -> list[ScoreRow]:
        """Score a completion that any model wrote; without a reference, by what needs none.

        Args:
            completion: the model's answer, with whatever stands around its code
            reference: the function that it should be
            instruction: what was asked
            family: model family, whose metrics are used
        """
        for text in (completion, reference, instruction):
            check_text("text", text)
        model = self.lab.model(get_family(self.lab.settings, family)).result()
        written = Completion("", completion, 0, "stop", 0.0)
        attempt = Attempt(
            Task(instruction, reference=reference or None),
            Column(Checkpoint(family, "baseline"), "regular"),
            completion=written,
            code=extract_code(completion),
        )
        return [_score_row(score) for score in score_all([attempt], model.scorers)[0].values()]

    @endpoint
    def samples(
        self,
        query: str = "",
        limit: int = 20,
        offset: int = 0,
        variant: PromptVariant = "regular",
        family: str = DEFAULT_FAMILY,
    ) -> SamplePage:
        """Test samples of a family's dataset, a page at a time.

        Args:
            query: words to look for in name, instruction and origin; empty for every sample
            limit: at most this many, from 1 to 200
            offset: how many to pass over
            variant: the prompt variant whose test split is meant
            family: model family
        """
        if not 1 <= limit <= 200 or offset < 0:
            raise LabError("limit must be from 1 to 200, and offset at least 0.")
        data = self.lab.dataset(get_family(self.lab.settings, family), variant, again=True).result()
        found = data.search(query, limit, offset)
        keys = SampleRow.__annotations__
        return {
            "total": len(data.matches(query)),
            "samples": [SampleRow(**{key: getattr(s, key) for key in keys}) for s in found],  # type: ignore[typeddict-item]
        }

    @endpoint
    def checkpoints(self, family: str = DEFAULT_FAMILY) -> list[CheckpointRow]:
        """A family's checkpoints, read anew.

        Args:
            family: model family
        """
        chosen = get_family(self.lab.settings, family)
        keys = all_columns(self.lab.settings, chosen)
        return [
            {
                "name": checkpoint.name,
                "subset_size": checkpoint.subset_size,
                "fingerprint": checkpoint.fingerprint,
                "here": checkpoint.is_baseline or checkpoint.path is not None,
                "columns": [key for key, column in keys.items() if column.checkpoint == checkpoint],
            }
            for checkpoint in list_checkpoints(self.lab.settings, chosen)
        ]

    def _compare(
        self,
        keys: list[str],
        instruction: str,
        sample_id: str,
        code: str,
        family: str,
        decoding: SamplingParams,
    ) -> Iterator[list[Answer]]:
        chosen = get_family(self.lab.settings, family)
        columns = choose_columns(self.lab.settings, chosen, keys)
        check_sampling(decoding)
        if sample_id and instruction:
            raise LabError("Give either an instruction or a sample_id, not both.")
        if sample_id:
            variant: PromptVariant = (
                "augmented" if any(c.variant == "augmented" for c in columns) else "regular"
            )
            task = task_from_sample(self.lab.dataset(chosen, variant, again=True).result().get(sample_id))
        else:
            task = task_from_instruction(instruction, code)
        model = self.lab.model(chosen).result()
        for attempts in compare(model.engine, model.scorers, columns, task, decoding):
            yield [_answer(attempt) for attempt in attempts]


def add(lab: Lab, page: gr.Blocks) -> None:
    """Publish the endpoints of this module.

    Call it before any other event is defined: a callback of the same name would take the endpoint's.
    """
    api = Api(lab)
    for function in (api.generate, api.compare, api.score):
        publish(page, function, **ON_MODEL)
    publish(page, api.samples)
    publish(page, api.checkpoints)


def publish(page: gr.Blocks, function: Callable[..., Any], **options: Any) -> None:
    """Make a typed function an endpoint of its name, its parameters described by its docstring."""
    about, parameters, _ = get_function_description(function)
    published = gr.api(function, api_name=function.__name__, api_description=about, **options)
    for component, text in zip(published["inputs"], parameters.values(), strict=True):
        page.blocks[component].api_info()["additional_description"] = text  # type: ignore[union-attr]


def _answer(attempt: Attempt) -> Answer:
    completion = attempt.completion
    return {
        "column": attempt.column.key,
        "fingerprint": attempt.column.checkpoint.fingerprint,
        "text": completion.text if completion else "",
        "code": attempt.code,
        "tokens": completion.tokens if completion else 0,
        "seconds": completion.seconds if completion else 0.0,
        "finish_reason": completion.finish_reason if completion else None,
        "trimmed": attempt.trimmed,
        "error": attempt.error,
        "scores": [_score_row(score) for score in attempt.scores.values()],
    }


def _score_row(score: Score) -> ScoreRow:
    return {"metric": score.metric, "value": score.value, "reason": score.reason}
