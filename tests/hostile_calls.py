"""Calls over raw HTTP with anything in them: what is sent, and what an answer may not hold."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx

RAW = re.compile(
    r"Traceback|File \"|\w(Error|Exception)\b|<class|object at 0x|NoneType|has no attribute|subscriptable"
    r"|positional argument|keyword argument|out of range|not supported between|Could not preprocess"
    r"|not in the list of choices|codec can't|event handler"
)
"""What messages of Python and Gradio look like."""
HOSTILE: list[Any] = [
    None, True, False, 0, 1, 2, -1, 7, 2**31, 2**63, -(10**400), 0.5, -0.0, 1e308, float("nan"), float("inf"),
    "", " ", "0", "8", "nan", "1e999", "true", "null", "\ud83d", "a\ud83d\ude00b", "a\udc00", "\0", "\x1b[1m",
    "<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "{{7*7}}", "%s%n", "' OR 1=1 --",
    "../../etc/passwd", "/etc/passwd", "x" * 30_000, "é" * 300, "baseline/regular", "5000/regular", "regular",
    "smollm2-135m", "baseline", [], {}, [[]], [None], ["baseline/regular"], ["\ud83d"], {"\ud83d": 1},
    {"__type__": "update"}, {"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}},
    {"id": "x", "run": "y", "index": -1, "value": "Jobs"}, {"index": 10**30}, {"id": ["\ud83d"], "run": None},
]  # fmt: skip
REQUIRED = {
    "compare": ["baseline/regular"],
    "score": "def f(): pass",
    "submit_finetune": 5,
    "submit_sweep": "5",
}
"""The first argument of the endpoints that have no default for it."""


@dataclass(frozen=True)
class Call:
    """A function of the page: its number, its API name, and values that it takes."""

    number: int
    name: str
    public: bool
    usual: list[Any]


@dataclass(frozen=True)
class App:
    """A running app, and what can be called there."""

    url: str
    client: httpx.Client
    calls: list[Call]

    def answer(self, path: str, body: Any) -> str:
        """Post the body, wait for the end of the call, and return the message of its error, if any."""
        reply = self.post(path, body)
        if path.startswith("run/"):
            return str(reply.json().get("error") or "") if reply.status_code != 422 else ""
        if reply.status_code != 200:
            assert "detail" in reply.json()
            return "" if reply.status_code == 422 else str(reply.json()["detail"])
        if path == "queue/join":
            return self._end(f"queue/data?session_hash={body['session_hash']}")
        return self._end(f"{path}/{reply.json()['event_id']}")

    def post(self, path: str, body: Any) -> httpx.Response:
        head = {"content-type": "application/json"}
        reply = self.client.post(f"{self.url}gradio_api/{path}", content=json.dumps(body), headers=head)
        assert reply.status_code < 500, (path, body, reply.text)
        return reply

    def _end(self, path: str) -> str:
        event = ""
        with self.client.stream("GET", f"{self.url}gradio_api/{path}") as stream:
            assert stream.status_code == 200
            for line in _lines(stream):
                kind, _, text = line.partition(": ")
                if kind == "event":
                    event = text
                elif kind == "data":
                    found = json.loads(text)
                    done = isinstance(found, dict) and found.get("msg") == "process_completed"
                    if done or event in ("complete", "error"):
                        output = found["output"] if done else found
                        return str(output.get("error") or "") if isinstance(output, dict) else ""
                    assert not (isinstance(found, dict) and found.get("msg") == "unexpected_error"), found
        raise AssertionError(f"{path} ended without an answer")


def _lines(stream: httpx.Response) -> Iterator[str]:
    """The lines of a stream of events. ``iter_lines`` also splits at line ends inside of JSON texts."""
    rest = b""
    for part in stream.iter_bytes():
        *whole, rest = (rest + part).split(b"\n")
        yield from (line.decode() for line in whole)


def calls_of(config: dict[str, Any]) -> list[Call]:
    """The calls of a page, from its configuration."""
    shown = {
        component["id"]: component["props"].get("value", "" if component["type"] == "textbox" else None)
        for component in config["components"]
    }
    found = []
    for function in config["dependencies"]:
        usual = [shown[each] for each in function["inputs"]]
        if function["api_name"] in REQUIRED:
            usual[0] = REQUIRED[function["api_name"]]
        public = function["api_visibility"] == "public"
        found.append(Call(function["id"], function["api_name"], public, usual))
    return found


def few_tokens(call: Call) -> list[Any]:
    """The values that the call takes, with 2 new tokens where it generates."""
    return [
        2 if value == "default" or (value == 256 and type(value) is int) else value for value in call.usual
    ]
