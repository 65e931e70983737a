"""Builds a suite and writes the file that ships: calls and hashes, and nothing of the packages' text."""

from __future__ import annotations

import gc
import gzip
import json
import pkgutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

import torch
from pipeline.data.contamination import THRESHOLD, training_overlap

from maintenance.suites.build import STEPS, Probe, probe_rows
from maintenance.suites.record import Recorder, Recording, run_examples
from maintenance.suites.trial import Children, Trial
from pipeline.data.packages.corpus import load_corpus
from pipeline.data.packages.split import split_corpus
from pipeline.schema import Sample
from pipeline.scoring.execution.run import run_calls
from pipeline.scoring.execution.sandbox import Limits, Sandbox
from pipeline.scoring.execution.spec import PRELOADED
from pipeline.scoring.execution.suites.load import (
    HELD_OUT,
    PackageSuite,
    digest,
    make_spec,
    record_path,
    suite_rows,
)
from pipeline.scoring.execution.suites.place import load_module
from pipeline.settings import Settings

MOST_SAMPLES = 400
_ROWS_AT_ONCE = 120
_PRELOADED: dict[PackageSuite, tuple[str, ...]] = {
    "packages": (
        "transformers.modeling_utils", "transformers.modeling_outputs", "transformers.image_transforms",
        "transformers.tokenization_utils_base", "torch._dynamo", "torch.distributed.tensor",
    ),
    "metrics": (HELD_OUT,),
}  # fmt: skip
_SECONDS_TO_RECORD = 600


def build_suite(suite: PackageSuite, workers: int = 1) -> dict[str, Any]:
    """Choose the samples and calls of a suite, and write them to assets/suites.

    Args:
        suite: which suite
        workers: processes that work at the same time

    Returns:
        The number of samples, and how many rows were left after each step.
    """
    settings = Settings.from_env()
    torch.set_num_threads(1)
    rows = suite_rows(settings, suite)
    for name in _PRELOADED[suite]:
        load_module(name)
    recorded = record(list(rows)) if suite == "metrics" else {}
    gc.collect()
    gc.freeze()  # so that forks share the pages
    probes = list(until_enough(rows, lambda part: probe_rows(part, suite, recorded, workers)))
    return write_suite(settings, suite, rows, probes)


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
        return recorder.found

    found: dict[str, Recording] = Children().run(work, _SECONDS_TO_RECORD)
    return found


def until_enough(
    rows: Sequence[Sample], probe: Callable[[Sequence[Sample]], Iterator[Probe]]
) -> Iterator[Probe]:
    """Probe rows in the dataset's order until enough of them are kept."""
    kept = 0
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        for each in probe(rows[start : start + _ROWS_AT_ONCE]):
            kept += not each.failed
            yield each
        print(f"{start + _ROWS_AT_ONCE:,} of {len(rows):,} rows: {kept:,} kept", file=sys.stderr, flush=True)
        if kept >= MOST_SAMPLES:
            return


def write_suite(
    settings: Settings, suite: PackageSuite, rows: Sequence[Sample], probes: Sequence[Probe]
) -> dict[str, Any]:
    """Confirm what was kept in the sandbox, and write the file that ships."""
    samples = {sample.id: sample for sample in rows}
    probes = confirm(suite, samples, probes)
    place = {sample_id: at for at, sample_id in enumerate(samples)}
    kept = sorted((each for each in probes if not each.failed), key=lambda each: place[each.id])[
        :MOST_SAMPLES
    ]
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


def confirm(suite: PackageSuite, samples: Mapping[str, Sample], probes: Sequence[Probe]) -> list[Probe]:
    """See whether the references give the same in the sandbox, with another hash seed."""
    specs = {
        each.id: make_spec(samples[each.id], suite, tuple(each.calls)) for each in probes if not each.failed
    }
    confirmed: list[Probe] = []
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
            confirmed.append(each)
    return confirmed


def funnel(probes: Sequence[Probe]) -> list[tuple[str, int]]:
    """How many rows were left after each step."""
    failed = Counter(each.failed for each in probes)
    left, counts = len(probes), [("rows", len(probes))]
    for step in (*STEPS, "confirmed"):
        left -= failed[step]
        counts.append((step, left))
    return counts


def contamination(settings: Settings, samples: Sequence[Sample]) -> dict[str, Any]:
    """How many samples share most of their token n-grams with the training split of ``packages``."""
    train = split_corpus(load_corpus(settings)).train
    overlaps = training_overlap(samples, train, [len(train)])
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
