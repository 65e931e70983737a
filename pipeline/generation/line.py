"""The line before an engine: who runs, who waits and for how long; fair between visitors."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition, Event

LOOK_SECONDS = 0.5  # how often somebody who waits gets a new estimate
UNREAD_SECONDS = 10.0
"""A reader who has not asked for news for so long has gone: a call that nobody reads, for example."""


@dataclass(frozen=True)
class PlaceInLine:
    """The place of somebody who waits.

    Attributes:
        number: 1 for the next to start.
        seconds: how long it will wait, None where nothing is known yet.
    """

    number: int
    seconds: float | None


@dataclass(eq=False)
class Turn:
    """One use of an engine.

    Attributes:
        visitor: whose it is; None for work that no person waits for, such as an evaluation: it yields to
            people, and only whole completions of it are shown.
        leaving: set it to leave the line, or to stop.
        place: the engine's answer: the place in line, None once the turn runs.
    """

    visitor: str | None = None
    leaving: Event = field(default_factory=Event)
    place: PlaceInLine | None = None


@dataclass(eq=False)
class Seat:
    """What a turn takes of an engine.

    Attributes:
        rows: of the batch that it still needs.
        length: tokens of its longest row, prompt and completion.
        steps: at most so many tokens of each row.
        steps_done: tokens so far.
        seen: when its reader last looked.
    """

    turn: Turn
    rows: int
    length: int
    steps: int
    steps_done: int = 0
    seen: float = field(default_factory=time.monotonic)

    @property
    def unread(self) -> bool:
        """Whether a person's reader has gone."""
        return self.turn.visitor is not None and time.monotonic() - self.seen > UNREAD_SECONDS


class Line:
    """Lets turns start in a fair order while their rows fit. ``changed`` guards all of its state.

    Visitors take turns: of those who wait, each visitor's first comes before anyone's second. Nobody runs
    two turns at once, and nobody overtakes a turn that needs more room.

    Args:
        rows: that run at once.
        tokens: that run at once, each row counted as long as the longest.
    """

    def __init__(self, rows: int, tokens: float = float("inf")) -> None:
        self.changed = Condition()
        self.seconds_per_step: float | None = None
        self._rows, self._tokens = rows, tokens
        self._running: list[Seat] = []
        self._waiting: list[Seat] = []

    @contextmanager
    def seat(self, turn: Turn, rows: int, length: int, steps: int) -> Iterator[Seat]:
        """Join the line, and leave it at the end of the ``with`` block. Without a visitor, never wait."""
        seat = Seat(turn, rows, length, steps)
        with self.changed:
            if turn.visitor is None:
                seat.rows = 0  # they come one by one
                self._running.append(seat)
            else:
                self._waiting.insert(self._fair_place(seat), seat)
                self.start()
        try:
            yield seat
        finally:
            self.leave(seat)

    def wait(self, seat: Seat) -> Iterator[PlaceInLine]:
        """Yield its place, again and again, until it runs, leaves, or is dropped as unread."""
        while place := self._look(seat):
            yield place
            with self.changed:
                self.changed.wait_for(lambda: seat not in self._waiting, LOOK_SECONDS)

    def _look(self, seat: Seat) -> PlaceInLine | None:
        with self.changed:
            seat.seen = time.monotonic()
            self.start()
            waits = seat in self._waiting and not seat.turn.leaving.is_set()
            seat.turn.place = self._place(seat) if waits else None
            return seat.turn.place

    def leave(self, seat: Seat) -> None:
        """Free a seat's place, which may be free already."""
        with self.changed:
            for seats in (self._running, self._waiting):
                if seat in seats:
                    seats.remove(seat)
                    self.changed.notify_all()
            self.start()

    def start(self) -> None:
        """Start those who wait and now fit; drop seats that nobody reads. Hold ``changed``."""
        for seats in (self._running, self._waiting):
            seats[:] = [seat for seat in seats if not seat.unread]
        for seat in list(self._waiting):
            if any(other.turn.visitor == seat.turn.visitor for other in self._running):
                continue
            if not self.has_room(seat.rows, seat.length) and any(other.rows for other in self._running):
                break
            self._waiting.remove(seat)
            self._running.append(seat)
            self.changed.notify_all()

    def runs(self, seat: Seat) -> bool:
        """Whether a seat has started and has not left."""
        with self.changed:
            return seat in self._running

    def has_room(self, rows: int, length: int) -> bool:
        """Whether so many more rows fit. Hold ``changed``."""
        seats = [seat for seat in self._running if seat.rows]
        rows += sum(seat.rows for seat in seats)
        length = max([length, *(seat.length for seat in seats)])
        return rows <= self._rows and rows * length <= self._tokens

    @property
    def people_wait(self) -> bool:
        """Whether anybody waits. Hold ``changed``."""
        return bool(self._waiting)

    def place(self) -> PlaceInLine | None:
        """The place that a newcomer would get; None if it could start at once."""
        with self.changed:
            newcomer = Seat(Turn(""), rows=1, length=1, steps=0)
            if not self._waiting and self.has_room(newcomer.rows, newcomer.length):
                return None
            return self._place(newcomer)

    def _fair_place(self, seat: Seat) -> int:
        """Behind as many turns of every other visitor as its own visitor has in the line."""
        visitors = [other.turn.visitor for other in (*self._running, *self._waiting)]
        own, at = visitors.count(seat.turn.visitor), len(self._waiting)
        while at > 0 and self._round(at - 1) > own:
            at -= 1
        return at

    def _round(self, at: int) -> int:
        """How many turns of the same visitor are ahead of the one that waits at this place."""
        visitors = [seat.turn.visitor for seat in (*self._running, *self._waiting[:at])]
        return visitors.count(self._waiting[at].turn.visitor)

    def _place(self, seat: Seat) -> PlaceInLine:
        at = self._waiting.index(seat) if seat in self._waiting else len(self._waiting)
        return PlaceInLine(at + 1, self._seconds_to_start(self._waiting[:at], seat))

    def _seconds_to_start(self, ahead: list[Seat], seat: Seat) -> float | None:
        """When a seat starts, if each turn takes all of its steps, at the pace of the last ones."""
        pace = self.seconds_per_step
        if pace is None:
            return None
        ends = [((each.steps - each.steps_done) * pace, each.rows) for each in self._running if each.rows]
        heapq.heapify(ends)
        free = self._rows - sum(rows for _, rows in ends)
        now = ends[0][0] if ends else 0.0  # whoever waits, waits for an end
        for each in (*ahead, seat):
            while ends and (free < each.rows or ends[0][0] <= now):
                now, rows = heapq.heappop(ends)
                free += rows
            free -= each.rows
            heapq.heappush(ends, (now + each.steps * pace, each.rows))
        return now
