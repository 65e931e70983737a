"""People who use the page and the API at the same time, and what the app's memory does meanwhile."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable

import httpx
import psutil

from tests.torture.findings import Findings

_THINKING = (2.0, 8.0)
"""Seconds that a person reads between two clicks."""
_COLUMNS = ["baseline/regular", "200/regular", "1000/regular"]


def warm_up(url: str) -> None:
    """Load the model and the encoder, which the first visitor waits for."""
    findings, draw = Findings(), random.Random(0)
    with httpx.Client(timeout=300) as client:
        for action in (_compare, _score, _read):
            action(url, client, draw, findings)


def visit(url: str, number: int, seconds: float, seed: int, findings: Findings) -> None:
    """Let so many visitors use the app for so long, each from an address of its own."""
    until = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_visitor, args=(url, at, until, random.Random(seed * 1_000 + at), findings))
        for at in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    findings.did("visitors", number)


def _visitor(url: str, number: int, until: float, draw: random.Random, findings: Findings) -> None:
    headers = {"X-Forwarded-For": f"203.0.113.{number + 1}"}
    actions = [_open_page] * 4 + [_read] * 4 + [_score] + [_compare]
    with httpx.Client(timeout=180, headers=headers, limits=httpx.Limits(keepalive_expiry=1)) as client:
        while time.monotonic() < until:
            action: Callable[..., None] = draw.choice(actions)
            try:
                action(url, client, draw, findings)
            except httpx.HTTPError as error:
                findings.fault("no answer", f"{action.__name__}: {error!r}")
            findings.did("actions of visitors")
            time.sleep(draw.uniform(*_THINKING))


def _open_page(url: str, client: httpx.Client, draw: random.Random, findings: Findings) -> None:
    began = time.perf_counter()
    reply = client.get(url)
    findings.took("page", time.perf_counter() - began)
    findings.reply("page", reply)


def _read(url: str, client: httpx.Client, draw: random.Random, findings: Findings) -> None:
    name, values = draw.choice(
        [("samples", ["attention", 5, 0, "regular", "smollm2-135m"]), ("checkpoints", []), ("results", [])]
    )
    findings.reply(name, client.post(f"{url}gradio_api/run/{name}", json={"data": values}))


def _score(url: str, client: httpx.Client, draw: random.Random, findings: Findings) -> None:
    values = ["def f(x):\n    return x", "def g(x):\n    return 2 * x", "Write f."]
    findings.reply("score", client.post(f"{url}gradio_api/run/score", json={"data": values}))


def _compare(url: str, client: httpx.Client, draw: random.Random, findings: Findings) -> None:
    """Two columns of eight tokens; the wait is until the first of them is written."""
    values = [draw.sample(_COLUMNS, 2), "Write f.", "", "", "smollm2-135m", 0.0, 0.1, 8, 42]
    began, waited = time.perf_counter(), False
    reply = client.post(f"{url}gradio_api/call/compare", json={"data": values})
    said = findings.reply("compare", reply)
    if said or reply.status_code != 200:
        return
    with client.stream("GET", f"{url}gradio_api/call/compare/{reply.json()['event_id']}") as events:
        for line in events.iter_lines():
            if (
                line.startswith("data: [[{")
                and not waited
                and any(a["tokens"] for a in json.loads(line[6:])[0])
            ):
                findings.took("wait", time.perf_counter() - began)
                waited = True
            elif line.startswith("data: ") and "error" in line[:20]:
                findings.message("compare", line)


def memory_growth(url: str, server: psutil.Process, calls: int, findings: Findings) -> float:
    """Share by which the app's memory grows over so many API calls, after as many to warm up as a tenth."""
    draw = random.Random(1)
    with httpx.Client(timeout=180, headers={"X-Forwarded-For": "203.0.113.250"}) as client:
        for _ in range(max(50, calls // 10)):
            _read(url, client, draw, findings)
        before = server.memory_info().rss
        for at in range(calls):
            (_score if at % 50 == 0 else _read)(url, client, draw, findings)
            findings.did("API calls for the memory")
    return server.memory_info().rss / before - 1
