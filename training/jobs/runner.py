"""The queue: accepts jobs, starts those that may start, and follows those that run, on any backend."""

from __future__ import annotations

import getpass
import logging
import shutil
import sqlite3
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from pipeline.command_line.signature import Verb, command, parameters, validate
from pipeline.schema import LabError, quoted
from pipeline.settings import Settings
from training.jobs import job_files as files
from training.jobs.admission import MAX_ACTIVE, check
from training.jobs.processes import Identity
from training.jobs.records import ACTIVE, Job, JobState, Records, RecordsError, work_key
from training.jobs.sweep_plan import NOTHING_MISSING, plan_sweep, settle

_log = logging.getLogger(__name__)
_TICK = 0.5  # seconds
_OF_AN_ATTEMPT = (
    "slot host pid pid_started exit_code reason result cancelled_at started finished seconds_left"
)


class JobBackend(Protocol):
    """Where jobs run."""

    name: str

    @property
    def slots(self) -> Sequence[str | None]:
        """Places that hold one job each; a None takes any number."""
        ...

    def describe(self) -> str:
        """Where jobs run, in a few words."""
        ...

    def check(self, job: Job, secrets: Mapping[str, str]) -> None:
        """Raise ``LabError`` if it cannot run this job."""
        ...

    def start(self, job: Job, secrets: Mapping[str, str]) -> bool:
        """Start a job that the caller has claimed; False if it went back into the queue for now.

        ``secrets`` go into the job's environment and nowhere else.

        Raises:
            LabError: it cannot be started, now or later.
        """
        ...

    def watch(self, job: Job) -> None:
        """Update the record of a job that was started, and stop it if somebody asked for that."""
        ...

    def reap(self) -> None:
        """Called once in every round of the queue."""
        ...


