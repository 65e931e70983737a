"""The remote engine: any server with OpenAI's ``/v1/completions``, such as vLLM, holding the checkpoints.

Every checkpoint is a model there, under the checkpoint's name. This, for example, serves a family:
``vllm serve BASE --served-model-name baseline --enable-lora --lora-modules 1000-regular=FOLDER …``
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from pipeline.generation.engine import Request
from pipeline.generation.line import Line, PlaceInLine, Seat, Turn
from pipeline.generation.prompts import Prompt, render_prompt, tokens_for_prompt
from pipeline.generation.remote_likelihood import nats, split
from pipeline.models.families import Family
from pipeline.openai_server import UNREADABLE, OptionalParameters, connect, error_message
from pipeline.schema import (
    Completion,
    Context,
    FinishReason,
    LabError,
    PromptVariant,
    SamplingParams,
    counted,
)
from pipeline.spending import OverBudget, Purse, pay

_ROWS = 64  # requests at once
_RETRIES = 3  # of a request that got no answer
_UPDATE_SECONDS = 0.08
_BROKEN_OFF = ("abort", "cancelled", "error")  # reasons to finish that leave the answer incomplete
_LONGEST_TOKEN = 200  # characters, such as a row of spaces or dashes
_MOST_TOKENS = 10**6  # a larger count is a server's mistake
_CHARACTERS_PER_TOKEN = 3  # fewer than code and prose have, so that a prompt is trimmed early, not refused


class RemoteEngine:
    """Generates on a server, one concurrent HTTP request for each row (see ``Engine``).

    A server's weights cannot be checked, so a completion's fingerprint is ``remote:`` and the model's name
    there. A parameter that it refuses and that it can do without (``seed``,
    ``min_p``) is left out, and the completion's note says so.

    Args:
        family: whose templates and sequence length hold.
        base_url: of the server, usually ending in ``/v1``.
        api_key: its key, empty where it needs none.
        timeout: seconds to wait for the next token.
        purse: what the requests are paid from, None where nothing limits that.
    """

    def __init__(
        self,
        family: Family,
        base_url: str,
        api_key: str = "",
        timeout: float = 300,
        purse: Purse | None = None,
    ) -> None:
        self.family, self.base_url, self._purse = family, base_url, purse
        self._line = Line(_ROWS)
        self._key = api_key.strip()
        self._server = connect(base_url, self._key, timeout, _RETRIES)
        self._optional = OptionalParameters(base_url)
        self._served: frozenset[str] | None = None

    def describe(self) -> str:
        """The family and the server."""
        return f"{self.family.title.partition(' (')[0]} · {self.base_url}"

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, sampling: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion; three characters count as one token."""
        if variant == "chat":
            raise LabError("The chat prompt needs the model's own template, which only the local engine has.")
        room = tokens_for_prompt(self.family.sequence_length, sampling.max_new_tokens)
        return render_prompt(instruction, variant, context, room, _count_tokens, self.family.templates)

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float | LabError]:
        """Bits per UTF-8 byte of each reference given its prompt, from a server that gives likelihoods.

        There is an error in the place of a row if the server does not, as most but vLLM's, is out of reach,
        has no such model or gives no likelihood of that text, or if there is no money for it.
        """
        with ThreadPoolExecutor(_ROWS, thread_name_prefix="likelihood") as pool:
            return list(pool.map(self._bits_or_error, requests, references))

    def _bits_or_error(self, request: Request, reference: str) -> float | LabError:
        try:
            return self._bits(self._model(request), request.prompt, reference)
        except LabError as error:
            return error

    def _bits(self, model: str, prompt: str, reference: str) -> float:
        import openai

        try:  # the two are split apart, as the local engine does, so that both mean the same
            before = split(self._server, model, prompt, start=True)
            after = split(self._server, model, reference, start=False)
            with pay(self._purse, model, prompt + reference, 1, 1 + _RETRIES) as bill:
                total, usage = nats(self._server, model, before, after)
                bill.tokens = bill.most  # unless the server counts
                bill.read(usage)
        except openai.APIConnectionError as error:
            raise self._in_words(error, model) from error
        except (openai.APIError, *UNREADABLE) as error:
            status = getattr(error, "status_code", None)
            why = error_message(error, self._key) if status else "its reply is of another kind"
            raise LabError(
                f"The server at {self.base_url} gives no likelihoods of a given text, as vLLM's does ({why})."
            ) from error
        return total / math.log(2) / len(reference.encode())

    def place(self) -> PlaceInLine | None:
        """See ``Engine.place``."""
        return self._line.place()

    def stream(
        self, requests: Sequence[Request], sampling: SamplingParams, turn: Turn | None = None
    ) -> Iterator[list[Completion]]:
        """Send all requests, as many at once as a server takes, and stream; see ``Engine.stream``.

        Raises:
            LabError: the server is out of reach, does not know a model, or refuses or breaks off a request.
            OverBudget: there is no money for some of the requests; the others are answered.
        """
        models = [self._model(request) for request in requests]
        completions = [Completion(f"remote:{model}", "", 0, None, 0.0) for model in models]
        prompts = [request.prompt for request in requests]
        with self._line.seat(turn or Turn(), len(requests), 1, sampling.max_new_tokens) as seat:
            for _ in self._line.wait(seat):
                yield list(completions)
            if self._line.runs(seat):
                for _ in self._fill(completions, models, prompts, sampling, seat):
                    yield list(completions)
        yield [c if c.finish_reason else replace(c, finish_reason="cancelled") for c in completions]

    def _fill(
        self,
        completions: list[Completion],
        models: Sequence[str],
        prompts: Sequence[str],
        sampling: SamplingParams,
        seat: Seat,
    ) -> Iterator[None]:
        """Fill in the completions while they are written; yields after some news."""
        news: queue.SimpleQueue[tuple[int, _Piece | Exception | None]] = queue.SimpleQueue()
        rows = iter(range(len(prompts)))  # each thread takes the next one
        stop = threading.Event()

        def work() -> None:
            for row in rows:
                if stop.is_set():
                    return
                try:
                    for piece in self._pieces(models[row], prompts[row], sampling):
                        if stop.is_set() or seat.unread:
                            return
                        news.put((row, piece))
                    news.put((row, None))
                except Exception as error:
                    news.put((row, self._in_words(error, models[row])))

        start = shown = time.perf_counter()
        try:
            for _ in range(min(len(prompts), _ROWS)):
                threading.Thread(target=work, daemon=True, name="remote-engine").start()
            unfinished, over = len(prompts), None
            while unfinished and not seat.turn.leaving.is_set():
                with suppress(queue.Empty):
                    row, piece = news.get(timeout=_UPDATE_SECONDS)
                    if isinstance(piece, OverBudget):
                        unfinished, over = unfinished - 1, piece
                    elif isinstance(piece, Exception):
                        raise piece
                    elif piece is not None:
                        completions[row] = _add(completions[row], piece, time.perf_counter() - start)
                        self._check_length(completions[row], models[row], sampling)
                    elif completions[row].finish_reason is None:
                        raise LabError(
                            f"The server at {self.base_url} broke off the answer of {models[row]}; try again."
                        )
                    else:
                        unfinished -= 1
                if time.perf_counter() - shown > _UPDATE_SECONDS:
                    seat.steps_done = max(completion.tokens for completion in completions)
                    yield
                    seat.seen, shown = time.monotonic(), time.perf_counter()
            if over:
                yield
                raise over
        finally:
            stop.set()  # each thread hangs up at its next token, and the server stops writing
        self._line.seconds_per_step = (time.perf_counter() - start) / max(1, seat.steps_done)

    def _pieces(self, model: str, prompt: str, sampling: SamplingParams) -> Iterator[_Piece]:
        """Stream one answer."""
        optional: dict[str, Any] = {"seed": sampling.seed, "stream_options": {"include_usage": True}}
        if sampling.temperature > 0 and sampling.min_p > 0:  # greedy needs no min_p
            optional["min_p"] = sampling.min_p

        def request(accepted: dict[str, Any]) -> tuple[Any, Any]:
            stream = self._server.completions.create(
                model=model,
                prompt=prompt,
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                stream=True,
                extra_body=accepted,
            )
            try:
                return stream, next(stream, None)  # some servers refuse a parameter in the stream only
            except BaseException:
                stream.close()
                raise

        with pay(self._purse, model, prompt, sampling.max_new_tokens, 1 + _RETRIES) as bill:
            stream, first = self._optional.send(request, optional)
            bill.tokens = bill.most  # until the server counts
            with stream:
                yield _Piece(note=_note([name for name in optional if name in self._optional.left_out]))
                for event in () if first is None else chain([first], stream):
                    bill.read(getattr(event, "usage", None))
                    yield _read(event)

    def _check_length(self, completion: Completion, model: str, sampling: SamplingParams) -> None:
        if len(completion.text) > _LONGEST_TOKEN * sampling.max_new_tokens:
            raise LabError(
                f"The server at {self.base_url} does not keep to max_tokens: the answer of {model} has "
                f"{len(completion.text):,} characters, and {counted(sampling.max_new_tokens, 'token')} were "
                "asked for."
            )

    def _in_words(self, error: Exception, model: str) -> Exception:
        import openai

        if isinstance(error, openai.APIError):
            message = error_message(error, self._key)
            return LabError(f"The server at {self.base_url} did not answer for {model} ({message}).")
        if isinstance(error, UNREADABLE):
            return LabError(f"The server at {self.base_url} sent a reply that cannot be read for {model}.")
        return error

    def _model(self, request: Request) -> str:
        """The checkpoint's name, which must be in the server's list of models.

        Some servers answer under any name with the one model that they have.
        """
        import openai

        name = request.checkpoint.name
        if self._served is None or name not in self._served:
            problem = ""
            try:
                self._served = frozenset(str(model.id) for model in self._server.models.list())
            except openai.APIError as error:
                problem = error_message(error, self._key)
            except UNREADABLE:
                problem = "its list cannot be read"
            if problem:
                raise LabError(f"The server at {self.base_url} does not say which models it has ({problem}).")
        if self._served is None or name not in self._served:
            raise LabError(
                f"The server at {self.base_url} has no model {name!r}. "
                f"It has: {', '.join(sorted(self._served or ())) or 'none'}."
            )
        return name


