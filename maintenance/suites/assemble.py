"""Builds a suite and writes the file that ships: calls and hashes, and nothing of the packages' text."""

from __future__ import annotations

import gzip
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from maintenance.suites.build import STEPS, Probe
from maintenance.suites.record import Recorder, Recording, run_examples
from maintenance.suites.trial import Children, Trial
from pipeline.data.overlap import THRESHOLD, measure_overlap
from pipeline.data.packages.corpus import load_corpus
from pipeline.data.packages.split import split_corpus
from pipeline.schema import Sample
from pipeline.scoring.execution.run import run_calls
from pipeline.scoring.execution.sandbox import Limits, Sandbox
from pipeline.scoring.execution.spec import PRELOADED
from pipeline.scoring.execution.suites.load import (
    PackageSuite,
    digest,
    make_spec,
    record_path,
)
from pipeline.scoring.execution.suites.place import load_module
from pipeline.settings import Settings

_ROWS_AT_ONCE = 60
_SECONDS_TO_RECORD = 600


def record(rows: Sequence[Sample]) -> Mapping[str, Recording]:
    """What the examples in the package's docstrings give to its functions, recorded in a confined process."""
    package = load_module(rows[0].repo)
    modules = sorted(
        module.name
        for module in pkgutil.walk_packages(package.__path__, f"{rows[0].repo}.", onerror=lambda _: None)
    )

    def work() -> dict[str, Recording]:
        recorder = Recorder(rows)
        run_examples(modules)
        return recorder.recordings

    recordings: dict[str, Recording] = Children().run(work, _SECONDS_TO_RECORD)
    return recordings


def until_enough(
    rows: Sequence[Sample],
    samples: int,
    log: Path,
    probe: Callable[[Sequence[Sample]], Iterable[Probe]],
) -> list[Probe]:
    """Probe rows in the dataset's order until enough are kept; what the log holds is not probed again."""
    lines = log.read_text().splitlines() if log.exists() else []
    known = {each.id: each for each in map(Probe.from_json, lines)}
    probes: list[Probe] = []
    kept = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        left = [row for row in part if row.id not in known]
        new = {each.id: each for each in probe(left)} if left else {}
        with log.open("a") as file:
            file.writelines(f"{each.to_json()}\n" for each in new.values())
        for row in part:
            probes.append((new if row.id in new else known)[row.id])
            kept += not probes[-1].failed
            if kept == samples:
                return probes
        print(f"{len(probes):,} of {len(rows):,} rows: {kept:,} kept", file=sys.stderr, flush=True)
    return probes


def write_suite(
    settings: Settings, suite: PackageSuite, rows: Sequence[Sample], probes: Sequence[Probe]
) -> dict[str, Any]:
    """Write the file that ships, from probes in the dataset's order."""
    samples = {sample.id: sample for sample in rows[: len(probes)]}
    kept = [each for each in probes if not each.failed]
    packages = sorted({samples[each.id].repo for each in kept})
    content = {
        "suite": suite,
        "versions": {name: version(_DISTRIBUTIONS.get(name, name)).partition("+")[0] for name in packages},
        "funnel": funnel(probes),
        "mutants": {
            "filter": _summed(each.killed for each in kept),
            "report": _summed(each.report for each in kept),
        },
        "contamination": contamination(settings, [samples[each.id] for each in kept]),
        "samples": [_stored(each, samples[each.id]) for each in kept],
    }
    path = record_path(settings, suite)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    return {name: content[name] for name in ("suite", "funnel", "mutants", "contamination")} | {
        "samples": len(kept)
    }


_DISTRIBUTIONS = {"code_bert_score": "code-bert-score", "torchgen": "torch", "functorch": "torch"}


def confirm(suite: PackageSuite, rows: Sequence[Sample], probes: Iterable[Probe]) -> Iterator[Probe]:
    """See whether the references give the same in the sandbox, with another hash seed."""
    probes = list(probes)
    samples = {row.id: row for row in rows}
    specs = {
        each.id: make_spec(samples[each.id], suite, tuple(each.calls)) for each in probes if not each.failed
    }
    wanted = {name for spec in specs.values() for name in (*PRELOADED[spec.suite], spec.module)}
    # The clock tells little where the machine is busy, so the limit on it is wide.
    with Sandbox(sorted(wanted), Limits(wall_seconds=120.0)) as sandbox:
        for each in probes:
            if not each.failed:
                run = run_calls(sandbox, samples[each.id].function, specs[each.id])
                got = [Trial(one.value, ["list", [*one.watched]], one.raised) for one in run.outcomes]
                same = len(got) == len(each.trials) and not any(
                    one.differs(other) for one, other in zip(each.trials, got, strict=True)
                )
                each = each if same else replace(each, failed="confirmed", why=run.stopped)
            yield each


def funnel(probes: Sequence[Probe]) -> list[tuple[str, int]]:
    """How many rows were left after each step."""
    failed = Counter(each.failed for each in probes)
    left, counts = len(probes), [("rows", len(probes))]
    for step in STEPS:
        left -= failed[step]
        counts.append((step, left))
    return counts


def contamination(settings: Settings, samples: Sequence[Sample]) -> dict[str, Any]:
    """How many samples share most of their token n-grams with the training split of ``packages``."""
    train = split_corpus(load_corpus(settings)).train
    overlaps = measure_overlap(samples, train, [len(train)])
    seen = [each.sample_id for each in overlaps if each.contaminated(len(train))]
    shares = sorted(each.shares[len(train)] for each in overlaps)
    return {
        "training_samples": len(train),
        "threshold": THRESHOLD,
        "contaminated": len(seen),
        "ids": seen,
        "median_share": round(shares[len(shares) // 2], 3),
    }


def _summed(counts: Iterator[tuple[int, int]]) -> tuple[int, int]:
    pairs = list(counts)
    return sum(one for one, _ in pairs), sum(all_ for _, all_ in pairs)


def _stored(probe: Probe, sample: Sample) -> dict[str, Any]:
    calls = [[call.inputs, call.expression, list(call.watched)] for call in probe.calls]
    return {"id": probe.id, "reference": digest(sample.function), "calls": calls}
