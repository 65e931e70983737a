"""Identify processes: a pid alone is not enough, because the system uses it again."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

import psutil

MARK = "RCL_JOB"
"""Environment variable that every process of a job carries; its children inherit it."""
_CLOCK_SLACK = 2.0
"""Seconds: a start time is worked out from the time of boot, which is known to the second."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, known also after its end: the machine (or container), the pid, and the start time."""

    host: str
    pid: int
    started: float

    @classmethod
    def of_this_process(cls) -> Identity:
        """The caller's own."""
        return cls(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    @property
    def here(self) -> bool:
        """Whether it is, or was, a process of this machine, so that one can look for it."""
        return self.host == socket.gethostname()

    @property
    def alive(self) -> bool:
        """Whether this process still runs here; another one with the same pid does not count."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < _CLOCK_SLACK
            return same and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def runs(pid: int, *words: str) -> bool:
    """Whether a living process here has that pid and these words in its command line."""
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and set(words) <= set(process.cmdline())
    except psutil.Error:
        return False


def members(mark: str, session: int | None = None) -> list[psutil.Process]:
    """Living processes of a job: those with its mark, and those of ``session`` except its leader.

    The mark finds them also after the end of their supervisor, and no other process has it.
    """
    processes = []
    for process in psutil.process_iter():
        try:
            if process.pid in (os.getpid(), session) or process.status() == psutil.STATUS_ZOMBIE:
                continue
            in_session = session is not None and os.getsid(process.pid) == session
            if in_session or process.environ().get(MARK) == mark:
                processes.append(process)
        except (psutil.Error, OSError):
            continue  # gone meanwhile, or another user's
    return processes


def end(find: Callable[[], list[psutil.Process]], grace: float) -> None:
    """Ask the processes that ``find`` finds to stop, wait ``grace`` seconds, then kill what is left.

    ``find`` is called repeatedly, so that it also finds processes that were forked meanwhile, and so that the
    caller can reap its own children in it.
    """
    for process in find():
        _send(process, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while find() and time.monotonic() < deadline:
        time.sleep(0.1)
    for _ in range(200):  # a process that hangs in the kernel outlives even this
        left = find()
        if not left:
            return
        for process in left:
            _send(process, signal.SIGKILL)
        time.sleep(0.05)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)  # psutil checks that the pid is still that process's
    except psutil.NoSuchProcess:
        return
