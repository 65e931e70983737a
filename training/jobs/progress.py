"""Report a verb's progress: to people on stderr, and in a file for the job that runs it.

In a verb::

    report = Reporter()
    report(0.25, "step 10 of 40", step=10, loss=1.31)  # a training step
    report(0.60, "scored 120 of 200", score=0.71)  # the mean score so far
    report(1.0, "done")

``report`` is a ``pipeline.schema.Progress``, so it can be handed to the library as it is. Where the
settings name a file, each call also appends one JSON line to it:
``{"time", "fraction", "message", "seconds_left"?, "step"?, "loss"?, "score"?}`` (times in seconds).
The time left is estimated from the pace since the work began, unless ``seconds_left`` is given.
Call it every second or so, not for every token.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from pipeline.command_line.progress import ProgressBar
from pipeline.decimals import decimal
from pipeline.settings import Settings

_GETTING_READY = 0.05  # up to here a verb loads data and model, which says nothing of its pace


class Reporter:
    """Reports a verb's progress to people (stderr) and to its job (a file, if there is one).

    Attributes:
        on_loss: gets step and loss of a training, too; None if nobody asks for them.
    """

    def __init__(self) -> None:
        """Start the clock, and look for the job's file."""
        self._file = Settings.from_env().progress_file
        self._show = ProgressBar()
        self._first: tuple[float, float] | None = None
        self.on_loss: Callable[[int, float], None] | None = None

    def __call__(
        self,
        fraction: float,
        message: str,
        *,
        step: int | None = None,
        loss: float | None = None,
        score: float | None = None,
        seconds_left: float | None = None,
    ) -> None:
        """Report; ``fraction`` of the whole verb from 0 to 1, also after a resume."""
        now = time.time()
        if seconds_left is None:
            seconds_left = self._seconds_left(now, fraction)
        self._show(fraction, message, _details(fraction, loss, score, seconds_left))
        if self._file:
            line = {"time": now, "fraction": fraction, "message": message}
            extra = {"seconds_left": seconds_left, "step": step, "loss": loss, "score": score}
            line |= {name: value for name, value in extra.items() if value is not None}
            with self._file.open("a", encoding="utf-8") as out:
                out.write(json.dumps(line, ensure_ascii=False) + "\n")
        if self.on_loss and step is not None and loss is not None:
            self.on_loss(step, loss)

    def _seconds_left(self, now: float, fraction: float) -> float | None:
        if self._first is None or fraction < _GETTING_READY:
            self._first = (now, fraction)
            return None
        began, at = self._first
        done = fraction - at
        return (now - began) * (1 - fraction) / done if done > 0 else None


def duration(seconds: float) -> str:
    """``40 s``, ``12 min``, ``3 h 20 min``."""
    if seconds < 1:
        return "under 1 s"
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def _details(fraction: float, loss: float | None, score: float | None, seconds_left: float | None) -> str:
    parts = [f"loss {decimal(loss)}"] if loss is not None else []
    parts += [f"score {decimal(score)}"] if score is not None else []
    parts += [f"{duration(seconds_left)} left"] if seconds_left and fraction < 1 else []
    return " · ".join(parts)
