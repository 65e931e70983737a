"""A real HTTP server on loopback that speaks the OpenAI protocol: chat completions, completions, models.

How it answers is a function from the request to a ``Reply``, so a test can make it stall, refuse, break off
or lie. Without one it judges honestly: code is correct where it parses to the same tree as the reference.
Run it by hand with ``python tests/judge_server.py [PORT]``.
"""

from __future__ import annotations

import ast
import json
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """What to answer, and how badly.

    ``raw`` replaces the whole body, of a stream too; ``cut`` breaks the connection half-way; ``delay`` comes
    before the first byte, ``pace`` between the words of a stream.
    """

    text: str = ""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    delay: float = 0.0
    pace: float = 0.0
    raw: str | None = None
    cut: bool = False


@dataclass(frozen=True)
class Seen:
    """One request as it arrived."""

    at: float
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def prompt(self) -> str:
        return self.body["messages"][-1]["content"] if "messages" in self.body else self.body["prompt"]


Behaviour = Callable[[Seen, int], Reply]
"""From a request and the number of those before it to the reply."""


def honest(request: Seen, before: int = 0) -> Reply:
    """Judge by comparing syntax trees, in the form that the prompt asks for."""
    blocks = re.findall(r"^(`{3,})(python|text)\n(.*?)\n\1$", request.prompt, re.DOTALL | re.MULTILINE)
    code = [text for _, language, text in blocks if language == "python"]
    if not code:  # the second call of analyze: it sees an analysis alone
        fine = "does all of it" in blocks[0][2]
    else:
        fine = _tree(code[-1]) == _tree(code[0]) if len(code) > 1 else _tree(code[-1]) is not None
    if '"severity"' in request.prompt:
        return Reply("[]" if fine else '[{"inconsistency": "Another result.", "severity": "Major"}]')
    if code and "[[Correct]]" not in request.prompt.split("```")[-1]:
        return Reply(f"The task has one requirement. The code {'does all of it' if fine else 'misses it'}.")
    return Reply(f"Compared step by step.\n[[{'Correct' if fine else 'Incorrect'}]]")


def _tree(code: str) -> str | None:
    try:
        return ast.dump(ast.parse(code))
    except SyntaxError:
        return None


class JudgeServer:
    """Use it as a context manager; ``url`` is its base URL.

    ``requests`` holds every POST so far; ``in_flight`` counts those not answered yet, ``peak`` is its most.
    """

    def __init__(
        self, behaviour: Behaviour = honest, models: tuple[str, ...] = ("judge",), port: int = 0
    ) -> None:
        self.behaviour = behaviour
        self.models = models
        self.model_list = Reply()  # its ``raw`` replaces the list of models
        self.requests: list[Seen] = []
        self.peak = 0
        self.closing = threading.Event()
        self.in_flight = 0
        self._lock = threading.Lock()
        self._http = _Http(("127.0.0.1", port), _handler(self))
        self.url = f"http://127.0.0.1:{self._http.server_port}/v1"

    def __enter__(self) -> JudgeServer:
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()

    def arrive(self, request: Seen) -> int:
        with self._lock:
            self.requests.append(request)
            self.in_flight += 1
            self.peak = max(self.peak, self.in_flight)
            return len(self.requests) - 1

    def leave(self) -> None:
        with self._lock:
            self.in_flight -= 1


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hung up is part of the tests, not worth a traceback."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


def _handler(server: JudgeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_json(
                200,
                {"object": "list", "data": [{"id": m, "object": "model"} for m in server.models]},
                server.model_list,
            )

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Seen(time.monotonic(), self.path, headers, body)
            before = server.arrive(request)
            try:
                reply = server.behaviour(request, before)
                server.closing.wait(reply.delay)
                if body.get("stream") and reply.status == 200:
                    self.stream(reply, body)
                else:
                    self.answer(reply, body)
            finally:
                server.leave()

        def answer(self, reply: Reply, body: dict[str, Any]) -> None:
            if reply.status != 200:
                error = {"message": reply.text, "type": "error", "code": reply.headers.get("code")}
                self.send_json(reply.status, {"error": error}, reply)
                return
            chat = "messages" in body
            said = {"message": {"role": "assistant", "content": reply.text}} if chat else {"text": reply.text}
            choice = {"index": 0, "finish_reason": reply.finish_reason, **said}
            tokens = len(reply.text.split())
            usage = {"prompt_tokens": 1, "completion_tokens": tokens, "total_tokens": tokens + 1}
            kind = "chat.completion" if chat else "text_completion"
            whole = {"id": "x", "object": kind, "created": 0, "model": body["model"], "choices": [choice]}
            self.send_json(200, {**whole, "usage": usage}, reply)

        def stream(self, reply: Reply, body: dict[str, Any]) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            self.close_connection = True
            if reply.raw is not None:
                self.wfile.write(reply.raw.encode())
                return
            words = re.findall(r"\s*\S+|\s+$", reply.text)
            for number, word in enumerate(words):
                if (reply.cut and number > len(words) // 2) or server.closing.wait(reply.pace):
                    return
                self.send_chunk(body, choices=[{"index": 0, "text": word, "finish_reason": None}])
            self.send_chunk(body, choices=[{"index": 0, "text": "", "finish_reason": reply.finish_reason}])
            if (body.get("stream_options") or {}).get("include_usage"):
                usage = {"prompt_tokens": 1, "completion_tokens": len(words), "total_tokens": len(words) + 1}
                self.send_chunk(body, choices=[], usage=usage)
            self.wfile.write(b"data: [DONE]\n\n")

        def send_chunk(self, body: dict[str, Any], **content: Any) -> None:
            chunk = {"id": "x", "object": "text_completion", "created": 0, "model": body["model"], **content}
            self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
            self.wfile.flush()

        def send_json(self, status: int, body: dict[str, Any], reply: Reply = Reply()) -> None:
            content = (json.dumps(body) if reply.raw is None else reply.raw).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[: len(content) // 2] if reply.cut else content)
            self.close_connection = self.close_connection or reply.cut

    return Handler


if __name__ == "__main__":
    with JudgeServer(port=int(sys.argv[1]) if len(sys.argv) > 1 else 0) as running:
        print(running.url, flush=True)
        threading.Event().wait()
