"""The line before an engine: fair between visitors, with a place and an expected wait."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from pipeline.generation import line as module
from pipeline.generation.line import Line, Seat, Turn


def join(stack: ExitStack, line: Line, visitor: str | None, rows: int = 6, steps: int = 10) -> Seat:
    return stack.enter_context(line.seat(Turn(visitor), rows, length=100, steps=steps))


def order(line: Line, seats: dict[str, Seat]) -> list[str]:
    """Those who wait, the next to start first."""
    places = {}
    for name, seat in seats.items():
        next(line.wait(seat), None)
        if seat.turn.place:
            places[name] = seat.turn.place.number
    return sorted(places, key=lambda name: places[name])


def test_visitors_take_turns_and_nobody_waits_for_all_that_another_one_asked_before() -> None:
    line, seats = Line(rows=6), {}
    with ExitStack() as stack:
        for name in ("ann 1", "ann 2", "ann 3", "bob 1", "cem 1", "bob 2"):
            seats[name] = join(stack, line, name.split()[0])
        assert line.runs(seats["ann 1"])
        assert order(line, seats) == ["bob 1", "cem 1", "ann 2", "bob 2", "ann 3"]


def test_turns_run_together_as_long_as_their_rows_fit() -> None:
    line = Line(rows=12)
    with ExitStack() as stack:
        seats = [join(stack, line, visitor) for visitor in ("ann", "bob", "cem")]
        assert [line.runs(seat) for seat in seats] == [True, True, False]
        line.leave(seats[0])
        assert line.runs(seats[2])


def test_turns_wait_if_the_tokens_of_all_rows_do_not_fit() -> None:
    line = Line(rows=100, tokens=1000)
    with ExitStack() as stack:
        assert line.runs(join(stack, line, "ann"))
        assert not line.runs(join(stack, line, "bob"))


def test_a_turn_that_is_larger_than_the_line_runs_alone() -> None:
    line = Line(rows=4)
    with ExitStack() as stack:
        assert line.runs(join(stack, line, "ann", rows=12))
        assert not line.runs(join(stack, line, "bob", rows=1))


def test_nobody_runs_two_turns_at_once_and_others_pass_the_second() -> None:
    line = Line(rows=100)
    with ExitStack() as stack:
        join(stack, line, "ann")
        second, other = join(stack, line, "ann"), join(stack, line, "bob")
        assert not line.runs(second)
        assert line.runs(other)


def test_nobody_overtakes_a_turn_that_needs_more_room() -> None:
    line = Line(rows=12)
    with ExitStack() as stack:
        join(stack, line, "ann")
        large, small = join(stack, line, "bob", rows=12), join(stack, line, "cem", rows=1)
        assert not line.runs(large)
        assert not line.runs(small)


def test_the_expected_wait_is_unknown_at_first_and_then_follows_the_running_turns() -> None:
    line = Line(rows=6)
    with ExitStack() as stack:
        first = join(stack, line, "ann", steps=100)
        assert (place := line.place())
        assert (place.number, place.seconds) == (1, None)
        line.seconds_per_step, first.steps_done = 0.25, 20
        assert line.place().seconds == pytest.approx(20)
        join(stack, line, "bob", steps=50)
        place = line.place()
        assert place.number == 2
        assert place.seconds == pytest.approx(20 + 12.5)


def test_a_newcomer_has_no_place_if_it_could_start_at_once() -> None:
    line = Line(rows=12)
    with ExitStack() as stack:
        join(stack, line, "ann")
        assert line.place() is None
        join(stack, line, "bob")
        assert line.place()


def test_who_leaves_frees_the_place_at_once() -> None:
    line, left = Line(rows=6), threading.Event()
    turn = Turn("bob")

    def wait_in_line() -> None:
        with line.seat(turn, 6, 100, 10) as seat:
            for _ in line.wait(seat):
                pass
        left.set()

    with ExitStack() as stack:
        join(stack, line, "ann")
        threading.Thread(target=wait_in_line).start()
        while not (place := line.place()) or place.number < 2:
            time.sleep(0.01)
        turn.leaving.set()
        assert left.wait(1)
        assert line.place().number == 1


def test_a_turn_that_fails_leaves_the_line() -> None:
    line = Line(rows=6)
    with pytest.raises(ValueError, match="broken"), line.seat(Turn("ann"), 6, 100, 10):
        raise ValueError("broken")
    assert line.place() is None


def test_a_seat_that_nobody_reads_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "UNREAD_SECONDS", 0.2)
    line = Line(rows=6)
    with ExitStack() as stack:
        join(stack, line, "ann")
        second = join(stack, line, "bob")
        started = time.monotonic()
        for _ in line.wait(second):
            pass
        assert line.runs(second)
        assert 0.1 < time.monotonic() - started < 1.5


def test_work_without_a_visitor_never_waits() -> None:
    line = Line(rows=6)
    with ExitStack() as stack:
        join(stack, line, "ann")
        assert line.runs(join(stack, line, None))
