"""How callbacks run and fail: the page that they are on, and options that many of them share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager, nullcontext
from inspect import Parameter, signature
from typing import Any, TypeVar

import gradio as gr
from gradio.block_function import BlockFunction
from gradio.context import LocalContext

from pipeline.generation.line import UNREAD_SECONDS
from pipeline.schema import FieldError, LabError
from pipeline.sendable import is_sendable, sendable, sendable_text
from ui.markup import escape
from ui.refusals import mark_refused

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
"""For callbacks that only redraw a part of the page."""

AT_ONCE: dict[str, Any] = {**QUIET, "queue": False}
"""For those that answer within milliseconds: passing Gradio's queue would take longer than the work."""

IN_LINE: dict[str, Any] = {"concurrency_limit": None}
"""For callbacks that use the model: all may start, as each waits in the engine's own line."""

T = TypeVar("T")
UNEXPECTED = "Something went wrong on the server, and the server's log says what. Try again."
_DO_NOT_FIT = (
    "These values do not fit the call. The API page lists what each call takes; reload a page that was "
    "opened before the server restarted."
)
_NO_TEXT = 'Some text contains half of a character (a lone surrogate such as "\\ud83d"). Remove it.'
_log = logging.getLogger(__name__)


class Page(gr.Blocks):
    """A page whose callbacks and endpoints fail in words.

    A ``LabError`` is shown to the visitor, or sent to the API client, as it is. Any other exception is
    logged, and a plain sentence takes its place: messages of Python or Gradio help nobody who uses the page.

    Direct calls (``/run/NAME``) pass by Gradio's queue, but not by its limits on simultaneous calls.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See ``gr.Blocks``."""
        super().__init__(*args, **kwargs)
        self._limits: dict[str, asyncio.Semaphore] = {}

    def _place(self, function: BlockFunction) -> AbstractAsyncContextManager[Any]:
        """A place among the calls of a function that run at the same time, as many as in the queue."""
        limit = function.concurrency_limit
        most = self._queue.default_concurrency_limit if limit == "default" else limit
        if most is None:
            return nullcontext()
        return self._limits.setdefault(function.concurrency_id, asyncio.Semaphore(most))

    async def preprocess_data(self, block_fn: BlockFunction, inputs: list[Any], *more: Any) -> list[Any]:
        """Let the components read the inputs; those that do not fit are refused in words."""
        try:
            return await super().preprocess_data(block_fn, _with_defaults(block_fn, inputs), *more)
        except Exception as error:
            _log.info("refused the inputs of %s: %s", block_fn.name, error)
            raise LabError(_DO_NOT_FIT) from error

    async def process_api(
        self, block_fn: BlockFunction | int, inputs: list[Any], *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Run a callback or an endpoint, or the next step of one that streams."""
        function = self.fns[block_fn] if isinstance(block_fn, int) else block_fn
        output: dict[str, Any] = {}
        try:
            event = kwargs.get("event_data")
            if function.fn is None:  # it runs in the browser
                raise LabError(_DO_NOT_FIT)
            if not is_sendable([inputs, event and event._data]):
                raise LabError(_NO_TEXT)
            async with self._place(function):
                output = await super().process_api(function, inputs, *args, **kwargs)
        except LabError as error:
            mark_refused(kwargs.get("request"))
            raise _shown(str(error), function) from error
        except Exception as error:
            _log.exception("%s failed", function.name)
            if function.api_visibility != "public":  # only the page calls it rightly
                mark_refused(kwargs.get("request"))
            raise _shown(UNEXPECTED, function) from error
        finally:
            self._forget(kwargs.get("session_hash"), kwargs.get("event_id"), output)
        return {**output, "data": sendable(output["data"])}

    def _forget(self, session: str | None, event: str | None, output: Mapping[str, Any]) -> None:
        """Drop what Gradio keeps of a call for as long as the app runs, half a megabyte a session.

        That is a copy of all components with their last values, which serves only its deep links; and the
        session itself, where a call by a bare POST has one of its own.
        """
        sessions = self.state_holder.session_data
        if session is None or session not in sessions:
            return
        sessions[session].config_values.clear()
        if session == event and not output.get("is_generating"):
            del sessions[session]
            self.state_holder.time_last_used.pop(session, None)


def _with_defaults(function: BlockFunction, inputs: list[Any]) -> list[Any]:
    """The inputs of an endpoint; those left out at the end have their defaults, as in Python.

    So a call by its positions goes on working when an endpoint gets another parameter.
    """
    if function.api_visibility != "public" or function.fn is None:
        return inputs
    left_out = [one.default for one in [*signature(function.fn).parameters.values()][len(inputs) :]]
    return inputs if Parameter.empty in left_out else [*inputs, *left_out]


def _shown(message: str, function: BlockFunction) -> gr.Error:
    """The error that Gradio passes on. The page renders its messages as HTML, API clients get plain text."""
    text = sendable_text(message) if function.api_visibility == "public" else escape(message)
    return gr.Error(text, print_exception=False)


def visitor() -> str:
    """Who the running callback works for: a session of the page or of an API client, else an address.

    A call by a bare POST has a session of its own, which is named after the call. All MCP clients share the
    session of the server, which calls itself for them.
    """
    request = LocalContext.request.get(None)
    session = getattr(request, "session_hash", None)
    by_mcp = request is not None and request.headers.get("x-gradio-user") == "mcp"
    if by_mcp or session == LocalContext.event_id.get(None):
        session = None
    return str(session or getattr(getattr(request, "client", None), "host", ""))


def while_read(steps: Iterator[T]) -> Iterator[T]:
    """The steps of a callback that streams, until nobody has read any for ten seconds.

    Gradio closes a callback whose reader hangs up. If there never was one, as after a POST whose events
    nobody asks for, it goes on to the end, and its events pile up.
    """
    request, page = LocalContext.request.get(None), LocalContext.blocks.get(None)
    session = getattr(request, "session_hash", None)
    unread, read = 0, time.monotonic()
    for step in steps:
        events = page._queue.pending_messages_per_session.get(session) if page and session else None
        before, unread = unread, events.qsize() if events else 0
        if unread <= before:
            read = time.monotonic()
        elif time.monotonic() - read > UNREAD_SECONDS:
            return
        yield step


def inform(message: str) -> None:
    """Show a message in a corner of the page for some seconds."""
    gr.Info(escape(message))


@contextmanager
def form_words(labels: Mapping[str, str]) -> Iterator[None]:
    """Name a wrong value as the form labels its field."""
    try:
        yield
    except FieldError as error:
        raise LabError(in_form_words(error, labels)) from error


def in_form_words(error: LabError, labels: Mapping[str, str]) -> str:
    """The error's sentence, with the form's label in place of a parameter's name."""
    if isinstance(error, FieldError):
        return f"{labels.get(error.field, error.field)} {error.problem}"
    return str(error)
