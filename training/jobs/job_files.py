"""A job's folder: what it printed (``log.txt``) and its progress over time (``progress.jsonl``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Required

from annotated_types import Interval
from pydantic import ConfigDict, TypeAdapter
from typing_extensions import TypedDict  # pydantic needs this one up to Python 3.11

from pipeline.json_files import parse_object, validate

LOG, PROGRESS = "log.txt", "progress.jsonl"
_TAIL = 64_000  # bytes
_SIGNALS = {
    9: "It was killed (signal 9). Most often that means that the machine ran out of memory.",
    11: "It crashed (signal 11).",
    6: "It crashed (signal 6).",
}
_KNOWN = (
    (re.compile(r"No space left on device|disk is full", re.I), "The disk is full. Make room, then resume."),
    (
        re.compile(r"CUDA out of memory|OutOfMemoryError", re.I),
        "The GPU's memory is not enough, or is taken by others.",
    ),
)


class _Report(TypedDict, total=False):
    """A line of ``progress.jsonl``, see ``training.jobs.progress``."""

    __pydantic_config__ = ConfigDict(allow_inf_nan=False)  # type: ignore[misc]
    time: Required[float]
    fraction: Required[float]
    message: Required[str]
    seconds_left: float
    step: Annotated[int, Interval(ge=0, le=10**9)]
    loss: float
    score: float


_AS_REPORT = TypeAdapter(_Report)


def tail(folder: Path, size: int = _TAIL) -> str:
    """The end of the log, from the start of a line; empty before there is one."""
    try:
        with (folder / LOG).open("rb") as log:
            end = log.seek(0, 2)
            log.seek(max(0, end - size))
            text = log.read().decode("utf-8", "replace")
    except OSError:
        return ""
    text = text.partition("\n")[2] if end > size else text
    # A progress bar writes over its line; keep what it showed last.
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))


def progress(folder: Path) -> list[dict[str, Any]]:
    """Every report so far, oldest first; lines that are damaged or cut short by a crash are left out."""
    try:
        return list(_reports((folder / PROGRESS).read_bytes().splitlines()))
    except OSError:
        return []


def last_progress(folder: Path) -> dict[str, Any]:
    """The columns of a job's record that its last report fills; none before the first."""
    try:
        with (folder / PROGRESS).open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - 4096))
            lines = file.read().splitlines()
    except OSError:
        return {}
    for report in _reports(reversed(lines)):
        return {
            "progress": min(1.0, max(0.0, report["fraction"])),
            "message": report["message"],
            "seconds_left": report.get("seconds_left"),
        }
    return {}


def is_report(line: str) -> bool:
    """Whether a line of a log is a report of ``training.jobs.progress``."""
    return line.startswith('{"time": ')


def result(log: str) -> dict[str, Any] | None:
    """The verb's result: the last line of its log that is a JSON object."""
    return next(_objects(reversed(log.splitlines())), None)


def failure_reason(code: int, log: str) -> str:
    """Why a verb that ended with this exit code (negative: signal) did not succeed, as a sentence."""
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    if code < 0:
        return _SIGNALS.get(
            -code, f"It was stopped from outside (signal {-code}), as when a machine shuts down."
        )
    for pattern, words in _KNOWN:
        if any(pattern.search(line) for line in lines[-15:]):
            return words
    if own_words := next((line for line in reversed(lines) if line.startswith("error: ")), None):
        return own_words.removeprefix("error: ")
    return (
        f"It ended with exit code {code}: {lines[-1][:300]}" if lines else f"It ended with exit code {code}."
    )


def outcome(code: int, folder: Path) -> Mapping[str, Any]:
    """The columns that the end of a verb fills."""
    log = tail(folder)
    if code == 0:
        done = {"state": "succeeded", "progress": 1.0, "message": "done", "seconds_left": None}
        return {**done, "exit_code": 0, "result": result(log), "reason": None}
    # The system stopped it, and it did not fail itself: it can go on from where it was.
    state = "interrupted" if code < 0 and -code not in _SIGNALS else "failed"
    return {
        **last_progress(folder),
        "state": state,
        "exit_code": code,
        "reason": failure_reason(code, log),
        "seconds_left": None,
    }


def _objects(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("{"):
            with suppress(ValueError):
                yield parse_object(line.encode())


def _reports(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for line in lines:
        with suppress(ValueError):
            report = validate(_AS_REPORT, line)
            yield {**report}
