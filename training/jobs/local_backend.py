"""Jobs on this machine: one process each (``training.jobs.supervisor``), which outlives the app."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

import psutil

from pipeline.schema import LabError
from pipeline.settings import ROOT, Settings
from training.jobs import job_files as files
from training.jobs import processes
from training.jobs.arguments import judge_config
from training.jobs.gpus import visible_gpus
from training.jobs.processes import Identity
from training.jobs.records import Job, Records
from training.jobs.tracking import check_tracker

_SILENT = 120.0
"""Seconds without a sign of life after which a job of another machine or container counts as gone."""
_KEEP_OUT = ("RCL_JOBS_TOKEN",)
_GPU = "gpu "
_SUPERVISOR = "training.jobs.supervisor"


class LocalBackend:
    """Starts supervisors and finds them again; ``grace`` is how many seconds a job has to stop."""

    name = "local"

    def __init__(self, records: Records, settings: Settings, grace: float = 10.0) -> None:
        """One job for each GPU, or one if there is no GPU, unless the settings allow fewer or more."""
        self._records, self._settings = records, settings
        self._grace = grace
        self._supervisors: dict[str, subprocess.Popen[bytes]] = {}
        at_once, places = settings.jobs_at_once, [f"{_GPU}{gpu}" for gpu in visible_gpus(settings)]
        self.slots: Sequence[str] = (
            places[:at_once] if places else [f"place {i + 1}" for i in range(at_once or 1)]
        )

    def describe(self) -> str:
        """Where jobs run, in a few words."""
        many = f"{len(self.slots)} at the same time" if len(self.slots) > 1 else "one at a time"
        on = "one for each GPU" if self.slots[0].startswith(_GPU) else "on the CPU"
        return f"this machine, {many}, {on}"

    def check(self, job: Job, secrets: Mapping[str, str]) -> None:
        """Check that a judge has its key, and that a tracker is installed, before hours of work."""
        check_tracker(job.arguments.get("report_to", "none"))
        judge = judge_config(self._settings, job.arguments) if job.kind == "evaluate" else None
        if judge and judge.at_openai and not (secrets.get("OPENAI_API_KEY") or self._settings.judge_key):
            raise LabError(
                "The judge needs a key. Give it with this job, or start the app with OPENAI_API_KEY, or with "
                "OPENAI_BASE_URL for a server that needs none. A family of ours as the judge needs none: "
                "qwen2.5-coder-1.5b."
            )

    def start(self, job: Job, secrets: Mapping[str, str]) -> bool:
        """Start the supervisor of a claimed job."""
        folder = self._records.folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        environment = {name: value for name, value in os.environ.items() if name not in _KEEP_OUT}
        environment |= {**secrets, "RCL_DATA_DIR": str(self._settings.data_dir), "PYTHONUNBUFFERED": "1"}
        environment["TMPDIR"] = str(folder)  # deleted with the job
        if job.slot and job.slot.startswith(_GPU):
            environment["CUDA_VISIBLE_DEVICES"] = job.slot.removeprefix(_GPU)
        supervisor = [sys.executable, "-m", _SUPERVISOR, str(self._records.root), job.id, str(job.attempt)]
        with (folder / files.LOG).open("ab") as log:
            self._supervisors[job.id] = subprocess.Popen(
                [*supervisor, f"--grace={self._grace}"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return True

    def reap(self) -> None:
        """Reap the supervisors that ended, and end the job of one that could not start."""
        for job_id, supervisor in list(self._supervisors.items()):
            if supervisor.poll() is not None:
                del self._supervisors[job_id]
                job = self._records.get(job_id)
                if job and job.state == "running" and job.started is None and job.pid == os.getpid():
                    self._lost(
                        job, f"It could not be started: {files.tail(self._records.folder(job_id), 500)}"
                    )

    def watch(self, job: Job) -> None:
        """Follow a running job: while its supervisor lives, there is nothing to do."""
        supervisor = job.process
        if supervisor is None:
            return
        if not supervisor.here:
            if time.time() - job.updated > _SILENT:
                self._lost(
                    job, "The machine or container that ran it has given no sign of life for two minutes."
                )
        elif not _supervises(supervisor, job):
            if job.started is None:  # an app claimed it and died before it began
                self._records.update(job, state="queued", slot=None, host=None, pid=None, pid_started=None)
            else:
                self._lost(job, "Its processes were killed, or the machine was restarted.")
        elif job.cancelled_at and time.time() - job.cancelled_at > self._grace + 20:
            self._kill(job, supervisor)  # a supervisor that is stopped or hangs cannot end the job itself

    def _kill(self, job: Job, supervisor: Identity) -> None:
        if _supervises(supervisor, job):
            psutil.Process(supervisor.pid).kill()
        self._lost(job, "Cancelled.")

    def _lost(self, job: Job, reason: str) -> None:
        if job.process and job.process.here:
            processes.end(lambda: processes.members(job.mark), self._grace)
        changes = files.last_progress(self._records.folder(job.id))
        changes |= {"state": "cancelled" if job.cancelled_at else "interrupted", "seconds_left": None}
        self._records.update(job, **{**changes, "reason": reason, "finished": time.time()})


def _supervises(supervisor: Identity, job: Job) -> bool:
    """Whether the job's supervisor lives.

    Its start time tells it from another process with the same pid. If the machine's clock was set meanwhile,
    all start times have moved; then its command line identifies it.
    """
    return supervisor.alive or processes.runs(supervisor.pid, _SUPERVISOR, job.id)
