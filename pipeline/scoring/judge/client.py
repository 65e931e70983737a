"""Asking a judge over HTTP: any server that speaks the OpenAI chat protocol, each answer paid for once.

Every answer is on the disk before it is used, so a run that was stopped or killed never asks for it again.
Calls that failed are not kept. The key is held by the client alone, never by the config that is stored.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from pipeline.openai_server import connect, without_key, words_of
from pipeline.schema import LabError
from pipeline.scoring.judge.config import JudgeConfig

_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_GIVE_UP_AFTER = 5  # calls in a row without an answer: by then it is the judge, not the question
_LONGEST_BACKOFF = 30.0  # seconds
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the judge wrote, and why it stopped (``stop``, ``length``)."""

    text: str
    finish_reason: str


class Unanswered(Exception):
    """No usable answer came from the judge; the text says why."""


class Cancelled(Exception):
    """The caller asked to stop before this call was made."""


class JudgeClient:
    """Asks one judge. Safe to use from many threads.

    Args:
        config: the judge.
        api_key: its key, empty for a server that needs none; never read from the environment here.
        cache_dir: where answers are kept.
        timeout: seconds to wait for one answer.
        patience: seconds for one question, after which no further try is made.

    Raises:
        LabError: OpenAI's own service without a key, or a key that cannot be one.
    """

    def __init__(
        self, config: JudgeConfig, api_key: str, cache_dir: Path, timeout: float = 300, patience: float = 600
    ) -> None:
        self.config = config
        self._key = api_key.strip()
        if config.at_openai and not self._key:
            raise LabError("The judge at OpenAI needs a key: set OPENAI_API_KEY, or enter one.")
        self._patience = patience
        # The package's own retries cannot be cancelled while they sleep and have no bound in total.
        self._server = connect(config.base_url, self._key, timeout, max_retries=0)
        self._cache = AnswerCache(cache_dir)
        # The old name is known everywhere, and refused aloud by the models that no longer take it; a server
        # that does not know the new one may pass over it in silence, and write without a limit.
        self._limit_name = _LIMIT_NAMES[config.at_openai]
        self._lock = threading.Lock()
        self._unanswered_in_a_row = 0

    def ask(self, prompt: str, step: str, vote: int, stopped: Callable[[], bool] = lambda: False) -> Answer:
        """The judge's answer, from the cache where it was paid for before.

        Args:
            prompt: one user message.
            step: which call of which method, part of the cache's key.
            vote: index of the vote, so that each is its own answer.
            stopped: asked before each try and while waiting between tries.

        Raises:
            Unanswered: this question got no answer; another may.
            Cancelled: ``stopped`` said so before an answer was paid for.
            LabError: no question can be answered (key, model, credit, server).
        """
        config = self.config
        judge = [config.base_url.rstrip("/"), config.model, config.temperature, config.max_tokens]
        key = hashlib.sha256(json.dumps([*judge, step, vote, prompt]).encode()).hexdigest()
        answer = self._cache.get(key)
        if answer is None:
            try:
                answer = self._insist(prompt, stopped)
            except Unanswered as error:
                self._count(error)
                raise
            self._cache.put(key, f"{config.model}, {step}, vote {vote}", answer)
            with self._lock:
                self._unanswered_in_a_row = 0
        return answer

    def _count(self, error: Unanswered) -> None:
        with self._lock:
            self._unanswered_in_a_row += 1
            hopeless = self._unanswered_in_a_row >= _GIVE_UP_AFTER
        if hopeless:
            raise LabError(
                f"The judge at {self.config.base_url} left {_GIVE_UP_AFTER} questions in a row unanswered, "
                f"the last because {error}. Every answer so far is kept; start again when the judge is well."
            )

    def _insist(self, prompt: str, stopped: Callable[[], bool]) -> Answer:
        """One question, asked again while that makes sense."""
        import openai

        started, tries = time.monotonic(), 0
        while True:
            if stopped():
                raise Cancelled
            try:
                return self._request(prompt)
            except openai.APIError as error:
                tries += 1
                status, words = getattr(error, "status_code", None), words_of(error, self._key)
                delay = _retry_delay(error, tries)
                hopeless = self._hopeless(status, error.code, words)
            # Raised out here, so that no traceback carries the server's own words: they may repeat the key.
            if hopeless:
                raise LabError(hopeless)
            if delay is None:
                raise Unanswered(f"the judge refused the question ({words})")
            spent = time.monotonic() - started
            if spent + delay > self._patience:
                raise Unanswered(f"the judge gave no answer in {tries} tries over {spent:.0f} s ({words})")
            _LOG.info("The judge gave no answer (%s); asking again in %.1f s", words, delay)
            _sleep(delay, stopped)

    def _request(self, prompt: str) -> Answer:
        try:
            response = self._create(prompt)
        except (json.JSONDecodeError, UnicodeDecodeError):
            raise Unanswered("the judge's server sent broken JSON") from None
        try:  # the package does not check what it builds, and gives a page that is no JSON as a string
            choice = response.choices[0]
            text = str(choice.message.content or choice.message.refusal or "")
            finish_reason = str(choice.finish_reason or "")
        except (AttributeError, IndexError, KeyError, TypeError):
            raise Unanswered("the judge's server sent a reply without an answer in it") from None
        if finish_reason == "content_filter":
            raise Unanswered("the judge's content filter held the answer back")
        return Answer(without_key(text, self._key), finish_reason)

    def _create(self, prompt: str) -> Any:
        """One request; where the server does not take the limit's name, the same with the other name."""
        import openai

        def create(limit_name: str) -> Any:
            limit: dict[str, Any] = {limit_name: self.config.max_tokens}
            return self._server.chat.completions.create(
                model=self.config.model,
                messages=[{"role": "user", "content": prompt}],
                temperature=self.config.temperature,
                **limit,
            )

        name = self._limit_name
        try:
            return create(name)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if name not in error.message:
                raise
        other = _LIMIT_NAMES[1 - _LIMIT_NAMES.index(name)]
        response = create(other)
        self._limit_name = other
        return response

    def _hopeless(self, status: int | None, code: str | None, words: str) -> str | None:
        """What to tell the user where no other question would fare better."""
        where = self.config.base_url
        if status in (401, 403):
            return f"The judge at {where} refused the key ({words}). Check OPENAI_API_KEY, or enter another."
        if status == 404:
            return (
                f"The judge at {where} knows no model {self.config.model!r}, or that is not the address of "
                f"an OpenAI-compatible server, which usually ends in /v1 ({words})."
            )
        if status == 402 or code == "insufficient_quota":
            return f"The judge's account at {where} has no credit left ({words})."
        return None