class Runner:
    """Submits, shows and cancels jobs; ``start`` makes a thread that drives the queue.

    Any number of runners, in any number of apps, may share one data folder.
    """

    def __init__(
        self, settings: Settings, records: Records, backend: JobBackend, verbs: Mapping[str, Verb]
    ) -> None:
        """``verbs`` holds the function of each kind of job."""
        self.settings = settings
        self.records = records
        self.backend = backend
        self.verbs = verbs
        self._me = Identity.of_this_process()
        self._secrets: dict[str, Mapping[str, str]] = {}
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._closing = False

    def submit(
        self,
        kind: str,
        arguments: Mapping[str, Any],
        owner: str = "",
        secrets: Mapping[str, str] | None = None,
    ) -> Job:
        """Queue a job, or return the one that already waits or runs with the same arguments.

        Args:
            kind: the verb.
            arguments: as in its signature; what is left out gets its default.
            owner: who asks.
            secrets: environment variables for the job alone. They are kept in memory until it starts and
                are written nowhere, so closing the app before that fails the job, with that reason.

        Raises:
            LabError: the arguments make no sense, or the queue is full.
        """
        job = self.prepare(kind, arguments, owner)
        jobs = [job] if kind != "sweep" else self._with_members(job)
        return self._add(jobs, secrets or {})[0]

    def verb(self, kind: str) -> Verb:
        """The function of a kind of job; raises ``LabError`` that lists the kinds there are."""
        if kind not in self.verbs:
            raise LabError(f"There is no kind of job {quoted(kind)}. There are: {', '.join(self.verbs)}.")
        return self.verbs[kind]

    def can_resume(self, kind: str) -> bool:
        """Whether jobs of this kind go on from what was done before they stopped."""
        if kind == "sweep":
            return True
        return kind in self.verbs and any(one.name == "resume" for one in parameters(self.verbs[kind]))

    def prepare(
        self, kind: str, arguments: Mapping[str, Any], owner: str = "", needs: str | None = None
    ) -> Job:
        """A checked job that is not queued yet."""
        verb = self.verb(kind)
        values = validate(verb, arguments)
        check(self.settings, kind, values, trained_before=needs is not None)
        values = {
            name: value if isinstance(value, int | float | None) else str(value)  # a path has no JSON
            for name, value in values.items()
        }
        return Job(
            id=uuid.uuid4().hex[:12],
            kind=kind,
            arguments=values,
            command=() if kind == "sweep" else tuple(command(verb, values)),
            key=work_key(kind, values),
            backend=self.backend.name,
            owner=owner or getpass.getuser(),
            needs=needs,
        )

    def _with_members(self, sweep: Job) -> list[Job]:
        """A sweep and its missing jobs; a sweep without any has succeeded."""
        members: list[Job] = []
        for step in plan_sweep(self.settings, sweep.arguments):
            needs = members[step.after].id if step.after is not None else None
            member = self.prepare(step.kind, step.arguments, sweep.owner, needs)
            members.append(replace(member, sweep=sweep.id))
        if not members:
            now = time.time()
            done = replace(sweep, state="succeeded", progress=1.0, message=NOTHING_MISSING, finished=now)
            return [done]
        return [sweep, *members]

    def _add(self, jobs: Sequence[Job], secrets: Mapping[str, str]) -> list[Job]:
        """Queue prepared jobs, all or none; see ``Records.add``."""
        secrets = {name: value for name, value in secrets.items() if value}
        held = {job.id: secrets for job in jobs if secrets and _needs_secrets(job)}
        for job in jobs:
            self.backend.check(job, held.get(job.id, {}))
        jobs = [replace(job, **self._held_here()) if job.id in held else job for job in jobs]
        self._secrets |= held  # before the jobs can be claimed
        try:
            added = self.records.add(jobs, MAX_ACTIVE)
        except OverflowError as count:
            raise LabError(
                f"With this, {count} jobs would wait or run; at most {MAX_ACTIVE} may. Cancel some, or wait."
            ) from count
        for unused in held.keys() - {job.id for job in added}:
            del self._secrets[unused]
        self._wake.set()
        return added

    def status(self, job_id: str) -> Job:
        """One job; raises ``LabError`` if there is none of that id."""
        job = self.records.get(job_id)
        if job is None:
            raise LabError(f"There is no job {quoted(job_id)}.")
        return job

    def logs(self, job_id: str) -> str:
        """The end of what the job has printed."""
        return files.tail(self.records.folder(self.status(job_id).id))

    def progress(self, job_id: str) -> list[dict[str, Any]]:
        """Every report of the job so far, for its curve."""
        return files.progress(self.records.folder(self.status(job_id).id))

    def list(self, states: Sequence[JobState] = (), sweep: str | None = None) -> list[Job]:
        """Jobs, newest first."""
        return self.records.list(states, sweep)

    def cancel(self, job_id: str) -> Job:
        """Ask a job, or all of a sweep, to stop; one that has ended does not change."""
        job = self.status(job_id)
        for one in self.list(ACTIVE, sweep=job_id) if job.kind == "sweep" else [job]:
            self.records.ask_to_cancel(one.id)
        self._wake.set()
        return self.status(job_id)

    def again(self, job_id: str, resume: bool, secrets: Mapping[str, str] | None = None) -> Job:
        """Queue a job that ended once more: from its last save, or from the beginning.

        What failed only because it needed this job is queued with it. A sweep runs what is missing.
        """
        job = self.status(job_id)
        if job.active or job.state == "succeeded":
            raise LabError(f"This job is {job.state}; there is nothing to do again.")
        if job.kind == "sweep":
            return self.submit("sweep", job.arguments, job.owner, secrets)
        arguments = dict(job.arguments)
        if self.can_resume(job.kind):
            arguments["resume"] = resume
        elif resume:
            raise LabError("This kind of job cannot resume; retry it.")
        changes = {"arguments": arguments, "command": command(self.verb(job.kind), arguments)}
        held_up = [one for one in self.list(("failed",)) if one.needs == job.id and one.exit_code is None]
        keys = {one.id: secrets or {} for one in (job, *held_up) if _needs_secrets(one)}
        for one in (job, *held_up):
            self.backend.check(one, keys.get(one.id, {}))
        self._requeue(job, keys.get(job.id, {}), **changes)
        for one in held_up:
            self._requeue(one, keys.get(one.id, {}))
        self._wake.set()
        return self.status(job_id)

    def delete(self, job_id: str) -> None:
        """Delete the record and log of a job that has ended; its results stay."""
        gone = [self.status(job_id), *self.list(sweep=job_id)]
        if not self.records.delete(job_id):
            raise LabError("This job still waits or runs. Cancel it first.")
        for job in gone:
            shutil.rmtree(self.records.folder(job.id), ignore_errors=True)

    def start(self) -> None:
        """Drive the queue from a thread of this process, until ``close``."""
        self._closing = False
        self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop driving. Running jobs go on, and are found again by the next runner."""
        self._closing = True
        self._wake.set()
        if self._thread:
            self._thread.join()

    def _run(self) -> None:
        trouble = ""
        while not self._closing:
            try:
                self.tick()
                trouble = ""
            except RecordsError as error:
                if str(error) != trouble:  # logged once, not twice a second
                    trouble = str(error)
                    _log.error("%s", error)
            except Exception:
                # One round may fail; the queue must go on.
                _log.exception("one round of the job queue failed")
            self._wake.wait(_TICK)
            self._wake.clear()

    def tick(self) -> None:
        """One round: follow the jobs that were started, then start those that may start."""
        self.backend.reap()
        jobs = self.list(ACTIVE)
        for job in jobs:
            if job.kind != "sweep" and job.backend == self.backend.name:
                self._follow(job)
        for slot in self.backend.slots:
            while claimed := self.records.claim(self.backend.name, slot, self._me):
                if not self._start(claimed) or slot is not None:
                    break
        for sweep in {job.sweep or job.id for job in jobs if job.sweep or job.kind == "sweep"}:
            settle(self.records, sweep)

    def _follow(self, job: Job) -> None:
        try:
            if job.state == "running" or job.slot:
                self.backend.watch(job)
            else:
                self._check_waiting(job)
        except Exception:
            # An error with one job must not stop the others; it is tried again in the next round.
            _log.exception("job %s", job.id)

    def _start(self, job: Job) -> bool:
        try:
            return self.backend.start(job, self._secrets.pop(job.id, {}))
        except (LabError, OSError) as error:
            self._end(job, "failed", f"It could not be started: {error}")
            return True

    def _check_waiting(self, job: Job) -> None:
        needed = self.records.get(job.needs) if job.needs else None
        if job.needs and (needed is None or not (needed.active or needed.state == "succeeded")):
            self._end(
                job, "failed", "Its fine-tune did not succeed." if needed else "Its fine-tune was deleted."
            )
        elif job.process and job.process != self._me and job.process.here and not job.process.alive:
            reason = (
                "The app that kept its key in memory, and nowhere else, was closed. Give the key and retry."
            )
            self._end(job, "failed", reason)

    def _end(self, job: Job, state: JobState, reason: str) -> None:
        self.records.update(job, state=state, reason=reason, finished=time.time())

    def _requeue(self, job: Job, secrets: Mapping[str, str], **changes: Any) -> None:
        if not changes.get("arguments", {}).get("resume"):
            (self.records.folder(job.id) / files.PROGRESS).unlink(missing_ok=True)
            changes["progress"] = 0.0
        if secrets:
            self._secrets[job.id] = secrets
            changes |= self._held_here()
        again = {"state": "queued", "attempt": job.attempt + 1, "message": "", "backend": self.backend.name}
        try:
            self.records.update(job, **{**dict.fromkeys(_OF_AN_ATTEMPT.split()), **again, **changes})
        except sqlite3.IntegrityError as error:
            raise LabError("The same work already waits or runs as another job.") from error

    def _held_here(self) -> dict[str, Any]:
        return {"host": self._me.host, "pid": self._me.pid, "pid_started": self._me.started}


def _needs_secrets(job: Job) -> bool:
    """Whether the job gets the secrets of its submission; the only secret there is is a judge's key."""
    return job.kind not in ("sweep", "finetune")
