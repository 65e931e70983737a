"""Executes candidates and compares their results with those of the reference."""

from __future__ import annotations

import os
import re
import textwrap
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

from pipeline.schema import Progress, counted
from pipeline.scoring.execution.equality import difference, short
from pipeline.scoring.execution.flags import flags
from pipeline.scoring.execution.sandbox import EndedError, Process, Sandbox
from pipeline.scoring.execution.spec import PRELOADED, TestSpec
from pipeline.scoring.execution.values import Encoded

Verdict = Literal["passed", "failed", "errored", "timeout", "unscored"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one call gave.

    Attributes:
        value: the value of its expression, None if it raised.
        raised: name of the exception's class; empty if there is a value.
        message: the exception's text.
        watched: values of the call's watched names after it.
    """

    value: Encoded = None
    raised: str = ""
    message: str = ""
    watched: tuple[Encoded, ...] = ()

    @property
    def text(self) -> str:
        """In a few characters, for people."""
        return f"{self.raised}: {self.message}"[:120].rstrip(": ") if self.raised else short(self.value)


@dataclass(frozen=True, slots=True)
class CallOutcomes:
    """What one piece of code did under the calls of a spec.

    Attributes:
        outcomes: of the calls that were answered, in order.
        stopped: why the others were not, in words; empty if all were.
        verdict: what that makes of a candidate: ``errored`` where its code does not run or lacks the name
            under test, ``timeout``, or ``failed``.
    """

    outcomes: tuple[Outcome, ...] = ()
    stopped: str = ""
    verdict: Verdict = "failed"


@dataclass(frozen=True, slots=True)
class CallResult:
    """One call of a candidate against the same of the reference, for people.

    Attributes:
        call: its source.
        expected: what the reference gave, shortened.
        got: what the candidate gave, shortened.
        wrong: how they differ, in words; empty if they agree.
        same_exception: False where both raise, but not the same exception. It is reported and fails no call.
    """

    call: str
    expected: str
    got: str
    wrong: str = ""
    same_exception: bool = True


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """The result of executing one candidate.

    Attributes:
        verdict: ``passed``; ``failed``: an output is wrong; ``errored``: the code does not run; ``timeout``;
            ``unscored``: the reference itself does not run here.
        reason: why it is not ``passed``, in words.
        calls: each call that was compared.
        flags: why a pass may be no evidence (``pipeline.scoring.execution.flags``).
        seconds: on the clock.
    """

    verdict: Verdict
    reason: str = ""
    calls: tuple[CallResult, ...] = ()
    flags: tuple[str, ...] = ()
    seconds: float = 0.0


def sandbox_for(specs: Iterable[TestSpec], *, unsafe: bool = False) -> Sandbox:
    """A sandbox that has imported what these specs need."""
    specs = list(specs)
    wanted = {name for spec in specs for name in PRELOADED[spec.suite]}
    wanted |= {spec.module for spec in specs if spec.module != "candidate"}
    return Sandbox(sorted(wanted), unsafe=unsafe)


_NOT_RUN = CallOutcomes(stopped="it has not run")


class Executor:
    """Executes candidates, as many at a time as there are processors, and keeps the references' results."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._references: dict[str, CallOutcomes] = {}

    def execute(
        self, jobs: Sequence[tuple[str, TestSpec]], progress: Progress | None = None
    ) -> list[ExecutionResult]:
        """Execute candidates.

        Args:
            jobs: each candidate's code, and the spec that tests it.
            progress: called after each candidate.

        Returns:
            A result for each job, in their order.

        Raises:
            LabError: nothing can be executed here.
        """
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            new = {
                spec.sample_id: spec
                for _, spec in jobs
                if not spec.check and self._references.get(spec.sample_id, _NOT_RUN).stopped
            }
            runs = pool.map(lambda spec: run_calls(self.sandbox, spec.reference, spec), new.values())
            self._references.update(zip(new, runs, strict=True))
            results = []
            for result in pool.map(lambda job: self._execute_one(*job), jobs):
                results.append(result)
                if progress:
                    done = len(results)
                    progress(done / len(jobs), f"executed {done:,} of {counted(len(jobs), 'completion')}")
        return results

    def _execute_one(self, code: str, spec: TestSpec) -> ExecutionResult:
        start = time.monotonic()
        if spec.check:
            result = run_check(self.sandbox, code, spec)
        else:
            result = compare_outcomes(
                self._references[spec.sample_id], run_calls(self.sandbox, code, spec), spec
            )
        return replace(result, flags=flags(code, spec), seconds=time.monotonic() - start)


def run_calls(sandbox: Sandbox, code: str, spec: TestSpec) -> CallOutcomes:
    """What some code, a candidate's or the reference, does under the calls of a spec."""
    outcomes: list[Outcome] = []
    try:
        with sandbox.process() as process:
            if failure := _start(process, code, spec):
                return CallOutcomes(stopped=failure, verdict="errored")
            for call in spec.calls:
                message = {"inputs": call.inputs, "expression": call.expression, "watched": call.watched}
                outcomes.append(_outcome(process.ask({"call": message})))
    except EndedError as ended:
        return CallOutcomes(tuple(outcomes), str(ended), "timeout" if ended.too_long else "failed")
    return CallOutcomes(tuple(outcomes))


def _start(process: Process, code: str, spec: TestSpec) -> str:
    """Load code into a process. Returns why the code does not run, or an empty text if it runs."""
    answer = process.ask(
        {
            "start": {
                "entry": spec.entry,
                "module": spec.module,
                "prelude": spec.prelude,
                "code": _complete(code, spec),
                "setup": spec.setup,
                "seed": spec.seed,
            }
        }
    )
    outcome = _outcome(answer)
    where = {"prelude": "what the tests need before the code", "setup": "what the tests need after the code"}
    return outcome.raised and f"{where.get(str(answer.get('stage')), 'the code')} raises {outcome.text}"


def _complete(code: str, spec: TestSpec) -> str:
    """Code that does not define the name under test continues the spec's stub, if there is one."""
    if not spec.stub or re.search(rf"^(async\s+def|def|class)\s+{spec.name}\b", code, re.MULTILINE):
        return code
    indented = code.lstrip("\n")[:1].isspace()
    return spec.stub + (code if indented else textwrap.indent(code, "    "))


def _outcome(answer: Any) -> Outcome:
    """A candidate's answer; one that a candidate forged becomes an outcome that equals no other."""
    if not isinstance(answer, dict):
        return Outcome(raised="unreadable answer")
    watched = answer.get("watched", [])
    return Outcome(
        answer.get("value"),
        str(answer.get("raised", "")),
        str(answer.get("message", "")),
        tuple(watched) if isinstance(watched, list) else (),
    )


def compare_outcomes(expected: CallOutcomes, got: CallOutcomes, spec: TestSpec) -> ExecutionResult:
    """Hold a candidate's outcomes against the reference's."""
    if expected.stopped or len(expected.outcomes) != len(spec.calls):
        return ExecutionResult("unscored", f"The reference does not run here: {expected.stopped}.")
    calls = tuple(
        _compare_call("\n".join(filter(None, (call.inputs, call.expression))), one, other, spec)
        for call, one, other in zip(spec.calls, expected.outcomes, got.outcomes, strict=False)
    )
    wrong = [call for call in calls if call.wrong]
    if got.stopped:
        done = f" after {counted(len(calls), 'call')}" if calls else ""
        return ExecutionResult(got.verdict, f"{_sentence(got.stopped)}{done}.", calls)
    if wrong:
        many = f"{len(wrong):,} of {counted(len(calls), 'call')} differ from the reference"
        return ExecutionResult("failed", f"{many}; in the first, {wrong[0].wrong}.", calls)
    return ExecutionResult("passed", calls=calls)


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _compare_call(source: str, expected: Outcome, got: Outcome, spec: TestSpec) -> CallResult:
    result = partial(CallResult, source, expected.text, got.text)
    if bool(expected.raised) != bool(got.raised):
        wrong = f"it raises {got.text}" if got.raised else f"it does not raise {expected.raised}"
        return result(wrong)
    wrong = ""
    if not expected.raised:
        wrong = difference(expected.value, got.value, spec.rtol, spec.atol) or ""
    if not wrong and (
        change := difference(["list", [*expected.watched]], ["list", [*got.watched]], spec.rtol, spec.atol)
    ):
        wrong = f"an argument differs afterwards: {change}"
    return result(wrong, same_exception=expected.raised == got.raised)


def run_check(sandbox: Sandbox, code: str, spec: TestSpec) -> ExecutionResult:
    """Run a candidate under a program of tests, each in its own process; this one carries the calls over."""
    last = ""
    try:
        with sandbox.process() as candidate, sandbox.process() as checker:
            if failure := _start(candidate, code, spec):
                return ExecutionResult("errored", f"{_sentence(failure)}.")
            program = {"name": spec.name, "source": spec.prelude + spec.check, "seed": spec.seed}
            reply = checker.ask({"check": program})
            while "apply" in reply:
                answer = candidate.ask({"apply": reply["apply"]})
                arguments = ", ".join(short(argument) for argument in reply["apply"][0][1])
                last = f"; the last call was {spec.entry}({arguments}), which gave {_outcome(answer).text}"
                reply = checker.ask(answer)
    except EndedError as ended:
        return ExecutionResult("timeout" if ended.too_long else "failed", f"{_sentence(str(ended))}{last}.")
    outcome = _outcome(reply)
    if not outcome.raised:
        return ExecutionResult("passed")
    what = "A test fails" if outcome.raised == "AssertionError" else f"The tests stop with {outcome.text}"
    return ExecutionResult("failed", f"{what}{last}.")
