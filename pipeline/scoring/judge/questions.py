"""What a judge is asked and what is read from its answer, and the protocol of the models that answer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.scoring.judge.cache import JudgeAnswer
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.thinking import without_thinking

RAISE_LIMIT = "; raise its token limit"
"""Ends a reason: advice for whoever runs the judge."""
_CUT_OFF = ("length", "max_tokens")  # the second is no standard, but some servers send it


class Unanswered(Exception):
    """The judge gave no usable answer to one question; the message says why."""


@dataclass(frozen=True, slots=True)
class Question:
    """One user message to the judge.

    Attributes:
        step: which call of which method.
        vote: index of the vote, so that each is its own answer.
        read: reads the answer without its thinking; raises ``Unanswered`` if it cannot.
    """

    prompt: str
    step: str
    vote: int
    read: Callable[[str], Any]

    def key(self, config: JudgeConfig) -> str:
        """Where the cache keeps this judge's answer."""
        judge = [config.base_url.rstrip("/"), config.model, config.temperature, config.max_tokens]
        return hashlib.sha256(json.dumps([*judge, self.step, self.vote, self.prompt]).encode()).hexdigest()

    def label(self, config: JudgeConfig) -> str:
        """What the answer is, for a reader of the cache."""
        return f"{config.model}, {self.step}, vote {self.vote}"


@dataclass(frozen=True, slots=True)
class Reply:
    """What came of a question.

    Attributes:
        value: what was read from the judge's answer, None if nothing could be.
        reason: why there is no value.
        text: what the judge wrote, if anything.
        left_out: parameters that the judge's server refused.
    """

    value: Any
    reason: str | None
    text: str = ""
    left_out: tuple[str, ...] = ()


class JudgeModel(Protocol):
    """A language model that answers a judge's questions: behind a server, or in our own engine."""

    @property
    def config(self) -> JudgeConfig:
        """The judge's settings."""
        ...

    def replies(self, questions: Sequence[Question]) -> Generator[tuple[int, Reply], None, None]:
        """Answer each question, from the cache if it was answered before.

        Yields a question's index and its reply as soon as there is one. Each answer is kept before it is
        yielded. Closing the generator stops the judging.

        Raises:
            LabError: no question can be answered.
        """
        ...


def read_answer(config: JudgeConfig, question: Question, answer: JudgeAnswer) -> Reply:
    """Read an answer; one that was cut off, or that holds thinking alone, has no value."""
    try:
        value = question.read(_conclusion(config, answer))
    except Unanswered as error:
        return Reply(None, str(error), answer.text, answer.left_out)
    return Reply(value, None, answer.text, answer.left_out)


def _conclusion(config: JudgeConfig, answer: JudgeAnswer) -> str:
    if answer.finish_reason.lower() in _CUT_OFF:
        raise Unanswered(f"the judge's answer was cut off at {config.max_tokens} tokens{RAISE_LIMIT}")
    text = without_thinking(answer.text).strip()
    if not text:
        thought = "the judge's answer holds its thinking and nothing else"
        raise Unanswered(thought if answer.text.strip() else "the judge's answer was empty")
    return text
