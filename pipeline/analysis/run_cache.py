"""The set-ups of the stored runs, and their analyses, which are kept."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from typing import Any, TypeVar

from pipeline.analysis.agreement import AgainstExecution, against_execution
from pipeline.analysis.metric_analysis import Analysis, analyze
from pipeline.analysis.passes import PassAtK, passes_at_k
from pipeline.analysis.setups import Axis, Setup, find_setups
from pipeline.evaluation.stored_runs import StoredRuns, stamp_of
from pipeline.models.families import load_families
from pipeline.schema import LabError, quoted
from pipeline.scoring.execution.suites.suite import DATASETS

_KEPT = 256  # all metrics of every set-up
_Value = TypeVar("_Value")


def _place(name: str, names: list[str]) -> int:
    return names.index(name) if name in names else len(names)


class RunCache:
    """Set-ups and analyses of stored runs; can be shared between threads."""

    def __init__(self, stored: StoredRuns) -> None:
        self.stored = stored
        self._lock = threading.Lock()
        self._kept: dict[tuple[object, ...], Any] = {}

    def setups(self) -> list[Setup]:
        """Return the set-ups with attempts: by family, and of each family the executed test suites first."""
        families, suites = list(load_families(self.stored.settings)), list(DATASETS)
        return sorted(
            find_setups(run for run in self.stored.runs() if run.attempts),
            key=lambda setup: (_place(setup.family, families), _place(setup.dataset, suites)),
        )

    def setup(self, key: str) -> Setup:
        """Return a set-up by key, the first one for an empty key; raise ``LabError`` if there is none."""
        known = {setup.key: setup for setup in self.setups()}
        if not known:
            raise LabError("No run is stored yet. Evaluate a checkpoint first.")
        if key and key not in known:
            raise LabError(f"There is no evaluation set-up {quoted(key)}. There are: {', '.join(known)}.")
        return known[key] if key else next(iter(known.values()))

    def analysis(
        self, setup: Setup, metric: str, excluded: Collection[str] = (), axis: Axis = "subset_size"
    ) -> Analysis:
        """Return ``analyze`` of the set-up, cached until one of its runs changes."""
        if metric not in setup.metrics:
            raise LabError(
                f"No run of this set-up has {quoted(metric)}. There are: {', '.join(setup.metrics)}."
            )
        return self._keep(
            (metric, axis, frozenset(excluded)), setup, lambda: analyze(setup, metric, excluded, axis)
        )

    def agreement(
        self, setup: Setup, excluded: Collection[str] = (), only: str | None = None
    ) -> AgainstExecution | None:
        """Return ``against_execution`` of the set-up, cached until one of its runs changes."""
        what = ("agreement", frozenset(excluded), only)
        return self._keep(what, setup, lambda: against_execution(setup, excluded, only))

    def passes(self, setup: Setup, excluded: Collection[str] = ()) -> list[PassAtK]:
        """Return ``passes_at_k`` of the set-up among all set-ups."""
        return passes_at_k(setup, self.setups(), excluded)

    def _keep(self, what: tuple[object, ...], setup: Setup, make: Callable[[], _Value]) -> _Value:
        key = (*what, setup.key, tuple(stamp_of(run.path) for run in setup.runs))
        with self._lock:
            value: _Value | None = self._kept.pop(key, None)
        value = make() if value is None else value
        with self._lock:
            self._kept[key] = value  # the last one used is removed last
            while len(self._kept) > _KEPT:
                self._kept.pop(next(iter(self._kept)))
        return value
