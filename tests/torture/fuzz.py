"""Seeded inputs over all calls of the page: over the queue, as direct calls, and as bytes on a socket."""

from __future__ import annotations

import json
import random
import socket
import uuid
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.hostile_calls import HOSTILE, App, Call, calls_of, few_tokens
from tests.torture.findings import Findings

_BYTES = 0.2
"""Share of the inputs that are bytes instead of calls."""
_HEADS = [
    b"GET / HTTP/1.1", b"POST /gradio_api/run/samples HTTP/1.1", b"PUT /gradio_api/upload HTTP/1.1",
    b"GET /gradio_api/file=/etc/passwd HTTP/1.1", b"GET /../../etc/passwd HTTP/1.1", b"GET /%00 HTTP/1.1",
    b"GET /gradio_api/file=../../../../etc/passwd HTTP/1.1", b"POST /gradio_api/queue/join HTTP/1.1",
    b"POST /gradio_api/mcp/ HTTP/1.1", b"BREW / HTTP/1.1", b"GET / HTTP/9.9", b"\x16\x03\x01\x02\x00", b"",
    b"GET /gradio_api/heartbeat/\xff HTTP/1.1", b"DELETE /gradio_api/reset HTTP/1.1", b"HEAD / HTTP/1.1",
]  # fmt: skip
_LINES = [
    b"Host: 127.0.0.1", b"Host: evil.example", b"Content-Length: 5", b"Content-Length: -1", b"no colon here",
    b"Content-Length: 9e9", b"Transfer-Encoding: chunked", b"Content-Type: application/json",
    b"Range: bytes=5-1",
    b"Content-Type: multipart/form-data", b"X: " + b"y" * 70_000, b"Cookie: \xff\xfe",
    b"Connection: upgrade\r\nUpgrade: websocket", b"X-Forwarded-For: 203.0.113.9",
    b"Accept: text/event-stream", b"Accept-Encoding: gzip;q=0", b"Accept-Encoding: *;q=nan, ,;q=",
    b"X-Forwarded-Host: " + b"h" * 9_000, b"X-Forwarded-Host: \xff, evil.example",
]  # fmt: skip
_BODIES = [
    b"", b"{}", b"[" * 5_000, b'{"data": [', b"zz\r\n", b"\x00" * 100, b'{"data": [null]}',
    b"5\r\nabcde\r\n0\r\n\r\n",
]  # fmt: skip


def fuzz(url: str, number: int, seed: int, findings: Findings) -> None:
    """Send so many inputs, those that strangers can send."""
    draw = random.Random(seed)
    with httpx.Client(
        timeout=120,
        limits=httpx.Limits(keepalive_expiry=1),
        headers={"X-Forwarded-For": f"203.0.113.{draw.randrange(1, 255)}"},
    ) as client:
        app = App(url, client, calls_of(client.get(f"{url}config").json()))
        for _ in range(number):
            if draw.random() < _BYTES:
                _send_bytes(url, draw, findings)
            else:
                _make_call(app, draw, findings)
            findings.did("fuzz inputs")


def _make_call(app: App, draw: random.Random, findings: Findings) -> None:
    public = [call for call in app.calls if call.public]
    call: Call = draw.choice(public if draw.random() < 0.6 else app.calls)
    values = [usual if draw.random() < 0.5 else _anything(draw) for usual in few_tokens(call)]
    if draw.random() < 0.1:
        values = [*values, _anything(draw)] if draw.random() < 0.5 else values[:-1]
    route = draw.choice(["queue/join", f"call/{call.name}", f"run/{call.name}"])
    body: dict[str, Any] = {"data": values}
    if route == "queue/join":
        body |= {"fn_index": call.number, "session_hash": uuid.UUID(int=draw.getrandbits(128)).hex}
        body |= {"event_data": _anything(draw)} if draw.random() < 0.5 else {}
    what = f"{route} {json.dumps(values)[:150]}"
    try:
        findings.answer(what, 200, app.answer(route, body), call.public)
    except AssertionError as error:
        findings.fault("5xx", f"{what}: {error}")
    except httpx.HTTPError as error:
        findings.fault("no answer", f"{what}: {error!r}")


def _anything(draw: random.Random, depth: int = 2) -> Any:
    kind = draw.random()
    if kind < 0.7 or not depth:
        return draw.choice(HOSTILE)
    if kind < 0.8:
        return "".join(chr(draw.choice([draw.randrange(128), draw.randrange(0x110000)])) for _ in range(8))
    inner = [_anything(draw, depth - 1) for _ in range(draw.randrange(4))]
    return inner if kind < 0.9 else {str(draw.choice(HOSTILE))[:20]: each for each in inner}


def _send_bytes(url: str, draw: random.Random, findings: Findings) -> None:
    lines = [draw.choice(_HEADS), *draw.sample(_LINES, draw.randrange(4))]
    sent = b"\r\n".join(lines) + b"\r\n\r\n" + draw.choice(_BODIES)
    if draw.random() < 0.3:
        sent = bytes(draw.randrange(256) if draw.random() < 0.02 else each for each in sent)
    parts = urlsplit(url)
    reply = b""
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 0), 10) as connection:
            connection.settimeout(2)
            connection.sendall(sent)
            connection.shutdown(socket.SHUT_WR)
            reply = connection.recv(65_536)
    except OSError:
        pass  # it hung up, or waits for the rest of a body: both are answers
    words = reply.split(b" ", 2)
    if len(words) > 1 and words[1].isdigit():
        body = reply.partition(b"\r\n\r\n")[2].decode("utf-8", "replace")
        findings.answer(f"bytes {sent[:120]!r}", int(words[1]), body[:2_000])
