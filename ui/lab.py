"""What the tabs share: the settings, the datasets, and the models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Literal

from pipeline.evaluation.attempts import compare
from pipeline.evaluation.datasets import dataset_version, load_dataset
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.evaluation.votes import VoteBox
from pipeline.generation import check_can_run, open_engine
from pipeline.generation.line import Turn
from pipeline.memory import release_freed_memory
from pipeline.models.families import Family, Gguf, first_family, load_families
from pipeline.models.weights import is_converted, is_here
from pipeline.schema import Attempt, Column, LabError, Progress, PromptVariant, SamplingParams, Task
from pipeline.scoring import metric_of, offline_scorers
from pipeline.scoring.execution.suites.metric import executions
from pipeline.settings import Settings
from ui.labels import family_label, place_label
from ui.loading import Loading
from ui.models import Model, Models

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

_SMALL_MEGABYTES = 1_000  # a converted model that loads in seconds
ModelState = Literal["idle", "loading", "ready", "working", "failed"]


@dataclass(frozen=True)
class Stage:
    """How far a comparison is.

    Attributes:
        message: in words; empty at the end.
        attempts: as they are.
        metrics: names of the scores that the attempts get.
        waiting: whether it is still in line.
    """

    message: str
    attempts: tuple[Attempt, ...]
    metrics: tuple[str, ...] = ()
    waiting: bool = False


class Lab:
    """The settings, the stored runs, the models and the datasets. Each is loaded when it is first needed."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.stored = StoredRuns(settings)
        self.votes = VoteBox(settings)
        self._lock, self._closing = Lock(), Event()
        self.models = Models(self._load_model, self._closing)
        self._data = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._datasets: dict[tuple[str, PromptVariant, str], Loading[Dataset]] = {}

    def start(self) -> None:
        """Begin to load the dataset. A model is loaded when it is to write: stored answers need none."""
        self.dataset(first_family(self.settings), "regular")

    def close(self) -> None:
        """Stop loading at the next step, because Python waits for its threads before the app ends."""
        self._closing.set()

    def compare(
        self,
        visitor: str,
        family: Family,
        columns: Sequence[Column],
        task: Task,
        sampling: SamplingParams,
        leaving: Event | None = None,
    ) -> Iterator[Stage]:
        """Load the model, wait for a place in its batch, and let every column attempt the task.

        Args:
            visitor: who asks; visitors take turns.
            family: the columns' family.
            columns: checkpoints and prompt variants.
            task: what they attempt.
            sampling: of the generation.
            leaving: when set, the visitor leaves the line, or the generation stops.

        Raises:
            LabError: the family cannot run here, or no column can attempt the task.
        """
        check_can_run(self.settings, family)
        attempts = tuple(Attempt(task, column) for column in columns)
        turn = Turn(visitor, leaving or Event())
        with self.models.use(family) as use:
            for message in use.wait():
                yield Stage(message, attempts)
                if turn.leaving.is_set():
                    return
            model = use.result()
            scorers = [scorer for scorer in model.scorers if scorer.applies_to(task)]
            metrics = tuple(name for scorer in scorers for name in scorer.metrics)
            for step in compare(model.engine, scorers, columns, task, sampling, turn):
                if turn.place:
                    yield Stage(place_label(turn.place), attempts, waiting=True)
                    continue
                completions = [attempt.completion for attempt in step if attempt.completion]
                if completions and (not turn.leaving.is_set() or any(each.tokens for each in completions)):
                    yield Stage(progress_message(step, sampling, metrics), tuple(step), metrics)

    @contextmanager
    def use_model(self, family: Family) -> Iterator[Model]:
        """A family's model for work that generates nothing.

        Raises:
            LabError: the model cannot run here, or cannot be loaded.
        """
        check_can_run(self.settings, family)
        with self.models.use(family) as use:
            for _ in use.wait():
                pass
            yield use.result()

    def dataset(self, family: Family, variant: PromptVariant, again: bool = False) -> Loading[Dataset]:
        """The family's dataset, as its prompt variant sees it.

        Args:
            family: whose dataset.
            variant: the prompt variant.
            again: whether to try once more where that failed; what only looks on leaves it as it is.
        """
        if variant == "chat":
            variant = "regular"  # the same samples
        name = family.dataset
        key = (name, variant, self._version(name))
        with self._lock:
            known = self._datasets.get(key)
            if known is None or (again and known.state == "failed"):
                for old in [each for each in self._datasets if each[:2] == key[:2]]:
                    del self._datasets[old]
                self._datasets[key] = Loading(
                    lambda report: self._load_dataset(name, variant, report),
                    self._data,
                    self._closing,
                    "Preparing the dataset",
                )
            return self._datasets[key]

    def loaded_dataset(self, family: Family) -> Dataset | None:
        """The family's dataset if it is loaded; loads nothing."""
        wanted = (family.dataset, self._version(family.dataset))
        for (name, _, version), loading in self._datasets.copy().items():
            if (name, version) == wanted and loading.state == "ready":
                return loading.result()
        return None

    def status(self, family: Family) -> tuple[ModelState, str]:
        """The state of the family's model, and a sentence on it; loads nothing."""
        try:
            check_can_run(self.settings, family)
        except LabError as error:
            return "failed", str(error)
        loading = self.models.loading(family)
        if loading is None:
            return "idle", _not_loaded(self.settings, family)
        if loading.state == "failed":  # the comparison that it was loaded for says why
            return "failed", f"{family_label(family)} could not be loaded. Write live tries again."
        if loading.state == "loading":
            return "loading", loading.message
        engine = loading.result().engine
        if place := engine.place():
            return "working", f"The model is busy. You would be {place_label(place)}"
        return "ready", f"Ready: {engine.describe()}"

    def ready_family(self, family: Family) -> Family | None:
        """A family whose files are on this machine, where the given one would be downloaded first."""
        if not isinstance(family.base, Gguf) or is_here(self.settings, family):
            return None
        known = load_families(self.settings).values()
        return next((each for each in known if is_here(self.settings, each)), None)

    def fingerprints(self) -> dict[str, str]:
        """Of the datasets that are loaded, by name."""
        loaded = {name: data for (name, *_), data in self._datasets.copy().items() if data.state == "ready"}
        return {name: data.result().fingerprint for name, data in loaded.items()}

    def _load_model(self, family: Family, report: Progress) -> Model:
        engine = open_engine(self.settings, family, report)
        report(0.95, "Loading the metrics")
        scorers = [*offline_scorers(engine=engine), *executions(self.settings, family.dataset)]
        release_freed_memory()
        return Model(engine, scorers)

    def _version(self, name: str) -> str:
        """Of a dataset of one's own, which can be imported again while the app runs; empty for others."""
        try:
            return dataset_version(self.settings, name)
        except LabError:  # it is damaged, which loading it tells
            return ""

    def _load_dataset(self, name: str, variant: PromptVariant, report: Progress) -> Dataset:
        dataset = load_dataset(self.settings, name, variant, report)
        release_freed_memory()
        return dataset


