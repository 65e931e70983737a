"""The HTML of the page, made once. Gradio makes it for each request: 60 ms in which no other Python runs."""

from __future__ import annotations

import gzip
from collections import OrderedDict

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_PAGES = 16
"""A page is 0.8 MB. A server with one address has two: some clients ask for it compressed, some do not."""
_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto", "x-gradio-server")
"""Headers that Gradio reads the server's own address from, which is in the page."""
_OTHER_PAGES = {"deep_link", "all_endpoints", "page"}
"""Parameters with which Gradio makes another page."""

_Key = tuple[str, bool, tuple[str, ...]]


class PageCache:
    """Middleware that answers a request for the page with the answer to an equal one, compressed.

    The page is the same for all visitors but for the server's address in it. What depends on the visitor or
    on the view in the address comes later, by calls.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._pages: OrderedDict[_Key, list[Message]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = _key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        messages = self._pages.get(key)
        if messages is None:
            messages = await _whole(self.app, scope, receive, compress=key[1])
            if messages[0]["status"] == 200:
                self._pages[key] = messages
                if len(self._pages) > MAX_PAGES:
                    self._pages.popitem(last=False)
        else:
            self._pages.move_to_end(key)
        for message in messages:
            await send({**message})


def _key(scope: Scope) -> _Key | None:
    """What the page depends on; None for requests of anything else."""
    if scope["type"] != "http" or (scope["method"], scope["path"]) != ("GET", "/"):
        return None
    if _OTHER_PAGES & QueryParams(scope["query_string"]).keys():
        return None
    headers = Headers(scope=scope)
    compress = "gzip" in headers.get("accept-encoding", "")
    return scope["scheme"], compress, tuple(headers.get(name, "") for name in _ADDRESS)


async def _whole(app: ASGIApp, scope: Scope, receive: Receive, compress: bool) -> list[Message]:
    """The app's answer in two messages: how it starts, and its body."""
    messages: list[Message] = []

    async def keep(message: Message) -> None:
        messages.append(message)

    await app(scope, receive, keep)
    start, body = messages[0], b"".join(each.get("body", b"") for each in messages)
    headers = MutableHeaders(raw=list(start["headers"]))
    if compress:
        body = gzip.compress(body)
        headers["Content-Encoding"], headers["Content-Length"] = "gzip", str(len(body))
    headers.add_vary_header("Accept-Encoding")
    return [{**start, "headers": headers.raw}, {"type": "http.response.body", "body": body}]
