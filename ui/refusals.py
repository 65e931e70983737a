"""Calls that Gradio's routes cannot read get status 400 and a sentence, where they would get 500."""

from __future__ import annotations

import logging

import gradio as gr
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_UNREADABLE = (
    "The server cannot read this call. The API page, linked at the foot of the app, lists all calls."
)
_log = logging.getLogger(__name__)


def mark_refused(request: gr.Request | None) -> None:
    """Note that the request's arguments are refused, so that its status is not one of a failing server."""
    if request and isinstance(request.request, Request):
        request.request.state.refused = True


class Refusals:
    """Middleware for the app that Gradio serves.

    Exceptions of callbacks and endpoints never come here, as ``Page`` turns them into messages. What comes
    here is a call of a name or number that does not exist, or with a body of another form. Gradio also
    answers a direct call (``/run/NAME``) with 500 when an argument is refused; ``Page`` marks such a request.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        begun = False

        async def send_on(message: Message) -> None:
            nonlocal begun
            begun = True
            if message.get("status") == 500 and scope.get("state", {}).get("refused"):
                message["status"] = 400
            await send(message)

        try:
            await self.app(scope, receive, send_on)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            _log.info("cannot read a call of %s: %r", scope["path"], error)
            await JSONResponse({"detail": _UNREADABLE}, 400)(scope, receive, send)
