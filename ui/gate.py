"""What a request may be before anything is done for it: its path, its size, and each visitor's share."""

from __future__ import annotations

import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Event

from gradio.context import LocalContext
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.schema import LabError
from pipeline.settings import Settings
from ui.callers import address, is_local

MAX_BODY = 4_000_000
"""Bytes of one request: more than the largest text that any call takes."""
MAX_UPLOAD = 50_000_000
"""Bytes of one file. Only the user of this machine sends files, to import what is in them."""
MAX_CALLS, MAX_CALLS_EACH = 400, 100
"""Calls that wait or run at the same time: of all visitors, and of one address, which a class can share.
Opening the page makes about 15."""
MAX_OPEN, MAX_OPEN_EACH = 1_000, 300
"""Requests that are open at the same time; an open page holds two, which wait for news."""
MAX_VOTES_EACH = 120
"""Votes of one address that are stored within an hour."""
_API = "/gradio_api/"
_CALLS = tuple(_API + name for name in ("run/", "api/", "call/", "queue/join"))
_MCP = _API + "mcp"
_POSTS = (*_CALLS, _MCP, *(_API + name for name in ("cancel", "reset")))
_UPLOAD = _API + "upload"
_WRITES = (_API + "deep_link",)
_MCP_CALL = "x-mcp-call"
"""Header by which the call that the server makes to itself for an MCP client is known."""
_NOT_USED = (
    "This app does not take files from you, and has no such call. The API page, linked at its foot, lists "
    "all."
)


class _Refused(Exception):
    """A request that is not let in."""

    def __init__(self, status: int, why: str, again: int | None = None) -> None:
        """``again`` is after how many seconds another try makes sense."""
        super().__init__(why)
        self.status, self.again = status, again


@dataclass(frozen=True)
class _McpCall:
    """A call of an MCP client: the address that it comes from, and whether the client has hung up."""

    client: tuple[str, int] | None
    left: Event = field(default_factory=Event)


class Gate:
    """Middleware for the app that Gradio serves. It refuses before anything but the request itself is read.

    Gradio's own bound (``max_size`` of its queue) knows no visitors, and direct calls (``/run/NAME``) pass by
    it; here the calls in its queue and the direct ones are counted together. The user of this machine has no
    share, as there is nobody to share with, but is counted in the total.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self._settings = app, settings
        self._open: Counter[str] = Counter()  # requests by visitor; the key "" is the user of this machine
        self._calls: Counter[str] = Counter()  # those of them that make calls
        self._mcp: dict[str, _McpCall] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if made_for := self._mcp.get(Headers(scope=scope).get(_MCP_CALL, "")):
            scope["client"] = made_for.client
            scope.setdefault("state", {})["left"] = made_for.left
        try:
            with self._admitted(scope), self._mcp_call(scope) as call:
                most = MAX_UPLOAD if scope["path"] == _UPLOAD else MAX_BODY
                await self.app(scope, await _bounded_body(scope, _watched(receive, call), most), send)
        except _Refused as refused:
            headers = {"Retry-After": str(refused.again)} if refused.again else None
            await JSONResponse({"detail": str(refused)}, refused.status, headers)(scope, receive, send)

    @contextmanager
    def _admitted(self, scope: Scope) -> Iterator[None]:
        """Count the request while it is open.

        Raises:
            _Refused: it is of a kind that the app does not take, or too many are open.
        """
        path, reads = scope["path"], scope["method"] in ("GET", "HEAD", "OPTIONS")
        visitor = self._visitor(HTTPConnection(scope))
        taken = path.startswith(_POSTS) or (path == _UPLOAD and not visitor)
        if path.startswith(_WRITES) or not (reads or taken):
            raise _Refused(403, _NOT_USED)
        counters = [self._open]
        _check(self._open, visitor, MAX_OPEN_EACH, MAX_OPEN, "requests")
        if not reads and path.startswith(_CALLS):
            counters.append(self._calls)
            queue = scope["app"].get_blocks()._queue
            queued = Counter(self._visitor(event.request) for event in queue.event_ids_to_events.values())
            _check(self._calls + queued, visitor, MAX_CALLS_EACH, MAX_CALLS, "calls")
        for counter in counters:
            counter[visitor] += 1
        try:
            yield
        finally:
            for counter in counters:
                counter[visitor] -= 1
                if not counter[visitor]:
                    del counter[visitor]

    @contextmanager
    def _mcp_call(self, scope: Scope) -> Iterator[_McpCall | None]:
        """Name the call that the server will make to itself for an MCP client; it ends with the client's."""
        if not scope["path"].startswith(_MCP):
            yield None
            return
        name, call = uuid.uuid4().hex, _McpCall(scope["client"])
        MutableHeaders(scope=scope)[_MCP_CALL] = name  # the server passes on the client's headers
        self._mcp[name] = call
        try:
            yield call
        finally:
            call.left.set()
            del self._mcp[name]

    def _visitor(self, connection: HTTPConnection) -> str:
        return "" if is_local(self._settings, connection.headers) else address(self._settings, connection)


class Allowance:
    """How often each address may have something stored within an hour. The user of this machine has no limit.

    The addresses are in memory only, for at most that hour.
    """

    def __init__(self, settings: Settings, most: int, what: str) -> None:
        """``what`` is stored, in the plural."""
        self._settings, self._most, self._what = settings, most, what
        self._used: Counter[str] = Counter()
        self._since = time.monotonic()

    def use(self) -> None:
        """Count one use by the visitor of the running callback.

        Raises:
            LabError: there were too many within the hour.
        """
        request = LocalContext.request.get(None)
        connection = getattr(request, "request", None)
        if connection is None or is_local(self._settings, connection.headers):
            return
        if time.monotonic() - self._since > 3600:
            self._used.clear()
            self._since = time.monotonic()
        visitor = address(self._settings, connection)
        if self._used[visitor] >= self._most:
            raise LabError(f"At most {self._most} {self._what} from one address are stored in an hour.")
        self._used[visitor] += 1


def _check(counted: Counter[str], visitor: str, most_each: int, most: int, what: str) -> None:
    if visitor and counted[visitor] >= most_each:
        raise _Refused(
            429,
            f"{counted[visitor]} {what} from your address are open; at most {most_each} may be. Try again "
            "when one of them has ended.",
            again=5,
        )
    if counted.total() >= most:
        raise _Refused(
            503,
            f"This server answers {counted.total()} {what}, and at most {most}. Try again in ten seconds.",
            10,
        )


def _watched(receive: Receive, call: _McpCall | None) -> Receive:
    """What receives the same, and notes when an MCP client hangs up."""
    if call is None:
        return receive

    async def receive_and_note() -> Message:
        message = await receive()
        if message["type"] == "http.disconnect":
            call.left.set()
        return message

    return receive_and_note


async def _bounded_body(scope: Scope, receive: Receive, most: int) -> Receive:
    """Read the body whole; returns what hands it on.

    Raises:
        _Refused: it is too large.
    """
    if scope["method"] in ("GET", "HEAD", "OPTIONS"):
        return receive
    messages: list[Message] = []
    size = 0
    while not messages or messages[-1].get("more_body"):
        messages.append(await receive())
        size += len(messages[-1].get("body", b""))
        if size > most:
            raise _Refused(413, f"This call is too large; at most {most:,} bytes are read.")
    left = iter(messages)

    async def hand_on() -> Message:
        return next(left, None) or await receive()

    return hand_on
