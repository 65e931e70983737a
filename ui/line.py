"""The line of those who wait for the model: one turn at a time, and fair between visitors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from threading import Condition, Event
from types import TracebackType

_LOOK_SECONDS = 0.5  # how often somebody who waits gets a new estimate


@dataclass(frozen=True)
class PlaceInLine:
    """The place of a turn in the line.

    Attributes:
        number: 1 for the turn that runs, 2 for the next one.
        seconds: how long it will wait, None where nothing is known yet.
    """

    number: int
    seconds: float | None


@dataclass(eq=False)
class Turn:
    """One use of the model. As a context manager it leaves the line at its end, also after an error.

    Attributes:
        steps: how many it will take at most: the limit of new tokens.
        leaving: when set, it gives up its place.
        steps_done: so far; whoever uses the model counts them.
    """

    line: Line
    visitor: str
    steps: int
    leaving: Event = field(default_factory=Event)
    steps_done: int = 0
    started: float | None = None

    def wait(self) -> Iterator[PlaceInLine]:
        """Yield its place, again and again, until the turn begins or is given up."""
        while not self.leaving.is_set() and (place := self.line.place(self)).number > 1:
            yield place
            self.line.look(_LOOK_SECONDS)

    def start(self) -> None:
        """Count the time of its steps from now: the model is loaded."""
        self.started = time.monotonic()

    def __enter__(self) -> Turn:
        self.line.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.line.remove(self)


class Line:
    """Turns in the order in which they run; the first one runs.

    Visitors take turns: of those who wait, each visitor's first comes before anyone's second.
    """

    def __init__(self) -> None:
        self._changed = Condition()
        self._turns: list[Turn] = []
        self._seconds_per_step: float | None = None

    def add(self, turn: Turn) -> None:
        """Put a turn at its place in the line."""
        with self._changed:
            own = [other.visitor for other in self._turns].count(turn.visitor)
            at = len(self._turns)
            while at > 1 and self._round(at - 1) > own:
                at -= 1
            self._turns.insert(at, turn)
            self._start_first()

    def remove(self, turn: Turn) -> None:
        """Take a turn out of the line, and learn from it how long a step takes."""
        with self._changed:
            if turn.started is not None and turn.steps_done:
                self._seconds_per_step = (time.monotonic() - turn.started) / turn.steps_done
            self._turns.remove(turn)
            self._start_first()

    def place(self, turn: Turn | None = None) -> PlaceInLine:
        """Return the place of a turn, or the last place in line, which a new turn would get."""
        with self._changed:
            ahead = self._turns[: self._turns.index(turn)] if turn else self._turns
            waits = [self._remaining(other) for other in ahead]
            known = [wait for wait in waits if wait is not None]
            return PlaceInLine(len(ahead) + 1, sum(known) if len(known) == len(waits) else None)

    def look(self, seconds: float) -> None:
        """Sleep until the line changes, or for so long."""
        with self._changed:
            self._changed.wait(seconds)

    def _start_first(self) -> None:
        if self._turns and self._turns[0].started is None:
            self._turns[0].started = time.monotonic()
        self._changed.notify_all()

    def _round(self, at: int) -> int:
        """How many turns of the same visitor are ahead of the one at this place."""
        return [other.visitor for other in self._turns[:at]].count(self._turns[at].visitor)

    def _remaining(self, turn: Turn) -> float | None:
        """Seconds that a turn still takes, if it uses all of its steps."""
        pace = self._seconds_per_step
        if turn.started is not None and turn.steps_done:
            pace = (time.monotonic() - turn.started) / turn.steps_done
        return None if pace is None else pace * max(0, turn.steps - turn.steps_done)
