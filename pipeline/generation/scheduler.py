"""The scheduler: one thread that owns a model, and runs one batch for everybody who asks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch

from pipeline.generation.line import Line, Seat, Turn
from pipeline.generation.running_batch import Row, RunningBatch
from pipeline.memory import release_freed_memory

T = TypeVar("T")
_UPDATE_SECONDS = 0.08  # how often a person's reader gets news
_LAZY_UPDATE_SECONDS = 1.0  # how often another one does
DEADLINE_SECONDS = 600.0  # of a person's rows
_FOR_PEOPLE = 12  # rows that work without a visitor leaves free: one whole comparison
_TOGETHER = 16  # beside so many times as many rows, the rows of other work wait for more to enter with
_SLICE_SECONDS = 0.1  # of other work on the model between two steps
_PACE_MEMORY = 0.8  # weight of the earlier steps in the mean duration of a step


@dataclass(eq=False)
class _Job:
    """The rows of one turn.

    Attributes:
        outside: rows that are not in the batch yet, the longest last.
        inside: rows in the batch.
        deadline: when its rows are ended.
        error: why the model failed.
    """

    seat: Seat
    rows: Sequence[Row]
    outside: list[Row]
    inside: list[Row] = field(default_factory=list)
    deadline: float = float("inf")
    error: BaseException | None = None

    @property
    def for_people(self) -> bool:
        """Whether a person waits for it."""
        return self.seat.turn.visitor is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing is left to do."""
        return self.error is not None or all(row.finish_reason for row in self.rows)

    def enter(self, row: Row) -> None:
        """Move a row into the batch."""
        self.outside.remove(row)
        self.inside.append(row)

    def cancel(self, note: str = "") -> None:
        """End its rows; those in the batch leave it at its next step."""
        self.outside.clear()
        for row in self.rows:
            if row.finish_reason is None:
                row.note, row.finish_reason = note, "cancelled"


@dataclass(eq=False)
class _Work:
    """Other work on the model, one piece at a time."""

    pieces: Iterator[Any]
    results: list[Any] = field(default_factory=list)
    done: Future[list[Any]] = field(default_factory=Future)


