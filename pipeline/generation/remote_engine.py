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
from dataclasses import replace
from typing import Any

from pipeline.generation.engine import Request
from pipeline.generation.prompts import Prompt, render
from pipeline.models.families import Family
from pipeline.openai_server import connect, error_message
from pipeline.schema import Completion, Context, LabError, PromptVariant, SamplingParams

_UPDATE_SECONDS = 0.08
_CHARACTERS_PER_TOKEN = 3  # fewer than code and prose have, so that a prompt is trimmed early, not refused


class RemoteEngine:
    """Generates on a server, one concurrent HTTP request for each row (see ``Engine``).

    What cannot be had from a server: its weights cannot be checked, so a completion's fingerprint is
    ``remote:`` and the model's name there, and likelihoods are not given.

    Args:
        family: whose templates and sequence length hold.
        base_url: of the server, usually ending in ``/v1``.
        api_key: its key, empty where it needs none.
        timeout: seconds to wait for the next token.
    """

    def __init__(
        self,
        family: Family,
        base_url: str,
        api_key: str = "",
        timeout: float = 300,
    ) -> None:
        self.family, self.base_url, self.batch_rows = family, base_url, 64
        self._key = api_key.strip()
        self._server = connect(base_url, self._key, timeout, max_retries=3)
        self._served: frozenset[str] | None = None

    def describe(self) -> str:
        """The family and the server."""
        return f"{self.family.title.partition(' (')[0]} · {self.base_url}"

    def render(
        self, instruction: str, variant: PromptVariant, context: Context, decoding: SamplingParams
    ) -> Prompt:
        """The prompt, trimmed to leave room for the completion; a token is taken for three characters."""
        room = self.family.sequence_length - decoding.max_new_tokens
        if room < 1:
            raise LabError(f"Fewer than {self.family.sequence_length:,} new tokens fit this model.")
        return render(instruction, variant, context, room, _count_tokens, self.family.templates)

    def bits_per_byte(self, requests: Sequence[Request], references: Sequence[str]) -> list[float]:
        """Refused: the protocol gives no likelihoods of a text that is not the model's own."""
        raise LabError("A remote server cannot score likelihoods; use the local engine for bits per byte.")

    def stream(
        self, requests: Sequence[Request], decoding: SamplingParams, cancel: threading.Event | None = None
    ) -> Iterator[list[Completion]]:
        """Generate for all requests at once, streaming; see ``Engine.stream``.

        Raises:
            LabError: the server is out of reach, does not know a model, or refuses or breaks off a request.
        """
        models = [self._model(request) for request in requests]
        completions = [
            Completion(f"remote:{model}", "", 0, None, 0.0)
            for request, model in zip(requests, models, strict=True)
        ]
        news: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        stop = threading.Event()

        def work(row: int) -> None:
            try:
                for chunk in self._chunks(models[row], requests[row].prompt, decoding):
                    if stop.is_set():
                        return
                    news.put((row, chunk))
                news.put((row, None))
            except Exception as error:  # raised again in the caller's thread
                news.put((row, error))

        start = shown = time.perf_counter()
        try:
            for row in range(len(requests)):
                threading.Thread(target=work, args=(row,), daemon=True, name="remote-engine").start()
            unfinished = len(requests)
            while unfinished and not (cancel is not None and cancel.is_set()):
                try:
                    row, chunk = news.get(timeout=_UPDATE_SECONDS)
                    completions[row] = self._add(completions[row], chunk, time.perf_counter() - start)
                    unfinished -= chunk is None
                except queue.Empty:
                    pass
                if time.perf_counter() - shown > _UPDATE_SECONDS:
                    yield list(completions)
                    shown = time.perf_counter()
        finally:
            stop.set()  # each thread hangs up at its next token, and the server stops writing
        yield [c if c.finish_reason else replace(c, finish_reason="cancelled") for c in completions]

    def _chunks(self, model: str, prompt: str, decoding: SamplingParams) -> Iterator[Any]:
        sampled = decoding.temperature > 0 and decoding.min_p > 0  # greedy needs no min_p
        with self._server.completions.create(
            model=model,
            prompt=prompt,
            max_tokens=decoding.max_new_tokens,
            temperature=decoding.temperature,
            seed=decoding.seed,
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"min_p": decoding.min_p} if sampled else None,
        ) as chunks:
            yield from chunks

    def _add(self, completion: Completion, chunk: Any, seconds: float) -> Completion:
        if isinstance(chunk, Exception):
            raise self._in_words(chunk, completion) from None
        if chunk is None:
            if completion.finish_reason is None:
                name = completion.fingerprint.removeprefix("remote:")
                raise LabError(f"The server at {self.base_url} broke off the answer of {name}; try again.")
            return completion
        for choice in chunk.choices or ():
            completion = replace(
                completion,
                text=completion.text + (choice.text or ""),
                tokens=completion.tokens + bool(choice.text),  # nearly every server sends one token a chunk
                seconds=seconds,
                seconds_to_first=completion.seconds_to_first or seconds,
            )
            if choice.finish_reason:
                whole = choice.finish_reason != "length"
                completion = replace(completion, finish_reason="stop" if whole else "length")
        if chunk.usage:
            completion = replace(completion, tokens=chunk.usage.completion_tokens)
        return completion

    def _in_words(self, error: Exception, completion: Completion) -> Exception:
        import openai

        if not isinstance(error, openai.APIError):
            return error
        words = error_message(error, self._key)
        if "min_p" in words:
            return LabError(f"The server at {self.base_url} does not know min_p; set it to 0 ({words}).")
        name = completion.fingerprint.removeprefix("remote:")
        return LabError(f"The server at {self.base_url} did not answer for {name} ({words}).")

    def _model(self, request: Request) -> str:
        """The checkpoint's name, which must be in the server's list of models.

        Some servers answer under any name with the one model that they have.
        """
        import openai

        name = request.checkpoint.name
        if self._served is None or name not in self._served:
            try:
                self._served = frozenset(model.id for model in self._server.models.list())
            except openai.APIError as error:
                words = error_message(error, self._key)
                raise LabError(
                    f"The server at {self.base_url} does not say which models it has ({words})."
                ) from None
        if name not in self._served:
            raise LabError(
                f"The server at {self.base_url} has no model {name!r}. "
                f"It has: {', '.join(sorted(self._served)) or 'none'}."
            )
        return name


def _count_tokens(text: str) -> int:
    return math.ceil(len(text) / _CHARACTERS_PER_TOKEN)
