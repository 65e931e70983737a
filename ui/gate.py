"""What a request may be before anything is done for it: its path, its size, and each visitor's share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.settings import Settings
from ui.callers import address, is_local

MAX_BODY = 4_000_000
"""Bytes of one request: more than the largest text that any call takes."""
MAX_CALLS, MAX_CALLS_EACH = 400, 100
"""Calls that wait or run at the same time: of all visitors, and of one address, which a class can share.
Opening the page makes about 15."""
MAX_OPEN, MAX_OPEN_EACH = 1_000, 300
"""Requests that are open at the same time; an open page holds two, which wait for news."""
_API = "/gradio_api/"
_CALLS = tuple(_API + name for name in ("run/", "api/", "call/", "queue/join"))
_MCP = _API + "mcp"
_POSTS = (*_CALLS, _MCP, *(_API + name for name in ("cancel", "reset")))
_WRITES = (_API + "deep_link",)
_NOT_USED = "This app does not take files, and has no such call. The API page, linked at its foot, lists all."


class _Refused(Exception):
    """A request that is not let in."""

    def __init__(self, status: int, why: str, again: int | None = None) -> None:
        """``again`` is after how many seconds another try makes sense."""
        super().__init__(why)
        self.status, self.again = status, again


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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            with self._admitted(scope):
                await self.app(scope, await _bounded_body(scope, receive), send)
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
        if path.startswith(_WRITES) or not (reads or path.startswith(_POSTS)):
            raise _Refused(403, _NOT_USED)
        visitor = self._visitor(HTTPConnection(scope))
        if visitor and path.startswith(_MCP):
            # The server calls itself for an MCP client, with these headers: so the call is the client's.
            MutableHeaders(scope=scope)["x-forwarded-for"] = visitor
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

    def _visitor(self, connection: HTTPConnection) -> str:
        return "" if is_local(self._settings, connection.headers) else address(self._settings, connection)


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


async def _bounded_body(scope: Scope, receive: Receive) -> Receive:
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
        if size > MAX_BODY:
            raise _Refused(413, f"This call is too large; at most {MAX_BODY:,} bytes are read.")
    left = iter(messages)

    async def hand_on() -> Message:
        return next(left, None) or await receive()

    return hand_on
