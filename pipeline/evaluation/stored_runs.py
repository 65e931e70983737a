"""The stored runs in memory, and the answers that they hold to one sample. Needs no model."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from pipeline.evaluation.runs import Run, RunConfig
from pipeline.evaluation.store import list_runs, load_config, load_run
from pipeline.evaluation.texts import with_texts
from pipeline.models.checkpoints import list_checkpoints, usual_recipe
from pipeline.models.families import load_families
from pipeline.models.fingerprints import FileStates, file_states
from pipeline.schema import SIZE_NAME, Attempt, Checkpoint, Column, LabError, SamplingParams, Task
from pipeline.scoring.execution.suites.suite import DATASETS
from pipeline.settings import Settings

_Read = TypeVar("_Read")
_Kept = dict[Path, tuple[FileStates, _Read | str]]


@dataclass(frozen=True)
class StoredAnswer:
    """An attempt and the configuration of the run that it is from."""

    config: RunConfig
    attempt: Attempt


class StoredRuns:
    """The runs of one installation; can be shared between threads.

    A run is read when it is first asked for, and again only if its files have changed.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._configs: _Kept[RunConfig] = {}
        self._runs: _Kept[Run] = {}

    @property
    def is_read(self) -> bool:
        """Whether the runs are in memory: reading them all takes seconds."""
        return bool(self._runs)

    def runs(self) -> list[Run]:
        """Return all runs that can be read, each with the recipe of its checkpoint.

        Older versions did not store that. A checkpoint that is still here tells it; for any other of a name
        such as ``1000-regular`` it is the family's own.
        """
        runs = [run for run in self._read_all() if isinstance(run, Run)]
        recipes = self._recipes({run.config.family for run in runs if not run.config.recipe})
        return [_with_recipe(run, recipes) for run in runs]

    def _recipes(self, families: Collection[str]) -> dict[tuple[str, str], Mapping[str, Any]]:
        """The usual recipe by family, under an empty fingerprint, and those of its checkpoints."""
        recipes: dict[tuple[str, str], Mapping[str, Any]] = {}
        for name, family in load_families(self.settings).items():
            if name in families:
                recipes[name, ""] = usual_recipe(family)
                checkpoints = list_checkpoints(self.settings, family)
                recipes |= {(name, c.fingerprint): c.recipe for c in checkpoints if "epochs" in c.recipe}
        return recipes

    def problems(self) -> list[str]:
        """Return a sentence for each run that cannot be read, or has lines that cannot be read."""
        return [
            each if isinstance(each, str) else f"{each.path.name}: {each.unreadable}."
            for each in self._read_all()
            if isinstance(each, str) or each.unreadable
        ]

    def answers(
        self, columns: Sequence[Column], sample_id: str, sampling: SamplingParams
    ) -> dict[Column, StoredAnswer]:
        """Return the stored answers of the columns to one sample; columns without one are left out.

        All are from runs on one dataset, so that they have the same scores: the one with most of the columns,
        and among equal ones a test suite, whose answers were executed. Of a column's runs the newest counts.

        Args:
            columns: of one family.
            sample_id: the sample.
            sampling: how the answers were generated.
        """
        wanted = {column.key: column for column in columns}
        found: dict[tuple[str, str], dict[Column, StoredAnswer]] = defaultdict(dict)
        for folder, config in sorted(self._with(sample_id), key=lambda pair: pair[1].created):
            column = wanted.get(config.column)
            if column is None or config.decoding.effective != sampling.effective:
                continue
            if _wrote(config, column.checkpoint) and (attempt := self._attempt(folder, sample_id)):
                found[config.dataset, config.dataset_fingerprint][column] = StoredAnswer(config, attempt)
        if not found:
            return {}
        return found[max(found, key=lambda place: (len(found[place]), place[0] in DATASETS))]

    def task(self, family: str, sample_id: str) -> Task | None:
        """Return the task of a sample as a run of the family holds it; None if no run does."""
        for folder, config in self._with(sample_id):
            if config.family == family and (attempt := self._attempt(folder, sample_id)):
                return attempt.task
        return None

    def sample_ids(self, family: str) -> set[str]:
        """Return the ids of the samples to which runs of the family hold answers."""
        with self._lock:
            configs = [self._config(folder) for folder in self._folders(self._configs)]
        return {
            sample_id
            for config in configs
            if isinstance(config, RunConfig) and config.family == family
            for sample_id in config.sample_ids
        }

    def _with(self, sample_id: str) -> list[tuple[Path, RunConfig]]:
        """The runs that attempt a sample."""
        with self._lock:
            configs = [(folder, self._config(folder)) for folder in self._folders(self._configs)]
        return [
            (folder, config)
            for folder, config in configs
            if isinstance(config, RunConfig) and sample_id in config.sample_ids
        ]

    def _attempt(self, folder: Path, sample_id: str) -> Attempt | None:
        with self._lock:
            run = self._run(folder)
        if not isinstance(run, Run) or sample_id not in run.attempts:
            return None
        attempt = run.attempts[sample_id]
        return replace(attempt, task=with_texts(run.config.dataset, attempt.task))

    def _read_all(self) -> list[Run | str]:
        with self._lock:
            return [self._run(folder) for folder in self._folders(self._runs)]

    def _folders(self, kept: _Kept[_Read]) -> list[Path]:
        """All folders of runs; what is kept of others is dropped."""
        folders = [folder for folder in list_runs(self.settings) if folder.exists()]
        for gone in kept.keys() - set(folders):
            del kept[gone]
        return folders

    def _config(self, folder: Path) -> RunConfig | str:
        return _read(folder, self._configs, load_config)

    def _run(self, folder: Path) -> Run | str:
        return _read(folder, self._runs, load_run)


def _with_recipe(run: Run, recipes: Mapping[tuple[str, str], Mapping[str, Any]]) -> Run:
    config = run.config
    if config.recipe or config.is_baseline:
        return run
    usual = recipes.get((config.family, ""), {}) if SIZE_NAME.match(config.checkpoint) else {}
    recipe = recipes.get((config.family, config.fingerprint), usual)
    return replace(run, config=replace(config, recipe=recipe))


def _read(folder: Path, kept: _Kept[_Read], load: Callable[[Path], _Read]) -> _Read | str:
    """What ``load`` makes of a folder, or why it cannot; only read again if a file has changed."""
    stamp = stamp_of(folder)
    if folder not in kept or kept[folder][0] != stamp:
        try:
            kept[folder] = stamp, load(folder)
        except LabError as error:
            kept[folder] = stamp, str(error)
    return kept[folder][1]


def stamp_of(folder: Path) -> FileStates:
    """Return a value that changes when a file of the run changes."""
    try:
        return file_states(sorted(folder.iterdir()))
    except OSError:
        return ()  # deleted meanwhile


def _wrote(config: RunConfig, checkpoint: Checkpoint) -> bool:
    """Whether the run is of this checkpoint; one that is not on this machine is known by its name only."""
    known = checkpoint.is_baseline or checkpoint.fingerprint
    return config.family == checkpoint.family and (not known or config.fingerprint == checkpoint.fingerprint)
