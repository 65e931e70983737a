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
from gradio.blocks import BlocksConfig
from gradio.context import LocalContext
from gradio.state_holder import SessionState

from pipeline.generation.line import UNREAD_SECONDS
from pipeline.schema import FieldError, LabError
from pipeline.sendable import is_sendable, sendable, sendable_text
from pipeline.settings import Settings
from ui.callers import is_local
from ui.machine_paths import machine_paths, without_paths
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


class _Config(BlocksConfig):
    """The page's components, of which Gradio copies this record for each session.

    Gradio describes all components anew for each: 60 ms, in which no other request is answered, and half a
    megabyte. That serves only its own links to a state of the page, so that sessions here do without.
    """

    def __copy__(self) -> BlocksConfig:
        """The record for a session."""
        copied = super().__copy__()
        copied.config_for_block = lambda *_: {}
        return copied


class Page(gr.Blocks):
    """A page whose callbacks and endpoints fail in words.

    A ``LabError`` is shown to the visitor, or sent to the API client, as it is. Any other exception is
    logged, and a plain sentence takes its place: messages of Python or Gradio help nobody who uses the page.

    Strangers are sent no folders of the machine, neither in messages nor in what the page shows.

    Direct calls (``/run/NAME``) pass by Gradio's queue, but not by its limits on simultaneous calls.
    """

    def __init__(self, settings: Settings, **kwargs: Any) -> None:
        """See ``gr.Blocks``."""
        super().__init__(**kwargs)
        self.default_config = _Config(self)
        self._settings, self._paths = settings, machine_paths(settings)
        self._limits: dict[str, asyncio.Semaphore] = {}

    def _place(self, function: BlockFunction) -> AbstractAsyncContextManager[Any]:
        """A place among the calls of a function that run at the same time, as many as in the queue."""
        limit = function.concurrency_limit
        most = self._queue.default_concurrency_limit if limit == "default" else limit
        if most is None:
            return nullcontext()
        return self._limits.setdefault(function.concurrency_id, asyncio.Semaphore(most))

    async def preprocess_data(
        self, block_fn: BlockFunction, inputs: list[Any], state: SessionState | None, *more: Any
    ) -> list[Any]:
        """Let the components read the inputs; those that do not fit are refused in words."""
        try:
            given = _still_offered(block_fn, _with_defaults(block_fn, inputs), state)
            return await super().preprocess_data(block_fn, given, state, *more)
        except Exception as error:
            _log.info("refused the inputs of %s: %s", block_fn.name, error)
            raise LabError(_DO_NOT_FIT) from error

    async def postprocess_data(
        self, block_fn: BlockFunction, predictions: Any, state: SessionState | None
    ) -> list[Any]:
        """Let the components show the answer; one that updates none of several leaves all as they are."""
        if isinstance(predictions, dict) and not predictions and len(block_fn.outputs) > 1:
            predictions = gr.skip()
        return await super().postprocess_data(block_fn, predictions, state)

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
            raise _shown(self._for_reader(str(error), kwargs.get("request")), function) from error
        except Exception as error:
            _log.exception("%s failed", function.name)
            if function.api_visibility != "public":  # only the page calls it rightly
                mark_refused(kwargs.get("request"))
            raise _shown(UNEXPECTED, function) from error
        finally:
            self._forget(kwargs.get("session_hash"), kwargs.get("event_id"), output)
        return {**output, "data": self._for_reader(sendable(output["data"]), kwargs.get("request"))}

    def _for_reader(self, value: T, request: gr.Request | None) -> T:
        """What a caller is sent: a stranger gets no folders of the machine."""
        if request is not None and is_local(self._settings, request.headers):
            return value
        shown: T = without_paths(value, self._paths)
        return shown

    def _forget(self, session: str | None, event: str | None, output: Mapping[str, Any]) -> None:
        """Drop what Gradio keeps of a call for as long as the app runs.

        That is what it notes for its own links (see ``_Config``), and the session itself, where a call by a
        bare POST has one of its own.
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


def _still_offered(function: BlockFunction, inputs: list[Any], state: SessionState | None) -> list[Any]:
    """The inputs, with what the visitor's page still offers: some boxes of a group, and None in a dropdown.

    A call that the browser sends while another one changes the choices still has values of before. The
    browser then sends it again with the new ones.
    """

    def offered(component: Any, value: Any) -> Any:
        shown = state[component._id] if state and component._id in state else component
        if isinstance(component, gr.CheckboxGroup) and isinstance(value, list):
            choices = [choice for _, choice in shown.choices]
            return [each for each in value if each in choices]
        if isinstance(component, gr.Dropdown) and isinstance(value, str) and shown is not component:
            known = shown.allow_custom_value or value in [choice for _, choice in shown.choices]
            return value if known else None
        return value

    return [*map(offered, function.inputs, inputs), *inputs[len(function.inputs) :]]


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
    nobody asks for, it goes on to the end, and its events pile up. For an MCP client the server itself reads
    to the end, so the gate says when the client hangs up.
    """
    request, page = LocalContext.request.get(None), LocalContext.blocks.get(None)
    session = getattr(request, "session_hash", None)
    left = getattr(getattr(getattr(request, "request", None), "state", None), "left", None)
    unread, read = 0, time.monotonic()
    for step in steps:
        if left and left.is_set():
            return
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
