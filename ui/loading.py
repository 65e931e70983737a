"""Something that a thread prepares, and a message on its progress."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Generic, Literal, TypeVar

from pipeline.schema import LabError, Progress, percent_done

T = TypeVar("T")
LoadState = Literal["loading", "ready", "failed"]
_CLOSING = "The app is closing."
_UNKNOWN = "the server's log says why"
_log = logging.getLogger(__name__)


class Loading(Generic[T]):
    """One thing that a thread prepares.

    Args:
        work: prepares it, and reports its progress.
        pool: runs the work.
        closing: when set, the work stops at its next report.
        message: what the page says before the first report.
    """

    def __init__(
        self, work: Callable[[Progress], T], pool: ThreadPoolExecutor, closing: Event, message: str
    ) -> None:
        self._message, self._fraction, self._closing = message, 0.0, closing
        self._future = pool.submit(self._run, work)

    def _run(self, work: Callable[[Progress], T]) -> T:
        try:
            return work(self._report)
        except BaseException as error:  # also SystemExit, which would end the thread that waits
            if isinstance(error, LabError) and str(error).strip():
                raise
            if self._closing.is_set():  # Python ends: threads cannot be started any more, and the like
                raise LabError(_CLOSING) from error
            _log.exception("loading failed")
            reason = error.strerror if isinstance(error, OSError) else None
            raise LabError(f"Loading failed: {reason or _UNKNOWN}.") from error

    def _report(self, fraction: float, message: str) -> None:
        if self._closing.is_set():
            raise LabError(_CLOSING)
        self._fraction, self._message = fraction, message

    @property
    def state(self) -> LoadState:
        """Whether it is ready."""
        if not self._future.done():
            return "loading"
        return "failed" if self._future.exception() else "ready"

    @property
    def message(self) -> str:
        """Its progress, or why it failed, in words; empty once it is ready."""
        if self.state == "loading":
            share = f" {percent_done(self._fraction)}%" if 0 < self._fraction < 1 else ""
            return f"{self._message}…{share}"
        return str(self._future.exception() or "")

    def wait(self) -> Iterator[str]:
        """Yield the message several times a second until it is ready or has failed."""
        while self.state == "loading":
            yield self.message
            time.sleep(0.1)

    def result(self) -> T:
        """Wait for the result; raises ``LabError`` if it cannot be prepared."""
        return self._future.result()
