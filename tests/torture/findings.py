"""What a torture finds: counts that all of its parts share, and the rows of the table."""

from __future__ import annotations

import re
import statistics
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.hostile_calls import RAW

_TRACE = "Traceback (most recent call last)"
_UNEXPECTED = "Something went wrong on the server"


@dataclass
class Findings:
    """Counts and faults; safe to use from many threads.

    Attributes:
        faults: by kind (``5xx``, ``raw message``, ``lost record``, …), in words.
        statuses: of every answer.
        seconds: by what was measured (``page``, ``wait``).
        done: how much of each part was done.
        traces: the last lines of traces in the app's log.
    """

    faults: dict[str, list[str]] = field(default_factory=dict)
    statuses: Counter[int] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    done: Counter[str] = field(default_factory=Counter)
    traces: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fault(self, kind: str, words: str) -> None:
        """Add a fault, and say it at once."""
        with self.lock:
            self.faults.setdefault(kind, []).append(words[:300])
            print(f"{kind}: {words[:300]}", file=sys.stderr, flush=True)

    def took(self, what: str, seconds: float) -> None:
        """Add a measurement."""
        with self.lock:
            self.seconds.setdefault(what, []).append(seconds)

    def did(self, what: str, times: int = 1) -> None:
        """Count what was done."""
        with self.lock:
            self.done[what] += times

    def answer(self, what: str, status: int, text: str = "", public: bool = True) -> None:
        """Count an answer, and look for faults in it. A 503 that says when to try again is a refusal."""
        with self.lock:
            self.statuses[status] += 1
            if status >= 400:
                self.refusals[f"{status} {_kind(text)}"] += 1
        if status >= 500 and "Try again in" not in text:
            self.fault("5xx", f"{what}: {status} {text}")
        self.message(what, text, public)

    def message(self, what: str, text: str, public: bool = True) -> None:
        """Look for raw messages of Python in a message, and for our words for an error of ours.

        A callback that is not ``public`` may end in these words if it is called as the page never calls it:
        that is counted apart.
        """
        unexpected = _UNEXPECTED in text
        if RAW.search(text) or (public and unexpected):
            self.fault("raw message", f"{what}: {text}")
        elif unexpected:
            self.did("unexpected errors of the page's own callbacks")

    def reply(self, what: str, reply: httpx.Response) -> str:
        """Count an HTTP reply; returns the message of its error, if any."""
        said = ""
        if reply.status_code >= 400 and "json" in reply.headers.get("content-type", ""):
            body = reply.json()
            said = str(body.get("detail") or body.get("error") or "") if isinstance(body, dict) else str(body)
        self.answer(what, reply.status_code, said if reply.status_code != 422 else "")
        return said

    def read_log(self, log: Path) -> None:
        """Look for traces in the log of an app."""
        _, *traces = log.read_text(encoding="utf-8", errors="replace").split(_TRACE)
        for trace in traces:
            ends = (line for line in trace.splitlines()[1:] if line and not line.startswith(" "))
            self.traces[next(ends, "cut off")[:200]] += 1

    def count(self, kind: str) -> int:
        """Number of faults of a kind."""
        return len(self.faults.get(kind, []))

    def p95(self, what: str) -> float | None:
        """The 95th percentile of a measurement, in seconds."""
        values = self.seconds.get(what, [])
        return statistics.quantiles(values, n=20)[18] if len(values) > 1 else None


def _kind(text: str) -> str:
    """The first words of a refusal, without what differs from call to call."""
    words: Sequence[str] = re.sub(r'"[^"]*"|[\d,.]+', "…", text).split()
    return " ".join(words[:6]) or "(no message)"
