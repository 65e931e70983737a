"""Decides which rows a suite holds: those whose calls detect wrong code.

A process imports a file's module and forks one confined process for each step of each of its rows.
"""

from __future__ import annotations

import json
import os
import selectors
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any

from maintenance.suites.mutants import FILTER, REPORT, mutants, stubs
from maintenance.suites.record import Recording
from maintenance.suites.search import Search, output_key, search, try_sources
from maintenance.suites.trial import Children, Trial, quiet
from pipeline.schema import Sample
from pipeline.scoring.execution.spec import Call, TestSpec
from pipeline.scoring.execution.suites.load import PackageSuite, make_spec
from pipeline.scoring.execution.suites.place import load_module, module_name

MOST_MUTANTS = 12
MOST_CALLS = 14
CALLS = 8
FEWEST_OUTPUTS = 3
LINES = 0.8
KILLED = 0.8
SECONDS = 1.0
_SECONDS_TO_SEARCH = 30
_SECONDS_TO_TRY = 20

STEPS = ("imported", "called", "repeated", "outputs", "lines", "mutants", "stubs", "confirmed")
"""What a row must pass, in order: its module is imported; calls return; they give the same again within a
second; there are several outputs; lines are covered; mutants are noticed; no stub passes; the sandbox gives
the same."""


@dataclass
class Probe:
    """How far a row got.

    Attributes:
        id: the sample's id.
        failed: the step that it did not pass, empty if it passed all.
        why: details for the maintainer.
        calls: the chosen calls.
        trials: what the reference gave for each.
        killed: mutants of the filter that were noticed, and how many there were.
        report: the same for the mutants that measure the suite.
        alive: mutants of the report that were not noticed.
    """

    id: str
    failed: str = ""
    why: str = ""
    calls: Sequence[Call] = ()
    trials: Sequence[Trial] = ()
    killed: tuple[int, int] = (0, 0)
    report: tuple[int, int] = (0, 0)
    alive: Sequence[str] = ()

    def to_json(self) -> str:
        """The probe as one line."""
        trials = [[trial.value, trial.watched] for trial in self.trials]
        return json.dumps({**asdict(replace(self, trials=())), "trials": trials})

    @classmethod
    def from_json(cls, line: str) -> Probe:
        """The probe that ``to_json`` wrote."""
        read = json.loads(line)
        read["calls"] = [
            Call(call["inputs"], call["expression"], tuple(call["watched"])) for call in read["calls"]
        ]
        read["trials"] = [Trial(value, watched) for value, watched in read["trials"]]
        return cls(**read)


def probe(sample: Sample, suite: PackageSuite, recorded: Recording, children: Children) -> Probe:
    """Take a row through every step."""
    spec = make_spec(sample, suite, ())
    result = children.run(partial(search, spec, recorded), _SECONDS_TO_SEARCH)
    if not isinstance(result, Search) or not result.calls:
        failure = result.failure if result else "it ends its process or takes too long"
        return Probe(sample.id, "called", failure)
    again = children.run(partial(try_sources, spec, [spec.reference], result.calls), _SECONDS_TO_TRY) or [[]]
    stable = [at for at, trial in enumerate(again[0]) if not result.trials[at].differs(trial)]
    calls, trials = [result.calls[at] for at in stable], [result.trials[at] for at in stable]
    if not calls:
        return Probe(sample.id, "repeated")
    if (outputs := len({output_key(trial) for trial in trials})) < FEWEST_OUTPUTS:
        return Probe(sample.id, "outputs", str(outputs))
    reached = set().union(*(trial.lines for trial in trials)) & result.lines
    if len(reached) <= LINES * len(result.lines):
        return Probe(sample.id, "lines", f"{len(reached)}/{len(result.lines)}")
    return _select(spec, calls, trials, result.lines, sum(again[0][at].seconds for at in stable), children)


def _select(
    spec: TestSpec,
    calls: list[Call],
    trials: list[Trial],
    lines: set[int],
    seconds: float,
    children: Children,
) -> Probe:
    """Choose calls by the mutants that they notice, and see whether they suffice."""
    faults = mutants(spec.reference, FILTER, MOST_MUTANTS, seed=1)
    noticed = _noticed(spec, faults, calls, trials, children)
    chosen = choose(trials, lines, noticed)
    killed = sum(any(at in by for at in chosen) for by in noticed)
    if not faults or killed < KILLED * len(faults):
        return Probe(spec.sample_id, "mutants", f"{killed}/{len(faults)}")
    calls, trials = [calls[at] for at in chosen], [trials[at] for at in chosen]
    empty = stubs(spec.reference)
    fresh = mutants(spec.reference, REPORT, MOST_MUTANTS, seed=2)
    measured = _noticed(spec, [*empty, *fresh], calls, trials, children)
    if passing := [stub for stub, by in zip(empty, measured, strict=False) if not by]:
        return Probe(spec.sample_id, "stubs", passing[0])
    if seconds * len(chosen) / len(calls) > SECONDS:
        return Probe(spec.sample_id, "repeated", f"{seconds:.1f} s")
    alive = [fault for fault, by in zip(fresh, measured[len(empty) :], strict=True) if not by]
    report = (len(fresh) - len(alive), len(fresh))
    return Probe(spec.sample_id, "", "", calls, trials, (killed, len(faults)), report, alive)