@dataclass(frozen=True, slots=True)
class _Piece:
    """What one event of a stream adds to a completion; ``tokens`` are all so far, None if not reported."""

    text: str = ""
    finish_reason: FinishReason | None = None
    tokens: int | None = None
    note: str = ""


def _read(chunk: Any) -> _Piece:
    """Read an event of the stream; raises one of ``UNREADABLE``, since the package checks nothing."""
    text, reason = "", None
    for choice in chunk.choices or ():
        if getattr(choice, "delta", None) is not None:
            raise ValueError("an event of the chat protocol")
        if choice.index:
            continue  # another answer to the same prompt, which was not asked for
        text += choice.text or ""
        reason = choice.finish_reason or reason
    finish: FinishReason | None = None
    if reason not in (None, *_BROKEN_OFF):
        finish = "length" if reason == "length" else "stop"
    tokens = getattr(chunk.usage, "completion_tokens", None)
    return _Piece(text, finish, tokens if type(tokens) is int and 0 < tokens < _MOST_TOKENS else None)


def _add(completion: Completion, piece: _Piece, seconds: float) -> Completion:
    events = completion.tokens + bool(piece.text)  # nearly every server sends one token in each event
    if piece.text or piece.finish_reason:
        completion = replace(
            completion,
            text=completion.text + piece.text,
            finish_reason=piece.finish_reason or completion.finish_reason,
            seconds=seconds,
            seconds_to_first=completion.seconds_to_first or seconds,
        )
    return replace(completion, tokens=piece.tokens or events, note=piece.note or completion.note)


def _note(refused: Sequence[str]) -> str:
    """What the reader of a completion should know of the parameters that its server refused."""
    were = "was" if len(refused) == 1 else "were"
    return f"The server refuses {' and '.join(refused)}, which {were} left out." if refused else ""


def _count_tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)
