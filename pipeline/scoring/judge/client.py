"""Ask a judge over HTTP: any server with OpenAI's chat protocol.

Every answer that could be read is stored before it is used, so a run that was stopped or killed does not pay
for it again. Answers that could not be read are not stored. Only the client has the key; the config, which is
stored, has none.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import tenacity

from pipeline.openai_server import (
    UNREADABLE,
    OptionalParameters,
    connect,
    error_message,
    refused_parameter,
    without_key,
)
from pipeline.schema import LabError
from pipeline.scoring.judge.cache import AnswerCache, JudgeAnswer
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.questions import Question, Reply, Unanswered, read_answer
from pipeline.spending import OverBudget, Purse, pay

_LIMIT_NAMES = ("max_tokens", "max_completion_tokens")
_MOST_FAILURES = 5  # calls in a row without an answer: then the judge is at fault, not the question
_backoff = tenacity.wait_exponential_jitter(initial=0.4, max=30, jitter=0.2)  # seconds
_LOG = logging.getLogger(__name__)


class Stopped(Exception):
    """The judging was stopped before this question was answered."""


class JudgeClient:
    """Asks one judge on its server (see ``JudgeModel``).

    Args:
        config: the judge.
        api_key: its key, empty for a server that needs none; never read from the environment here.
        cache_dir: where answers are kept.
        timeout: seconds to wait for one answer.
        patience: seconds for one question, after which no further try is made.
        calls_in_flight: most requests at the same time.
        purse: what the requests are paid from, None where nothing limits that.

    Raises:
        LabError: OpenAI's own service without a key, or a key that cannot be one.
    """

    def __init__(
        self,
        config: JudgeConfig,
        api_key: str,
        cache_dir: Path,
        timeout: float = 300,
        patience: float = 600,
        calls_in_flight: int = 8,
        purse: Purse | None = None,
    ) -> None:
        self.config = config
        self._key = api_key.strip()
        if config.at_openai and not self._key:
            raise LabError("The judge at OpenAI needs a key. Set OPENAI_API_KEY, or enter a key.")
        self._patience, self._calls_in_flight, self._purse = patience, calls_in_flight, purse
        # The package's own retries cannot be stopped while they wait, and their total time has no limit.
        self._server = connect(config.base_url, self._key, timeout, max_retries=0)
        self._optional = OptionalParameters(config.base_url)
        self._cache = AnswerCache(cache_dir)
        # Every server knows the old name, or refuses it with an error. A server that does not know the new
        # name may ignore it without an error, and write without a limit.
        self._limit_name = _LIMIT_NAMES[config.at_openai]
        self._lock = threading.Lock()
        self._failures_in_a_row = 0

    def replies(self, questions: Sequence[Question]) -> Generator[tuple[int, Reply], None, None]:
        """Answer each question, several at the same time; see ``JudgeModel``.

        Raises:
            LabError: no question can be answered (key, model, credit, server). Answers to requests that were
                sent already are kept.
        """
        stop = threading.Event()
        with ThreadPoolExecutor(self._calls_in_flight, thread_name_prefix="judge") as pool:
            futures = {pool.submit(self._reply, each, stop): index for index, each in enumerate(questions)}
            try:
                for future in as_completed(futures):
                    if (reply := future.result()) is not None:
                        yield futures[future], reply
            finally:
                stop.set()  # the pool waits for requests that were sent; no other is sent

    def _reply(self, question: Question, stop: threading.Event) -> Reply | None:
        """One reply; None if the judging was stopped before an answer was paid for."""
        known = self._cache.get(question.key(self.config))
        if known is not None:
            reply = read_answer(self.config, question, known)
            if reply.reason is None:  # else an older version kept it: ask again
                return reply
        try:
            answer = self._ask_server(question.prompt, stop)
        except Unanswered as error:
            self._count_failure(error, stop)
            return Reply(None, str(error))
        except OverBudget as error:
            return Reply(None, str(error))
        except Stopped:
            return None
        except BaseException:
            stop.set()  # at once, not when the result is read: each further request costs money
            raise
        with self._lock:
            self._failures_in_a_row = 0
        reply = read_answer(self.config, question, answer)
        if reply.reason is None:
            self._cache.put([(question.key(self.config), question.label(self.config), answer)])
        return reply

    def _count_failure(self, error: Unanswered, stop: threading.Event) -> None:
        with self._lock:
            self._failures_in_a_row += 1
            too_many = self._failures_in_a_row >= _MOST_FAILURES
        if too_many:
            stop.set()
            raise LabError(
                f"The judge at {self.config.base_url} did not answer {_MOST_FAILURES} questions in a row. "
                f"The last reason: {error}. All answers so far are kept. Resume the evaluation to ask again."
            )

    def _ask_server(self, prompt: str, stop: threading.Event) -> JudgeAnswer:
        """Ask one question; after a temporary error of the server, ask again."""
        import openai

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            wait=_wait,
            stop=tenacity.stop_before_delay(self._patience),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._log_retry,
            reraise=True,
        )
        try:
            return retrying(self._request, prompt, stop)
        except openai.APIError as error:
            failure = self._failure(error, retrying.statistics)
        # Raised outside the handler, so that no traceback holds the server's words: they may repeat the key.
        raise failure

    def _request(self, prompt: str, stop: threading.Event) -> JudgeAnswer:
        if stop.is_set():
            raise Stopped
        try:
            response = self._create(prompt)
        except (ValueError, RecursionError):
            raise Unanswered("the judge's server sent broken JSON") from None
        try:  # the package does not check what it builds, and gives a page that is no JSON as a string
            choice = response.choices[0]
            message = choice.message
            text, refusal = _text(message.content), getattr(message, "refusal", None)
            finish_reason = str(choice.finish_reason or "")
            thought = getattr(message, "reasoning_content", None) or getattr(message, "reasoning", None)
        except UNREADABLE:
            raise Unanswered(
                f"the judge's server sent a reply without an answer in it{_why(response)}"
            ) from None
        if finish_reason == "content_filter":
            raise Unanswered("the judge's content filter held the answer back")
        if not text and refusal:
            raise Unanswered(f"the judge refused: {self._clean(str(refusal))[:300]}")
        if not text and thought:
            text = f"<think>{thought}</think>"  # so that the reader of an unscored vote sees it
        return JudgeAnswer(self._clean(text), finish_reason, self._optional.left_out)

    def _create(self, prompt: str) -> Any:
        """Send one request; if the server does not take the limit's name, send the other name."""
        import openai

        def create(limit_name: str) -> Any:
            limit = {limit_name: self.config.max_tokens}
            return self._optional.send(
                lambda optional: self._post(prompt, {**limit, **optional}),
                {"temperature": self.config.temperature},
            )

        name = self._limit_name
        try:
            return create(name)
        except openai.APIError as error:
            if refused_parameter(error, [name]) is None:
                raise
        other = _LIMIT_NAMES[1 - _LIMIT_NAMES.index(name)]
        response = create(other)
        self._limit_name = other
        return response

    def _post(self, prompt: str, parameters: dict[str, Any]) -> Any:
        """Send one request, if there is money for it."""
        with pay(self._purse, self.config.model, prompt, self.config.max_tokens) as bill:
            response = self._server.chat.completions.create(
                model=self.config.model,
                messages=[{"role": "user", "content": prompt}],
                extra_body=parameters,
            )
            bill.read(getattr(response, "usage", None))
            return response

    def _failure(self, error: Any, tries: dict[str, Any]) -> Exception:
        """Put the last error into words: ``LabError`` if no other question would get an answer."""
        where, status = self.config.base_url, getattr(error, "status_code", None)
        message = error_message(error, self._key)
        if status in (401, 403):
            return LabError(
                f"The judge at {where} refused the key ({message}). Check OPENAI_API_KEY, or enter another."
            )
        if status == 404:
            return LabError(
                f"The judge at {where} has no model {self.config.model!r}, or this is not the address of "
                f"an OpenAI-compatible server, which usually ends in /v1 ({message})."
            )
        if status == 402 or error.code == "insufficient_quota":
            return LabError(f"The judge's account at {where} has no credit left ({message}).")
        if not _may_pass(error):
            return Unanswered(f"the judge refused the question ({message})")
        times, seconds = tries["attempt_number"], tries["delay_since_first_attempt"]
        return Unanswered(f"the judge gave no answer in {times} tries over {seconds:.0f} s ({message})")

    def _log_retry(self, state: tenacity.RetryCallState) -> None:
        message = error_message(_error(state), self._key)
        _LOG.info("The judge gave no answer (%s); asking again in %.1f s", message, state.upcoming_sleep)

    def _clean(self, text: str) -> str:
        """The text without the key, and as UTF-8 can hold it."""
        return without_key(text, self._key).encode("utf-8", "replace").decode()