def _noticed(
    spec: TestSpec, sources: Sequence[str], calls: Sequence[Call], trials: Sequence[Trial], children: Children
) -> list[set[int]]:
    """For each source, the calls that distinguish it from the reference.

    They run one after the other in a process; one that ends it is noticed, and a new process follows.
    """
    every = set(range(len(calls)))
    sets: list[set[int]] = []
    while len(sets) < len(sources):
        rest = sources[len(sets) :]
        for others in children.run(partial(try_sources, spec, rest, calls), _SECONDS_TO_TRY) or [[]]:
            noticed = {at for at, other in enumerate(others) if trials[at].differs(other)}
            sets.append(noticed if others else every)
    return sets


def choose(trials: Sequence[Trial], lines: set[int], noticed: Sequence[set[int]]) -> list[int]:
    """A few calls that together reach all lines, notice each mutant twice, and give different outputs."""
    goals = [
        {("line", line) for line in trial.lines & lines}
        | {("mutant", at) for at, by in enumerate(noticed) if index in by}
        for index, trial in enumerate(trials)
    ]
    chosen: list[int] = []
    for _ in range(2):
        left = set().union(*goals)
        while left and len(chosen) < MOST_CALLS:
            rest = [at for at in range(len(goals)) if at not in chosen]
            best = max(rest, key=lambda at: (len(goals[at] & left), -at), default=None)
            if best is None or not goals[best] & left:
                break
            chosen.append(best)
            left -= goals[best]
    outputs = {output_key(trials[at]) for at in chosen}
    for at, trial in enumerate(trials):
        if len(chosen) < CALLS and output_key(trial) not in outputs:
            chosen.append(at)
            outputs.add(output_key(trial))
    return sorted(chosen)


def probe_rows(
    samples: Sequence[Sample], suite: PackageSuite, recorded: Mapping[str, Recording], workers: int
) -> Iterator[Probe]:
    """Take rows through every step, file by file, in several processes; in any order."""
    ordered = sorted(samples, key=lambda sample: sample.id)
    files = [list(rows) for _, rows in groupby(ordered, key=lambda sample: (sample.repo, sample.file))]
    with selectors.DefaultSelector() as pipes:
        for worker in range(workers):
            part = files[worker::workers]
            pipe, process = _forked(partial(_probe_files, part, suite, recorded))
            pipes.register(pipe, selectors.EVENT_READ, process)
        while pipes.get_map():
            for key, _ in pipes.select():
                line = key.fileobj.readline()  # type: ignore[union-attr]
                if line:
                    yield Probe.from_json(line)
                else:
                    pipes.unregister(key.fileobj)
                    os.waitpid(key.data, 0)


def _probe_files(
    files: Sequence[Sequence[Sample]],
    suite: PackageSuite,
    recorded: Mapping[str, Recording],
    send: Callable[[str], None],
) -> None:
    """Each file in a process of its own, since a module once imported stays."""
    children = Children()
    for rows in files:
        pipe, process = _forked(partial(_probe_file, rows, suite, recorded, children))
        left = {row.id for row in rows}
        for line in pipe:
            left.discard(json.loads(line)["id"])
            send(line)
        os.waitpid(process, 0)
        for each in sorted(left):
            send(Probe(each, "imported", "the process ended").to_json() + "\n")


def _probe_file(
    rows: Sequence[Sample],
    suite: PackageSuite,
    recorded: Mapping[str, Recording],
    children: Children,
    send: Callable[[str], None],
) -> None:
    try:
        with quiet():
            load_module(module_name(rows[0].repo, rows[0].file))
    except (Exception, SystemExit) as error:
        for row in rows:
            send(Probe(row.id, "imported", f"{type(error).__name__}: {error}"[:100]).to_json() + "\n")
        return
    for row in rows:
        send(probe(row, suite, recorded.get(row.id, Recording()), children).to_json() + "\n")


def _forked(work: Callable[[Callable[[str], None]], None]) -> tuple[Any, int]:
    """A process that does some work, and the pipe with the lines that it sends."""
    reads, writes = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reads)
        try:
            with os.fdopen(writes, "w") as pipe:

                def send(line: str) -> None:
                    pipe.write(line)
                    pipe.flush()

                work(send)
        finally:
            os._exit(0)
    os.close(writes)
    return os.fdopen(reads), process
