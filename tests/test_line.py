"""The line before the model: one at a time, fair between visitors, with a place and an expected wait."""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack

import pytest

from tests.jobs_kit import until
from ui.line import Line, Turn


def order(line: Line, turns: dict[str, Turn]) -> list[str]:
    return sorted(turns, key=lambda name: line.place(turns[name]).number)


def test_visitors_take_turns_and_nobody_waits_for_all_that_another_one_asked_before() -> None:
    line, turns = Line(), {}
    with ExitStack() as stack:
        for name in ("ann 1", "ann 2", "ann 3", "bob 1", "cem 1", "bob 2"):
            turns[name] = stack.enter_context(Turn(line, name.split()[0], 10))
        assert order(line, turns) == ["ann 1", "bob 1", "cem 1", "ann 2", "bob 2", "ann 3"]


def test_only_one_turn_runs_at_a_time() -> None:
    line, inside, most = Line(), [], []

    def use(visitor: str) -> None:
        with Turn(line, visitor, 1) as turn:
            for _ in turn.wait():
                pass
            inside.append(visitor)
            most.append(len(inside))
            time.sleep(0.01)
            inside.remove(visitor)

    threads = [threading.Thread(target=use, args=(str(number % 3),)) for number in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1] * 9


def test_the_expected_wait_is_unknown_at_first_and_then_follows_the_running_turn() -> None:
    line = Line()
    with Turn(line, "ann", 100) as first, Turn(line, "bob", 100) as second:
        assert line.place(second).seconds is None
        first.started = time.monotonic() - 5
        first.steps_done = 20
        assert line.place(second).seconds == pytest.approx(20, rel=0.05)
    with Turn(line, "ann", 100), Turn(line, "bob", 50), Turn(line, "cem", 100) as third:
        wait = line.place(third)
        assert wait.number == 3
        assert wait.seconds == pytest.approx(150 * 0.25, rel=0.05)


def test_who_leaves_frees_the_place_at_once() -> None:
    line, left = Line(), threading.Event()

    def wait_in_line(turn: Turn) -> None:
        with turn:
            for _ in turn.wait():
                pass
        left.set()

    with Turn(line, "ann", 10):
        turn = Turn(line, "bob", 10)
        threading.Thread(target=wait_in_line, args=(turn,)).start()
        until(lambda: line.place().number == 3)
        turn.leaving.set()
        assert left.wait(1)
        assert line.place().number == 2


def test_a_turn_that_fails_leaves_the_line() -> None:
    line = Line()
    with pytest.raises(ValueError, match="broken"), Turn(line, "ann", 10):
        raise ValueError("broken")
    assert line.place().number == 1
