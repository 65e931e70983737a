"""The one path from tasks to scored attempts: render the prompt, generate, extract the code, score.

The Compare tab, the API and ``training.evaluate`` all use it. If an attempt cannot be made, its ``error`` is
the reason, its scores are unscored with that reason, and the other attempts go on.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline.generation.engine import Engine, Request
from pipeline.generation.line import Turn
from pipeline.schema import Attempt, Column, Completion, LabError, SamplingParams, Score, Task
from pipeline.scoring.extract import extract_code
from pipeline.scoring.scorer import Scorer, score_all
from pipeline.spending import OverBudget


def compare(
    engine: Engine,
    scorers: Sequence[Scorer],
    columns: Sequence[Column],
    task: Task,
    sampling: SamplingParams,
    turn: Turn | None = None,
) -> Iterator[list[Attempt]]:
    """Attempt one task with all columns. Yields the attempts after every few tokens, and after each metric.

    Quick metrics score an answer when it ends, the others all answers at the end, in the order given.

    Raises:
        LabError: no column can attempt the task.
    """
    rendered = [render(engine, Attempt(task, column), sampling) for column in columns]
    if all(attempt.error for attempt in rendered):
        raise LabError(" ".join(dict.fromkeys(attempt.error for attempt in rendered)))
    attempts, quick = rendered, [scorer for scorer in scorers if scorer.quick]
    early: dict[int, Mapping[str, Score]] = {}
    for latest in generate(engine, rendered, sampling, turn):
        for row, attempt in enumerate(latest):
            if attempt.written and row not in early:
                early[row] = add_scores(quick, [attempt])[0].scores
        attempts = [replace(each, scores=early.get(row, {})) for row, each in enumerate(latest)]
        yield attempts
    for scorer in scorers:
        attempts = add_scores([scorer], attempts)
        yield attempts


def render(engine: Engine, attempt: Attempt, sampling: SamplingParams) -> Attempt:
    """Add the prompt, or the reason why there is none, such as that it does not fit the model."""
    task = attempt.task
    try:
        prompt = engine.render(task.instruction, attempt.column.variant, task.context, sampling)
    except LabError as error:
        return replace(attempt, error=str(error))
    return replace(attempt, prompt=prompt.text, trimmed=prompt.trimmed)


def generate(
    engine: Engine, attempts: Sequence[Attempt], sampling: SamplingParams, turn: Turn | None = None
) -> Iterator[list[Attempt]]:
    """Generate the missing completions. Yields all attempts at first, and whenever there is news.

    Raises:
        LabError: the engine cannot be reached, or none of the checkpoints can be used.
    """
    latest = first = list(attempts)
    yield latest
    try:
        for latest in _stream(engine, first, sampling, turn):
            yield latest
    except OverBudget as error:
        yield [each if each.written or each.error else _failed(each, error) for each in latest]
    except LabError:  # find the checkpoints that cannot be used, and go on without them
        latest = _without_unusable(engine, latest, turn)
        yield from _stream(engine, latest, sampling, turn)


def _stream(
    engine: Engine, attempts: list[Attempt], sampling: SamplingParams, turn: Turn | None
) -> Iterator[list[Attempt]]:
    rows = [index for index, attempt in enumerate(attempts) if not attempt.error and not attempt.written]
    if not rows:
        return
    requests = [_request(attempts[row]) for row in rows]
    for completions in engine.stream(requests, sampling, turn):
        attempts = list(attempts)
        for row, completion in zip(rows, completions, strict=True):
            attempts[row] = _with_completion(attempts[row], completion)
        yield attempts


def _failed(attempt: Attempt, error: LabError) -> Attempt:
    return replace(attempt, completion=None, error=str(error))


def _request(attempt: Attempt) -> Request:
    return Request(attempt.column.checkpoint, attempt.prompt, f"{attempt.column.key}\0{attempt.prompt}")


def _with_completion(attempt: Attempt, completion: Completion) -> Attempt:
    written = replace(attempt, completion=completion)
    return with_code(written) if completion.finish_reason and not attempt.code else written


def _without_unusable(engine: Engine, attempts: list[Attempt], turn: Turn | None) -> list[Attempt]:
    """Generate one token with each checkpoint; if that fails, its attempts get the reason.

    Raises:
        LabError: none of the checkpoints works.
    """
    checked = list(attempts)
    waiting = [attempt for attempt in attempts if not attempt.error and not attempt.written]
    errors: dict[Column, str] = {}
    for column in dict.fromkeys(attempt.column for attempt in waiting):
        one = next(attempt for attempt in waiting if attempt.column == column)
        try:
            for _ in engine.stream([_request(one)], SamplingParams(max_new_tokens=1), turn):
                pass
        except LabError as error:
            errors[column] = str(error)
    if len(errors) == len({attempt.column for attempt in waiting}):
        raise LabError(" ".join(dict.fromkeys(errors.values())))
    for index, attempt in enumerate(attempts):
        if not attempt.written and not attempt.error and attempt.column in errors:
            checked[index] = replace(attempt, error=errors[attempt.column])
    return checked


def add_scores(scorers: Sequence[Scorer], attempts: Sequence[Attempt]) -> list[Attempt]:
    """Add the scores that are missing; cancelled completions get none."""
    scored = list(attempts)
    wanted = [
        scorer
        for scorer in scorers
        if any(scorer.applies_to(a.task) and not has_values(a, scorer.metrics) for a in attempts)
    ]
    rows = [
        index
        for index, a in enumerate(attempts)
        if a.completion and a.completion.finish_reason != "cancelled"
    ]
    scores = score_all([attempts[row] for row in rows], wanted) if rows else []
    for row, new in zip(rows, scores, strict=True):
        # The first value stays: in a batch with other rows it could be rounded differently.
        missing = {name: score for name, score in new.items() if not has_values(attempts[row], [name])}
        scored[row] = replace(attempts[row], scores={**attempts[row].scores, **missing})
    for index, attempt in enumerate(attempts):
        if attempt.error:
            names = [m for scorer in wanted if scorer.applies_to(attempt.task) for m in scorer.metrics]
            unscored = {name: Score(name, None, attempt.error) for name in names}
            scored[index] = replace(attempt, scores={**attempt.scores, **unscored})
    return scored


def with_code(attempt: Attempt) -> Attempt:
    """The attempt with the code that is extracted from its completion."""
    return replace(attempt, code=extract_code(attempt.completion.text if attempt.completion else ""))


def extract_and_score(scorers: Sequence[Scorer], attempts: Sequence[Attempt]) -> list[Attempt]:
    """Extract the code of completions that are there, and score it; older scores are dropped."""
    extracted = [with_code(attempt) for attempt in attempts]
    scores = score_all(extracted, scorers)
    return [replace(attempt, scores=new) for attempt, new in zip(extracted, scores, strict=True)]


def has_values(attempt: Attempt, metrics: Sequence[str]) -> bool:
    """Whether the attempt has a value of each metric; unscored ones are tried again on resume."""
    return all(name in attempt.scores and attempt.scores[name].value is not None for name in metrics)
