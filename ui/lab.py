"""What the tabs share: the settings, and the model and data that a thread makes ready meanwhile."""

from __future__ import annotations

import gc
import logging
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Event, Lock
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from pipeline.generation import Engine, check_can_run, open_engine
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import LabError, Progress, PromptVariant
from pipeline.scoring import Scorer, offline_scorers
from pipeline.scoring.execution.scorer import executions
from pipeline.settings import Settings

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

T = TypeVar("T")
State = Literal["loading", "ready", "failed"]
_CLOSING = "The app is closing."
_log = logging.getLogger(__name__)


class Loading(Generic[T]):
    """One thing that a thread makes ready, and what there is to say about it meanwhile."""

    def __init__(
        self, work: Callable[[Progress], T], pool: ThreadPoolExecutor, closing: Event, says: str
    ) -> None:
        self._says, self._fraction, self._closing = says, 0.0, closing
        self._future = pool.submit(self._run, work)

    def _run(self, work: Callable[[Progress], T]) -> T:
        try:
            return work(self._tell)
        except LabError:
            raise
        except Exception as error:
            if self._closing.is_set():  # Python ends: threads cannot be started any more, and the like
                raise LabError(_CLOSING) from error
            _log.exception("loading failed")
            raise LabError(f"Loading failed: {error or type(error).__name__}") from error

    def _tell(self, fraction: float, message: str) -> None:
        if self._closing.is_set():
            raise LabError(_CLOSING)
        self._fraction, self._says = fraction, message

    @property
    def state(self) -> State:
        """Where it stands."""
        if not self._future.done():
            return "loading"
        return "failed" if self._future.exception() else "ready"

    @property
    def says(self) -> str:
        """Where it stands, in words; empty once it is ready."""
        if self.state == "loading":
            share = f" {self._fraction:.0%}" if 0 < self._fraction < 1 else ""
            return f"{self._says}…{share}"
        return str(self._future.exception() or "")

    def wait(self) -> Iterator[str]:
        """What there is to say, several times a second, until it is ready or has failed."""
        while self.state == "loading":
            yield self.says
            time.sleep(0.1)

    def result(self) -> T:
        """The thing itself, waited for; raises ``LabError`` where it cannot be had."""
        return self._future.result()


@dataclass(frozen=True)
class Model:
    """A family's engine, and the metrics that need no key (some ask the engine itself)."""

    engine: Engine
    scorers: list[Scorer]


class Lab:
    """The settings, one model at a time, and the datasets; nothing is loaded before it is asked for.

    Models are swapped when another family is asked for, so only callbacks that share the ``model``
    concurrency group (one at a time) may ask for one.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock, self._closing = Lock(), Event()
        self._models = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._data = ThreadPoolExecutor(1, thread_name_prefix="data")
        self._model: tuple[str, Loading[Model]] | None = None
        self._datasets: dict[tuple[str, PromptVariant], Loading[Dataset]] = {}

    def start(self) -> None:
        """Begin to load what a first comparison needs."""
        family = get_family(self.settings, DEFAULT_FAMILY)
        self.model(family)
        self.dataset(family, "regular")

    def close(self) -> None:
        """The app ends: let what is being loaded stop at its next step, as Python waits for it."""
        self._closing.set()

    def model(self, family: Family) -> Loading[Model]:
        """The family's model; takes the place of any other. One that failed is tried again.

        Raises:
            LabError: it cannot run here; the model that is loaded stays.
        """
        check_can_run(self.settings, family)
        with self._lock:
            if self._model is None or self._model[0] != family.name or self._model[1].state == "failed":
                self._model = None  # so that two base models are never in memory at once
                loading = Loading(
                    lambda tell: self._load_model(family, tell), self._models, self._closing, "Loading torch"
                )
                self._model = (family.name, loading)
            return self._model[1]

    def dataset(self, family: Family, variant: PromptVariant, again: bool = False) -> Loading[Dataset]:
        """The family's dataset, as its prompt variant sees it.

        Args:
            family: whose dataset.
            variant: the prompt variant.
            again: whether to try once more where that failed; what only looks on leaves it as it is.
        """
        key = (family.dataset, variant)
        with self._lock:
            known = self._datasets.get(key)
            if known is None or (again and known.state == "failed"):
                self._datasets[key] = Loading(
                    lambda tell: self._load_dataset(*key, tell),
                    self._data,
                    self._closing,
                    "Preparing the dataset",
                )
            return self._datasets[key]

    def status(self, family: Family) -> tuple[State, str]:
        """How the family's model stands, in words, without asking for it."""
        current = self._model
        if current is None or current[0] != family.name:
            return "ready", "The model loads when you generate"
        loading = current[1]
        if loading.state == "ready":
            return "ready", f"Ready: {loading.result().engine.describe()}"
        return loading.state, loading.says

    def fingerprints(self) -> dict[str, str]:
        """Of the datasets that are loaded, by name."""
        loaded = {name: data for (name, _), data in self._datasets.items() if data.state == "ready"}
        return {name: data.result().fingerprint for name, data in loaded.items()}

    def _load_model(self, family: Family, tell: Progress) -> Model:
        gc.collect()
        if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
            sys.modules["torch"].cuda.empty_cache()
        engine = open_engine(self.settings, family, tell)
        tell(0.95, "Loading the metrics")
        return Model(engine, [*offline_scorers(engine=engine), *executions(self.settings, family.dataset)])

    def _load_dataset(self, name: str, variant: PromptVariant, tell: Progress) -> Dataset:
        from pipeline.data.load import load_dataset

        return load_dataset(self.settings, name, variant, tell)
