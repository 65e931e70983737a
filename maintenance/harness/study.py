"""Executes code that must pass and code that must fail, and counts the unexpected results.

The references and rewrites of them must pass. Definitions that do nothing and references with one fault must
fail. Some faults change nothing that can be
observed, so the share that passes is more than the share of false positives: some were read, as were
answers of models (``maintenance.harness.reading``).
"""

from __future__ import annotations

import ast
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from maintenance.harness.rewrites import REWRITES, widened
from maintenance.suites.mutants import REPORT, mutants, stubs
from pipeline.schema import Progress
from pipeline.scoring.execution.run import Executor, run_calls, sandbox_for
from pipeline.scoring.execution.sandbox import Sandbox
from pipeline.scoring.execution.spec import TestSpec
from pipeline.settings import ASSETS
from pipeline.stats.intervals import choose_clusters, rate_interval

STUDY = ASSETS / "studies" / "execution.json"
_SEED = 3  # 1 and 2 chose and measured the suites' samples


def measure(
    specs: Sequence[TestSpec], faults: int, report: Progress
) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """Count the references, stubs, faults and rewrites that pass; returns the unexpected ones, too."""
    shares: dict[str, Any] = {}
    strange: list[dict[str, str]] = []
    with sandbox_for(specs) as sandbox:
        executor = Executor(sandbox)
        for name, jobs in _jobs(specs, faults, sandbox).items():
            results = executor.execute(jobs, partial(_tell, report, name))
            passed = [result.verdict == "passed" for result in results]
            shares[name] = share(passed, [spec for _, spec in jobs])
            should_fail = name in _WRONG
            strange += [
                {
                    "kind": name,
                    "sample": spec.sample_id,
                    "reference": spec.reference,
                    "code": code,
                    "why": it.reason,
                }
                for (code, spec), it, one in zip(jobs, results, passed, strict=True)
                if one == should_fail
            ]
    return shares, strange


_WRONG = ("stubs", "faults")


def _tell(report: Progress, name: str, done: float, says: str) -> None:
    report(done, f"{name}: {says}")


def _jobs(specs: Sequence[TestSpec], faults: int, sandbox: Sandbox) -> dict[str, list[tuple[str, TestSpec]]]:
    """Code and its spec, by what it is."""
    jobs: dict[str, list[tuple[str, TestSpec]]] = {
        "references": [(spec.reference, spec) for spec in specs],
        "stubs": [(stub, spec) for spec in specs for stub in stubs(spec.reference)],
        "faults": [(it, spec) for spec in specs for it in mutants(spec.reference, REPORT, faults, _SEED)],
    }
    for name, rewrite in REWRITES.items():
        wanted = [spec for spec in specs if rewrite is not widened or _gives_float32(spec, sandbox)]
        rewritten = [(rewrite(spec.reference), spec) for spec in wanted]
        jobs[name] = [(code, spec) for code, spec in rewritten if _plain(code) != _plain(spec.reference)]
    return {name: those for name, those in jobs.items() if those}


def _gives_float32(spec: TestSpec, sandbox: Sandbox) -> bool:
    outcomes = run_calls(sandbox, spec.reference, spec).outcomes
    return any('"float32"' in json.dumps(outcome.value) for outcome in outcomes)


def _plain(code: str) -> str:
    return ast.unparse(ast.parse(code))


def share(passed: Sequence[bool], specs: Sequence[TestSpec]) -> dict[str, Any]:
    """Passes among executed ones, and Wilson's interval at the effective size over files or samples."""
    levels = {"file": [it.module for it in specs], "sample": [it.sample_id for it in specs]}
    interval = rate_interval([float(each) for each in passed], choose_clusters(levels)[0])
    return {
        "passed": sum(passed),
        "of": len(passed),
        "interval": [round(float(interval.low), 4), round(float(interval.high), 4)],
    }