def _text(content: Any) -> str:
    """A message's content; some servers send a list of parts, with the thinking in parts of their own."""
    if isinstance(content, list):
        return "".join(str(part["text"]) for part in content if part["type"] == "text")
    return str(content or "")


def _why(response: Any) -> str:
    """The error that some servers send with status 200, for the end of a sentence."""
    error = getattr(response, "error", None)
    message = error.get("message") if isinstance(error, dict) else error
    return f" ({str(message)[:300]})" if message else ""


def _error(state: tenacity.RetryCallState) -> Any:
    """What the last try raised."""
    return state.outcome.exception() if state.outcome else None


def _may_pass(error: BaseException) -> bool:
    """Whether asking again may help: the connection failed, or the server is busy or broken."""
    import openai

    status = getattr(error, "status_code", 0)
    if getattr(error, "code", None) == "insufficient_quota":
        return False
    return isinstance(error, openai.APIConnectionError) or status in (408, 409, 429) or status >= 500


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds before the next try: longer from try to try, and never less than Retry-After."""
    headers = getattr(getattr(_error(state), "response", None), "headers", {})
    return max(_retry_after(headers.get("retry-after") or ""), _backoff(state))


def _retry_after(value: str) -> float:
    """Seconds of a Retry-After header, a number or a date (RFC 9110, 10.2.3); 0 if it is neither."""
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except ValueError:
            return 0.0
    return 0.0 if math.isnan(seconds) else max(0.0, seconds)
