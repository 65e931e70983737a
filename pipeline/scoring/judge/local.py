"""A family of ours as the judge, in our own engine: no key, no server, no cost.

The base model answers in its own chat template. The engine gets all questions at once and runs them in its
one batch. Votes differ by their random numbers alone, so several votes need a temperature above 0.

The same question gets the same answer, so an answer that could not be read is kept too and not asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from pathlib import Path

from pipeline.generation import Engine, Request
from pipeline.models.families import Family
from pipeline.schema import Checkpoint, Completion, Context, LabError, SamplingParams
from pipeline.scoring.judge.cache import AnswerCache, JudgeAnswer
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.questions import Question, Reply, read_answer

_QUESTION_TOKENS = 3072
"""Room for a question; those about the shipped answers have 500 tokens on average, and 1,216 at most."""


class LocalJudge:
    """Asks the base model of a family (see ``JudgeModel``).

    Args:
        config: the judge; its model is the family's name.
        open_engine: opens the engine of the family as ``judging`` changes it, before the first question that
            is not in the cache.
        cache_dir: where answers are kept.
    """

    def __init__(self, config: JudgeConfig, open_engine: Callable[[], Engine], cache_dir: Path) -> None:
        self.config = config
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._cache = AnswerCache(cache_dir)
        self._sampling = SamplingParams(config.temperature, min_p=0.0, max_new_tokens=config.max_tokens)

    def replies(self, questions: Sequence[Question]) -> Generator[tuple[int, Reply], None, None]:
        """Answer each question, all of them in the engine's batch; see ``JudgeModel``."""
        waiting = []
        for index, question in enumerate(questions):
            known = self._cache.get(question.key(self.config))
            if known is None:
                waiting.append(index)
            else:
                yield index, read_answer(self.config, question, known)
        if waiting:
            self._engine = self._engine or self._open_engine()
            yield from self._ask(self._engine, questions, waiting)

    def _ask(
        self, engine: Engine, questions: Sequence[Question], waiting: Sequence[int]
    ) -> Generator[tuple[int, Reply], None, None]:
        requests: dict[int, Request] = {}
        for index in waiting:
            try:
                requests[index] = self._request(engine, questions[index])
            except LabError as error:
                yield index, Reply(None, f"the judge cannot be asked: {error}")
        left = dict(enumerate(requests))  # the question's index by its place in the stream
        for completions in engine.stream(list(requests.values()), self._sampling) if requests else ():
            ended = [place for place in left if completions[place].finish_reason]
            answers = {left.pop(place): _answer(completions[place]) for place in ended}
            if answers:
                self._cache.put(
                    (questions[index].key(self.config), questions[index].label(self.config), answer)
                    for index, answer in answers.items()
                )
            for index, answer in answers.items():
                yield index, read_answer(self.config, questions[index], answer)

    def _request(self, engine: Engine, question: Question) -> Request:
        prompt = engine.render(question.prompt, "chat", Context(), self._sampling).text
        return Request(Checkpoint(self.config.model, "baseline"), prompt, f"vote {question.vote}\0{prompt}")


def _answer(completion: Completion) -> JudgeAnswer:
    return JudgeAnswer(completion.text, completion.finish_reason or "")


def judging(family: Family, config: JudgeConfig) -> Family:
    """The family as a judge: its chat template holds the question alone, and has room for it."""
    return replace(
        family,
        templates={**family.templates, "chat": "{instruction}"},
        sequence_length=_QUESTION_TOKENS + config.max_tokens,
    )
