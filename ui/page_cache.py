"""The HTML of the page, made once, with what it shows until Gradio has built its components.

Gradio makes it for each request: 60 ms in which no other Python runs.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter

from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_PAGES = 16
"""A page is 0.8 MB. A server with one address has two: some clients ask for it compressed, some do not."""
_ADDRESS = ("host", "x-forwarded-host", "x-forwarded-proto", "x-gradio-server")
"""Headers that Gradio reads the server's own address from, which is in the page."""
_LONGEST_ADDRESS = 300
"""Characters of such a header: the name of a server has at most 253."""
_OTHER_PAGES = {"deep_link", "all_endpoints", "page"}
"""Parameters with which Gradio makes another page."""

_THEME = re.compile(rb'"theme_hash": ?"(\w+)"')

_Key = tuple[str, bool, tuple[str, ...]]


class PageCache:
    """Middleware that answers a request for the page with the answer to an equal one, compressed.

    The page is the same for all visitors but for the server's address in it. What depends on the visitor or
    on the view in the address comes later, by calls.
    """

    def __init__(self, app: ASGIApp, opening: str) -> None:
        """Wrap the app; ``opening`` is HTML that stands before Gradio's part of the page."""
        self.app, self._opening = app, opening.encode()
        self._pages: dict[_Key, list[Message]] = {}
        self._asked: Counter[_Key] = Counter()  # how often, for each page that is kept

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        key = _key(scope)
        if key is None:
            await self.app(scope, receive, send)
            return
        messages = self._pages.get(key)
        if messages is None:
            messages = await self._whole({**scope, "method": "GET"}, receive, compress=key[1])
            if messages[0]["status"] == 200 and max(map(len, key[2])) <= _LONGEST_ADDRESS:
                self._keep(key, messages)
        if key in self._pages:
            self._asked[key] += 1
        start, body = messages
        await send({**start})
        await send({**body, "body": b""} if scope["method"] == "HEAD" else {**body})

    def _keep(self, key: _Key, messages: list[Message]) -> None:
        """Keep a page, in the place of the one that was asked for least often.

        So the page of an address that somebody made up takes the place of another such, and not of the
        server's own.
        """
        if len(self._pages) >= MAX_PAGES and key not in self._pages:
            rarest = min(self._pages, key=self._asked.__getitem__)
            del self._pages[rarest], self._asked[rarest]
        self._pages[key] = messages

    async def _whole(self, scope: Scope, receive: Receive, compress: bool) -> list[Message]:
        """The app's answer in two messages: how it starts, and its body."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self.app(scope, receive, keep)
        start, body = messages[0], b"".join(each.get("body", b"") for each in messages)
        headers = MutableHeaders(raw=list(start["headers"]))
        body = self._with_opening(body)
        if compress:
            body = gzip.compress(body)
            headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(body))
        headers.add_vary_header("Accept-Encoding")
        return [{**start, "headers": headers.raw}, {"type": "http.response.body", "body": body}]

    def _with_opening(self, body: bytes) -> bytes:
        """The page with the opening, and with the colors that it needs, which Gradio's script loads later."""
        theme = _THEME.search(body)
        if theme is None:
            return body
        head, _, rest = body.rpartition(b"</head>")
        link = b'<link rel="stylesheet" href="theme.css?v=%s"></head>' % theme[1]
        return head + link + rest.replace(b"<gradio-app", self._opening + b"<gradio-app", 1)


def _key(scope: Scope) -> _Key | None:
    """What the page depends on; None for requests of anything else."""
    if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD") or scope["path"] != "/":
        return None
    if _OTHER_PAGES & QueryParams(scope["query_string"]).keys():
        return None
    headers = Headers(scope=scope)
    compress = _takes_gzip(",".join(headers.getlist("accept-encoding")))
    return scope["scheme"], compress, tuple(headers.get(name, "") for name in _ADDRESS)


def _takes_gzip(accepted: str) -> bool:
    """Whether a client that accepts these encodings takes gzip: by its name, or as one of all, ``*``."""
    weights: dict[str, str] = {}
    for each in accepted.lower().replace(" ", "").split(","):
        encoding, _, weight = each.partition(";q=")
        weights[encoding] = weight if ";q=" in each else "1"
    weight = weights.get("gzip", weights.get("*", "0"))
    return weight.replace(".", "", 1).isdecimal() and float(weight) > 0
