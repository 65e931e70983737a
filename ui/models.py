"""The models in memory: as many families as fit. The one that was not used for longest makes room."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Lock

import psutil

from pipeline.generation import Engine
from pipeline.gpu import has_gpu
from pipeline.models.families import Family, Gguf
from pipeline.schema import Progress
from pipeline.scoring import Scorer
from ui.loading import Loading

_LOOK_SECONDS = 0.1
_SPARE_BYTES = 1.5e9  # for the keys and values of the rows, and the rest of the app
_WAITING = "Waiting for the answers of another model family, as both models do not fit into memory…"


@dataclass(frozen=True)
class Model:
    """A family's engine, and the metrics that need no key (some ask the engine itself)."""

    engine: Engine
    scorers: list[Scorer]


@dataclass(eq=False)
class _Entry:
    """A model in memory, or on its way there, and how many use it."""

    family: Family
    loading: Loading[Model]
    users: int = 0


@dataclass(eq=False)
class Use:
    """One use of a family's model, which stays in memory meanwhile."""

    models: Models
    family: Family
    entry: _Entry | None = None

    def wait(self) -> Iterator[str]:
        """Yield why it waits, several times a second, until the model is ready or has failed."""
        while not self.models.take(self):
            yield _WAITING
            time.sleep(_LOOK_SECONDS)
        assert self.entry
        yield from self.entry.loading.wait()

    def result(self) -> Model:
        """The model, when ``wait`` has ended.

        Raises:
            LabError: it cannot be loaded.
        """
        assert self.entry
        return self.entry.loading.result()


class Models:
    """Loads each family's model when it is first used.

    Args:
        load: loads a family's model.
        closing: when set, what is being loaded stops at its next step.
    """

    def __init__(self, load: Callable[[Family, Progress], Model], closing: Event) -> None:
        self._load, self._closing = load, closing
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="loading")
        self._lock = Lock()
        self._entries: dict[str, _Entry] = {}  # by family, the last used last
        self._waiting: list[Use] = []  # nobody overtakes: else a model in use would never make room

    @contextmanager
    def use(self, family: Family) -> Iterator[Use]:
        """A use of a family's model, for as long as the ``with`` block lasts."""
        use = Use(self, family)
        with self._lock:
            self._waiting.append(use)
        try:
            yield use
        finally:
            with self._lock:
                if use.entry:
                    use.entry.users -= 1
                else:
                    self._waiting.remove(use)

    def loading(self, family: Family) -> Loading[Model] | None:
        """The family's model as it stands; None if nobody has used it yet."""
        entry = self._entries.get(family.name)
        return entry.loading if entry and entry.family == family else None

    def take(self, use: Use) -> bool:
        """Give a use its model, or a model that begins to load, if it is the first in line and there is room.

        A model that failed is tried again.
        """
        with self._lock:
            if self._waiting[0] is not use:
                return False
            family = use.family
            entry = self._entries.pop(family.name, None)
            if entry is None or entry.family != family or entry.loading.state == "failed":
                entry = None
                if not self._make_room(family):
                    return False
                work = lambda report: self._load(family, report)  # noqa: E731
                entry = _Entry(family, Loading(work, self._pool, self._closing, "Loading torch"))
            self._entries[family.name] = use.entry = entry
            entry.users += 1
            self._waiting.remove(use)
            return True

    def _make_room(self, family: Family) -> bool:
        """Drop models that nobody uses until the family's fits; returns whether it does."""
        while self._entries and _free_bytes() < _needed_bytes(family):
            idle = next((name for name, entry in self._entries.items() if not entry.users), None)
            if idle is None:
                return False
            del self._entries[idle]
            _release_memory()
        return True


def _needed_bytes(family: Family) -> float:
    """What a model takes; everything where its size is not known."""
    base = family.base
    return 2 * base.converted_megabytes * 1e6 + _SPARE_BYTES if isinstance(base, Gguf) else float("inf")


def _free_bytes() -> float:
    """Free memory of the GPU, else of the machine."""
    if "torch" in sys.modules and has_gpu():
        return float(sys.modules["torch"].cuda.mem_get_info()[0])
    return float(psutil.virtual_memory().available)


def _release_memory() -> None:
    gc.collect()
    if "torch" in sys.modules and has_gpu():
        sys.modules["torch"].cuda.empty_cache()
