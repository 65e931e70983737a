"""Runs calls while a suite is built: what they give, how long they take, which lines they reach."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import pickle
import select
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from pipeline.scoring.execution import _restrict
from pipeline.scoring.execution.equality import equal
from pipeline.scoring.execution.spec import ATOL, RTOL, Call, TestSpec
from pipeline.scoring.execution.zygote import CandidateProcess, readable_paths

_FILE = "<code>"


class Late(BaseException):
    """A call takes too long."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What one call gave: a value and the watched inputs, encoded, or the type of what it raised.

    Attributes:
        value: the value of its expression.
        watched: values of the call's watched names after it.
        raised: name of the exception's class; empty if there is a value.
        seconds: of processor time.
        lines: lines of the definition that were reached, where they were traced.
    """

    value: Any = None
    watched: Any = None
    raised: str = ""
    seconds: float = 0.0
    lines: frozenset[int] = frozenset()

    def differs(self, other: Trial) -> bool:
        """Whether another definition gives something else than the reference, whose trial this is."""
        return bool(other.raised) or not (
            equal(self.value, other.value, RTOL, ATOL) and equal(self.watched, other.watched, RTOL, ATOL)
        )


class TrialNamespace:
    """A namespace in which some source stands in the reference's place, as in the sandbox."""

    def __init__(self, spec: TestSpec, source: str) -> None:
        self.source = source
        self._process = CandidateProcess(None)  # type: ignore[arg-type]
        order = {
            "entry": spec.entry, "module": spec.module, "prelude": spec.prelude,
            "code": source, "setup": spec.setup, "seed": spec.seed,
        }  # fmt: skip
        with quiet(), deadline(5.0):
            self.failure: str = self._process.start(order).get("raised", "")

    def run(self, call: Call, seconds: float = 1.0, traced: bool = False) -> Trial:
        """Run one call."""
        lines: set[int] = set()
        message = {"inputs": call.inputs, "expression": call.expression, "watched": call.watched}
        answer: dict[str, Any] = {"raised": "Late"}
        started = time.process_time()
        with quiet(), deadline(seconds), _tracing(lines) if traced else contextlib.nullcontext():
            answer = self._process._outcome(lambda: self._process.call(message))
        took = time.process_time() - started
        if raised := answer.get("raised", ""):
            return Trial(raised=raised, seconds=took)
        return Trial(answer["value"], ["list", answer["watched"]], "", took, frozenset(lines))

    def lines(self) -> set[int]:
        """The lines that a call can reach and return from.

        Those of function bodies, not those that run as a definition is made, and none that raises.
        """
        raising = {
            line
            for node in ast.walk(ast.parse(self.source))
            if isinstance(node, ast.Raise)
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
        }
        code = compile(self.source, _FILE, "exec")
        return {line for function in _functions(code) for line in _body_lines(function)} - raising


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if constant.co_flags & 0x02 and not constant.co_name.startswith(
                "<"
            ):  # CO_NEWLOCALS: no class body
                yield constant
            yield from _functions(constant)


def _body_lines(code: CodeType) -> set[int]:
    return {line for _, _, line in code.co_lines() if line} - {code.co_firstlineno}


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what a call prints and warns about away from the terminal."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Stop the block after some processor time, so that a busy machine changes nothing, or long after it."""

    def late(*_: Any) -> None:
        raise Late

    timers = (
        (signal.SIGPROF, signal.ITIMER_PROF, seconds),
        (signal.SIGALRM, signal.ITIMER_REAL, 30 * seconds),
    )
    before = [signal.signal(number, late) for number, _, _ in timers]
    try:
        for _, timer, after in timers:
            signal.setitimer(timer, after, 0.2)
        yield
    except Late:
        pass  # the block ends here; its caller sees from what is missing that it was stopped
    finally:
        for _, timer, _ in timers:
            signal.setitimer(timer, 0)
        for (number, _, _), handler in zip(timers, before, strict=True):
            signal.signal(number, handler)


@contextlib.contextmanager
def _tracing(lines: set[int]) -> Iterator[None]:
    def local(frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            lines.add(frame.f_lineno)
        return local

    def every(frame: FrameType, event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename == _FILE else None

    sys.settrace(every)
    try:
        yield
    finally:
        sys.settrace(None)


class Children:
    """Runs work in forked processes that have given up their rights."""

    def __init__(self) -> None:
        self._readable = readable_paths()

    def run(self, work: Callable[[], Any], seconds: int) -> Any:
        """Return the result of ``work``; None if it died or took more processor time."""
        with tempfile.TemporaryDirectory() as scratch:
            reads, writes = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(reads)
                self._work(work, seconds, Path(scratch), writes)
            os.close(writes)
            data = _read(reads, 30 * seconds)
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        try:
            return pickle.loads(data) if data else None
        except (EOFError, pickle.UnpicklingError):
            return None

    def _work(self, work: Callable[[], Any], seconds: int, scratch: Path, writes: int) -> None:
        """In the child: confine it, work, answer, and end."""
        try:
            os.chdir(scratch)
            os.environ.update(HOME=str(scratch), TMPDIR=str(scratch))
            tempfile.tempdir = None
            paths, folders = self._readable
            _restrict.limit(_restrict.Limits(cpu_seconds=seconds, memory=4 << 30))
            _restrict.confine(scratch, _restrict.read_ruleset([*paths, scratch], folders))
            with os.fdopen(writes, "wb") as pipe:
                pickle.dump(work(), pipe)
        finally:
            os._exit(0)


def _read(pipe: int, seconds: float) -> bytes:
    data, until = b"", time.monotonic() + seconds
    with os.fdopen(pipe, "rb") as source:
        while (left := until - time.monotonic()) > 0 and select.select([source], [], [], left)[0]:
            part = os.read(source.fileno(), 1 << 20)
            if not part:
                break
            data += part
    return data
