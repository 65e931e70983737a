"""The stored runs, read once and again only where something was written since."""

from __future__ import annotations

import threading
from collections.abc import Collection
from pathlib import Path

from pipeline.analysis.analyze import Analysis, analyze
from pipeline.analysis.setups import Setup, find_setups
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import list_runs, load_run
from pipeline.schema import LabError
from pipeline.settings import Settings

_KEPT = 32
_Stamp = tuple[tuple[str, int, int], ...]


class RunCache:
    """Runs, set-ups and analyses of one installation; safe to share between threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._runs: dict[Path, tuple[_Stamp, Run | str]] = {}
        self._analyses: dict[tuple[object, ...], Analysis] = {}

    def runs(self) -> list[Run]:
        """Every run that can be read."""
        return [run for run in self._read_all() if isinstance(run, Run)]

    def problems(self) -> list[str]:
        """What cannot be read, each in a sentence: whole runs, and lines of runs."""
        return [
            each if isinstance(each, str) else f"{each.path.name}: {each.unreadable}."
            for each in self._read_all()
            if isinstance(each, str) or each.unreadable
        ]

    def setups(self) -> list[Setup]:
        """The set-ups that have anything to show, the one with the most runs first."""
        return find_setups(run for run in self.runs() if run.attempts)

    def setup(self, key: str) -> Setup:
        """One set-up, the first one for an empty key; raises ``LabError`` that lists those there are."""
        known = {setup.key: setup for setup in self.setups()}
        if not known:
            raise LabError("No run is stored yet. Evaluate a checkpoint first.")
        if key and key not in known:
            raise LabError(f"There is no evaluation set-up {key!r}. There are: {', '.join(known)}.")
        return known[key] if key else next(iter(known.values()))

    def analysis(self, setup: Setup, metric: str, excluded: Collection[str] = ()) -> Analysis:
        """``analyze``, kept until one of the runs changes."""
        if metric not in setup.metrics:
            raise LabError(f"No run of this set-up has {metric!r}. There are: {', '.join(setup.metrics)}.")
        key = (setup.key, metric, frozenset(excluded), tuple(_stamp(run.path) for run in setup.runs))
        with self._lock:
            found = self._analyses.pop(key, None)
        found = found or analyze(setup, metric, excluded)
        with self._lock:
            self._analyses[key] = found  # the last used is the last to go
            while len(self._analyses) > _KEPT:
                self._analyses.pop(next(iter(self._analyses)))
        return found

    def _read_all(self) -> list[Run | str]:
        with self._lock:
            folders = [folder for folder in list_runs(self._settings) if folder.exists()]
            self._runs = {folder: self._read(folder) for folder in folders}
            return [run for _, run in self._runs.values()]

    def _read(self, folder: Path) -> tuple[_Stamp, Run | str]:
        stamp = _stamp(folder)
        if folder in self._runs and self._runs[folder][0] == stamp:
            return self._runs[folder]
        try:
            return stamp, load_run(folder)
        except LabError as error:
            return stamp, str(error)


def _stamp(folder: Path) -> _Stamp:
    """Changes whenever a file of the run does."""
    try:
        facts = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    except OSError:
        return ()  # deleted meanwhile
    return tuple((name, stat.st_mtime_ns, stat.st_size) for name, stat in facts)