def _not_loaded(settings: Settings, family: Family) -> str:
    base = family.base
    if isinstance(base, Gguf) and not is_here(settings, family):
        return f"Write live first downloads this model ({base.file_megabytes:,} MB, as {base.command} does)."
    said = f"{family_label(family)} loads when you press Write live"
    said += f", which takes {_loading_time(settings, family, base)}." if isinstance(base, Gguf) else "."
    return f"{said} {family.note}" if family.note else said


def _loading_time(settings: Settings, family: Family, base: Gguf) -> str:
    """What loading a model takes on two CPU cores; the first time it is converted, too."""
    is_small = base.converted_megabytes < _SMALL_MEGABYTES
    if is_converted(settings, family):
        return "about 15 s" if is_small else "about a minute"
    return f"{'about 30 s' if is_small else 'a few minutes'} the first time, as the model is prepared then"


def progress_message(attempts: Sequence[Attempt], sampling: SamplingParams, metrics: Sequence[str]) -> str:
    """``Writing 41 of 256 tokens``: how far the attempts are that are not complete; empty at the end.

    Then ``Scoring 5 of 7: bits per byte``, with the names of the metrics in the order of their computation.
    """
    rest = [attempt for attempt in attempts if not (attempt.written or attempt.error)]
    if rest:
        tokens = max(attempt.completion.tokens if attempt.completion else 0 for attempt in rest)
        return f"Writing {tokens:,} of {sampling.max_new_tokens:,} tokens" if tokens else "Reading the prompt"
    whole = [each for each in attempts if each.completion and each.completion.finish_reason != "cancelled"]
    shown = [name for name in metrics if not metric_of(name).is_repeat]
    for number, name in enumerate(shown, 1):
        if any(name not in attempt.scores for attempt in whole):
            return f"Scoring {number} of {len(shown)}: {name}"
    return ""