class AnswerCache:
    """Answers on disk, in an SQLite file that several processes may share.

    Raises:
        LabError: the file cannot be used; better to stop than to buy answers and lose them.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "answers.sqlite"
        with self._open() as base:
            base.execute(
                "CREATE TABLE IF NOT EXISTS answers"
                " (key TEXT PRIMARY KEY, label TEXT, text TEXT, finish_reason TEXT, created TEXT)"
            )

    def get(self, key: str) -> Answer | None:
        """The answer under this key, if it was given before."""
        with self._open() as base:
            row = base.execute("SELECT text, finish_reason FROM answers WHERE key = ?", (key,)).fetchone()
        return Answer(*row) if row else None

    def put(self, key: str, label: str, answer: Answer) -> None:
        """Keep an answer; it is on the disk when this returns."""
        row = (key, label, answer.text, answer.finish_reason, datetime.now(UTC).isoformat(timespec="seconds"))
        with self._open() as base:
            base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?)", row)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        # One short connection a use: no lock and no lifetime to mind, and a millisecond is nothing to a call.
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self._file, timeout=60)) as base, base:
                yield base
        except (sqlite3.Error, OSError) as error:
            raise LabError(f"The judge's answers cannot be kept in {self._file}: {error}") from error


def _retry_delay(error: Any, tries: int) -> float | None:
    """Seconds to wait before asking again, None where asking again is of no use.

    Never less than the server asks for (Retry-After), and longer from try to try.
    """
    import openai

    status = getattr(error, "status_code", 0)
    told = 0.0
    if status in (408, 409, 429) or status >= 500:
        told = _retry_after(error.response.headers.get("retry-after") or "")
    elif not isinstance(error, openai.APIConnectionError):  # which a time-out is too
        return None
    return max(told, min(0.5 * 2 ** (tries - 1), _LONGEST_BACKOFF) * random.uniform(0.75, 1.0))


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 where it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)


def _sleep(seconds: float, stopped: Callable[[], bool]) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        if stopped():
            raise Cancelled
        time.sleep(min(left, 0.1))
