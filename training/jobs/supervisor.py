"""The supervisor of one local job: runs the verb, follows its progress, and records how it ended.

It is a process of its own in a session of its own, so a job outlives the app that started it, and its
exit code is known even then. It shares only the job's record with the app: there it reads whether to stop,
and writes the verb's progress.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.settings import PROGRESS_FILE, ROOT
from training.jobs import job_files as files
from training.jobs import processes
from training.jobs.processes import Identity
from training.jobs.records import Job, Records, RecordsError

_LOOK_EVERY = 0.3  # seconds
_NICENESS = 10  # of a job: a process without it gets ten times the time
_SIGN_OF_LIFE = 10.0  # seconds
_TRY_TO_RECORD = 600.0  # seconds: with a full disk, how long to wait for room to write down the end


def main(root: Path, job_id: str, attempt: int, grace: float) -> int:
    """Supervise a claimed job until it ends; returns 0 also if another process already has it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(
            number, lambda *_: None
        )  # it must outlive the verb; a handler, unlike SIG_IGN, is not inherited
    records = Records(root)
    job = _take(records, job_id, attempt)
    if job is None:
        return 0
    folder = records.folder(job_id)
    environment = {**os.environ, processes.MARK: job.mark, PROGRESS_FILE: str(folder / files.PROGRESS)}
    print(f"--- attempt {attempt}: python {' '.join(job.command[1:])}", flush=True)
    _yield_to_people()
    verb = subprocess.Popen(job.command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL)
    cancelled = _follow(records, job, verb, grace)
    _end(verb, job, 0)  # processes that it left behind
    code = verb.wait()
    if cancelled and code != 0:
        changes: dict[str, Any] = {
            "state": "cancelled",
            "exit_code": code,
            "reason": "Cancelled.",
            "seconds_left": None,
        }
    else:
        changes = dict(files.outcome(code, folder))
    _record(records, job, {**changes, "finished": time.time()})
    return 0


def _yield_to_people() -> None:
    """Let the app's own process have most of the processor while a visitor waits for an answer."""
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    with suppress(OSError):  # Linux may share the processor between sessions first, and this is one
        Path("/proc/self/autogroup").write_text(str(_NICENESS))


def _take(records: Records, job_id: str, attempt: int) -> Job | None:
    """Register as the job's process, unless the claim was lost meanwhile."""
    job, me = records.get(job_id), Identity.of_this_process()
    if job is None or (job.state, job.attempt, job.started) != ("running", attempt, None):
        return None
    taken = records.update(job, pid=me.pid, pid_started=me.started, host=me.host, started=time.time())
    return records.get(job_id) if taken else None


def _follow(records: Records, job: Job, verb: subprocess.Popen[bytes], grace: float) -> bool:
    """Wait for the verb and pass on its progress; returns whether it was cancelled."""
    folder, written = records.folder(job.id), time.monotonic()
    reported: dict[str, Any] = {}
    while True:
        try:
            verb.wait(_LOOK_EVERY)
            return False
        except subprocess.TimeoutExpired:
            pass
        try:
            now = records.get(job.id)
            if now is None or now.process != job.process or now.cancelled_at:
                _end(verb, job, grace)
                return True
            new = files.last_progress(folder)
            if new != reported or time.monotonic() - written > _SIGN_OF_LIFE:
                records.update(job, **new)
                reported, written = new, time.monotonic()
        except RecordsError:
            continue  # most likely a full disk: the verb may go on without, and its end is recorded later


def _end(verb: subprocess.Popen[bytes], job: Job, grace: float) -> None:
    def find() -> list[psutil.Process]:
        verb.poll()  # reaps it
        return processes.members(job.mark, session=os.getsid(0))

    processes.end(find, grace)


def _record(records: Records, job: Job, changes: dict[str, Any]) -> None:
    deadline = time.monotonic() + _TRY_TO_RECORD
    while True:
        try:
            records.update(job, **changes)
            return
        except RecordsError:
            if time.monotonic() > deadline:
                raise
            time.sleep(1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("job_id")
    parser.add_argument("attempt", type=int)
    parser.add_argument("--grace", type=float, default=10.0)
    arguments = parser.parse_args()
    sys.exit(main(arguments.root, arguments.job_id, arguments.attempt, arguments.grace))