class Scheduler:
    """Runs rows and other work on a model, in the one thread that uses it.

    A person's rows start together, when ``line`` lets them. Work without a visitor fills the rest of the
    batch row by row, the longest first, and leaves room for one comparison. The thread lives as long as there
    is something to do. ``line.changed`` guards the jobs.
    """

    def __init__(self, batch: RunningBatch, line: Line) -> None:
        self.line = line
        self._batch = batch
        self._jobs: list[_Job] = []
        self._work: deque[_Work] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._running = False

    def stream(self, rows: Sequence[Row], turn: Turn) -> Iterator[None]:
        """Wait in line and generate; yields whenever there is news, and at the end, when each row has ended.

        News is another place in line, or new tokens; without a visitor, rows that have ended. Closing the
        iterator frees the rows.
        """
        longest = max(row.final_length for row in rows)
        steps = max(row.sampling.max_new_tokens for row in rows)
        with self.line.seat(turn, len(rows), longest, steps) as seat:
            for _ in self.line.wait(seat):
                yield
            job = _Job(seat, rows, sorted(rows, key=lambda row: row.final_length))
            try:
                self._begin(job)
                while not job.has_ended:
                    yield
                    self._wait(job)
                if job.error:
                    raise job.error
            finally:
                with self.line.changed:
                    job.cancel()
        yield

    def compute(self, pieces: Iterable[T]) -> list[T]:
        """Run other work on the model, a piece or a few between two steps; returns the pieces' results.

        Raises what a piece raises.
        """
        work = _Work(iter(pieces))
        with self.line.changed:
            self._work.append(work)
            self._wake()
        return work.done.result()

    def _begin(self, job: _Job) -> None:
        with self.line.changed:
            if not self.line.runs(job.seat):  # it left the line
                job.cancel()
                return
            if job.for_people:
                job.deadline = time.monotonic() + DEADLINE_SECONDS
            self._jobs.append(job)
            self._wake()

    def _wait(self, job: _Job) -> None:
        """Wait for news, and end the job if its reader wants to leave."""
        leaving = job.seat.turn.leaving
        with self.line.changed:
            seconds = _UPDATE_SECONDS if job.for_people else _LAZY_UPDATE_SECONDS
            self.line.changed.wait_for(lambda: job.has_ended or leaving.is_set(), seconds)
            job.seat.seen = time.monotonic()
            if leaving.is_set():
                job.cancel()

    def _wake(self) -> None:
        if not self._running:
            self._running = True
            self._thread.submit(self._run)

    @torch.inference_mode()
    def _run(self) -> None:
        """Work until nothing is left to do."""
        try:
            while self._arrange():
                self._do_work()
                self._step()
            release_freed_memory()
        except BaseException as error:  # such as too little memory: everybody who waits gets it
            self._fail(error)

    def _arrange(self) -> bool:
        """Let rows enter, and forget jobs that have ended; returns whether anything is left to do."""
        with self.line.changed:
            now = time.monotonic()
            for job in self._jobs:
                if job.seat.unread:
                    job.cancel()
                elif now > job.deadline:
                    job.cancel(f"It was ended after {DEADLINE_SECONDS / 60:.0f} minutes.")
            self._jobs = [job for job in self._jobs if not job.has_ended]
            for job in sorted(self._jobs, key=lambda job: not job.for_people):
                if entering := list(job.outside) if job.for_people else self._that_fit(job):
                    for row in entering:
                        job.enter(row)
                    job.seat.rows, job.seat.length = len(job.inside), max(r.final_length for r in job.inside)
                    self._batch.add(entering)
            self._running = bool(self._jobs or self._work)
            if not self._jobs:
                self._batch.clear()
            return self._running

    def _that_fit(self, job: _Job) -> list[Row]:
        """The longest rows outside, if nobody waits: as many as fit, and as one piece of reading takes.

        Reading a prompt takes about as long as reading several, so beside many rows a few wait for others.
        """
        rows: list[Row] = []
        for row in reversed(job.outside):
            if self.line.people_wait or self._batch.reads:
                break
            tokens = sum(len(other.prompt) for other in (*rows, row))
            fits = self.line.has_room(len(rows) + 1 + _FOR_PEOPLE, row.final_length)
            if (rows or self._batch.rows) and (tokens > self._batch.piece_tokens or not fits):
                break
            rows.append(row)
        few = len(rows) * _TOGETHER < len(self._batch.rows)
        half_a_piece = 2 * sum(len(row.prompt) for row in rows) >= self._batch.piece_tokens
        return [] if few and not half_a_piece and len(rows) < len(job.outside) else rows

    def _do_work(self) -> None:
        end = time.monotonic() + _SLICE_SECONDS
        while self._work and time.monotonic() < end:
            work = self._work.popleft()  # everybody's in turn
            try:
                work.results.append(next(work.pieces))
                self._work.append(work)
            except StopIteration:
                work.done.set_result(work.results)
            except BaseException as error:
                work.done.set_exception(error)

    def _step(self) -> None:
        """One step of the batch; those who wait get news."""
        if not self._jobs:
            return
        started = time.monotonic()
        self._batch.step()
        seconds = time.monotonic() - started
        with self.line.changed:
            pace = self.line.seconds_per_step or seconds
            self.line.seconds_per_step = _PACE_MEMORY * pace + (1 - _PACE_MEMORY) * seconds
            for job in self._jobs:
                job.inside = [row for row in job.inside if row.finish_reason is None]
                job.seat.rows = len(job.inside)
                job.seat.steps_done = max(len(row.tokens) for row in job.rows)
            self.line.start()
            self.line.changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self.line.changed:
            for job in self._jobs:
                job.error = error
            for work in self._work:
                work.done.set_exception(error)
            self._jobs, self._running = [], False
            self._work.clear()
            self._batch.clear()
            self.line.changed.notify_all()
