"""Searches for calls that reach a definition's lines and give different outputs."""

from __future__ import annotations

import dataclasses
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maintenance.suites.call_generator import call_generator, steps_source
from maintenance.suites.record import Recording
from maintenance.suites.trial import Trial, TrialNamespace
from pipeline.scoring.execution.spec import Call, TestSpec

_TRIES = 200
_TRIES_IN_VAIN = 80
_KEPT = 30
_LONGEST_OUTPUT = 60_000
_SECONDS = 0.5
_SECONDS_FOR_ALL = 10.0


@dataclass
class Search:
    """The calls for one definition.

    Attributes:
        calls: calls that return, each of which adds a line or an output.
        trials: what each of them gave.
        lines: the lines that can be reached.
        raised: how often which exception was raised.
        failure: why there is no call.
    """

    calls: list[Call] = field(default_factory=list)
    trials: list[Trial] = field(default_factory=list)
    lines: set[int] = field(default_factory=set)
    raised: Counter[str] = field(default_factory=Counter)
    failure: str = ""


def search(spec: TestSpec, recorded: Recording) -> Search:
    """Call the reference with recorded and with drawn arguments."""
    result = Search()
    try:
        generator = call_generator(spec)
    except (LookupError, ValueError, TypeError, RecursionError, NameError) as error:
        result.failure = f"{type(error).__name__}: {error}"[:100]
        return result
    stage = TrialNamespace(spec, spec.reference)
    if stage.failure:
        result.failure = f"its definition raises {stage.failure}"
        return result
    result.lines = stage.lines()
    attempt = _CallFilter(stage, result)
    for story in recorded.stories:
        attempt(Call(story[0], steps_source(story[1:], generator.constants)))
    generator.recorded = list(recorded.values)
    started = time.process_time()
    for number in range(_TRIES + len(recorded.values)):
        if time.process_time() - started > _SECONDS_FOR_ALL:
            break
        if (
            len(result.calls) >= _KEPT
            or result.raised["Late"] > 6
            or (number > _TRIES_IN_VAIN and not result.calls)
        ):
            break
        call = generator.draw()
        if call is not None and attempt(call):
            generator.keep()
    if not result.calls:
        result.failure = "every call raises" if result.raised else "no call can be drawn"
    return result


class _CallFilter:
    """Runs calls and keeps those that add a line or an output."""

    def __init__(self, stage: TrialNamespace, result: Search) -> None:
        self.stage, self.result = stage, result
        self.outputs: set[str] = set()
        self.reached: set[int] = set()

    def __call__(self, call: Call) -> bool:
        """Whether the call returns something that can be compared."""
        trial = self.stage.run(call, _SECONDS, traced=True)
        if trial.raised == "TooLargeError" and call.watched:
            call = dataclasses.replace(call, watched=())
            trial = self.stage.run(call, _SECONDS, traced=True)
        if trial.raised or _every_step_raised(trial.value):
            self.result.raised[trial.raised or "every step"] += 1
            return False
        output = output_key(trial)
        if len(output) > _LONGEST_OUTPUT:
            return False
        if output not in self.outputs or trial.lines - self.reached:
            self.outputs.add(output)
            self.reached |= trial.lines
            self.result.calls.append(call)
            self.result.trials.append(trial)
        return True


def output_key(trial: Trial) -> str:
    """A text that is the same for the same output."""
    return json.dumps([trial.value, trial.watched])


def _every_step_raised(value: Any) -> bool:
    match value:
        case ["list", [_, *_] as steps]:
            return all(
                isinstance(step, list) and step[0] == "dict" and step[1] and step[1][0][0] == "raised"
                for step in steps
            )
    return False


def try_sources(spec: TestSpec, sources: Sequence[str], calls: Sequence[Call]) -> list[list[Trial]]:
    """Run the calls with each source; a source that cannot be loaded has no trials.

    When the time is over, the remaining sources are skipped.
    """
    kept: list[list[Trial]] = []
    started = time.process_time()
    for source in sources:
        stage = TrialNamespace(spec, source)
        trials: list[Trial] = []
        for call in calls if not stage.failure else ():
            late = sum(trial.raised == "Late" for trial in trials)
            trials.append(stage.run(call, 1.0 if late < 2 else 0.05))
        kept.append(trials)
        if time.process_time() - started > _SECONDS_FOR_ALL:
            break
    return kept
