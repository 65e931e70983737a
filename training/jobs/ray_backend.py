"""Jobs on a Ray cluster, through Ray Jobs: the cluster queues them until the GPUs that they ask for are free.

The cluster's machines have this project's requirements installed; its code goes with each job. Keys do not:
what is in ``runtime_env`` can be read in Ray's dashboard, so a judge's key belongs into the environment in
which the cluster was started.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from pipeline.files import write_atomically
from pipeline.models.families import Gguf, get_family, load_families
from pipeline.schema import LabError
from pipeline.settings import ROOT, Settings
from training.jobs import job_files as files
from training.jobs import share
from training.jobs.admission import checkpoint_of
from training.jobs.records import Job, Records

_CPUS = 2
_SENT = ("pipeline", "training", "assets")
_TOO_LONG_IN_LINE = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
_WATCH_EVERY = 2.0  # seconds


class RayBackend:
    """Hands jobs to the cluster, and mirrors their logs, progress and results here."""

    name = "ray"
    slots: Sequence[None] = (None,)

    def __init__(self, records: Records, settings: Settings, sent: Sequence[str] = _SENT) -> None:
        """No connection is made before there is a job; ``sent`` names the folders that go with each."""
        self._records = records
        self._settings = settings
        self._client: Any = None
        # As in a .gitignore, where later lines take precedence.
        self._excludes = ["/*", "!.", *(f"!/{folder}" for folder in sent), "/assets/results", "__pycache__"]
        self._watched: dict[str, float] = {}

    def describe(self) -> str:
        """Where jobs run, in a few words."""
        return f"the Ray cluster at {self._settings.ray_address}"

    @property
    def _url(self) -> str:
        if not self._settings.share_url:
            raise LabError(
                "Jobs on a Ray cluster need RCL_SHARE_URL: a folder or URL (s3://…, gs://…) that this "
                "machine and the cluster both reach, through which checkpoints and results come back."
            )
        if urlsplit(self._settings.share_url).password:
            raise LabError(
                "RCL_SHARE_URL holds a password, and it is part of each job's command on the cluster. Give "
                "the password to the share's library in the environment instead, here and on the cluster."
            )
        return self._settings.share_url

    @property
    def _ray(self) -> Any:
        if self._client is None:
            self._client = _client_class()(self._settings.ray_address)
        return self._client

    def check(self, job: Job, secrets: Mapping[str, str]) -> None:
        """Check for Ray and a share, and refuse what is on this machine alone: keys of the page, own data."""
        _ = self._url, _client_class()
        family = load_families(self._settings).get(str(job.arguments.get("family")))
        if job.kind == "add_base_model" or job.arguments.get("dataset") or (family and family.own):
            raise LabError(
                "Jobs on a Ray cluster take the built-in datasets and base models: yours are on this machine "
                "alone. Run the command here, or start the app without RAY_ADDRESS."
            )
        if secrets:
            raise LabError(
                "Jobs on a Ray cluster take the judge's key from the cluster's own environment; a key from "
                "this page is not sent there. Leave it empty."
            )

    def start(self, job: Job, secrets: Mapping[str, str]) -> bool:
        """Hand a claimed job to the cluster, under a name of its id: it cannot be there twice."""
        name = job.mark
        entry = ["python", "-m", "training.jobs.ray_entrypoint", "--share", self._url]
        needs = self._needs(job)
        entry += ["--needs", needs] if needs else []
        gpus = _gpus(self._settings, job)
        try:
            self._ray.submit_job(
                submission_id=name,
                entrypoint=shlex.join([*entry, "--", "python", *job.command[1:]]),
                runtime_env={"working_dir": str(ROOT), "excludes": self._excludes},
                entrypoint_num_cpus=_CPUS,
                entrypoint_num_gpus=gpus,
                metadata={"job": job.id, "kind": job.kind},
            )
        except OSError as error:
            self._put_back(job, f"the cluster cannot be reached: {_short(error)}")
            return False
        except Exception as error:  # Ray's own errors have no common base that can be named without it
            if "already exists" not in str(error):
                raise LabError(f"The cluster refused the job: {_short(error)}") from error
        asked = f"{gpus} GPU and {_CPUS} CPUs" if gpus else f"{_CPUS} CPUs"
        there = {"state": "queued", "slot": name, "host": None, "pid": None, "pid_started": None}
        self._records.update(job, **there, message=f"waiting on the cluster for {asked}")
        return True

    def watch(self, job: Job) -> None:
        """Update a job's record from the cluster."""
        if job.process is not None:  # claimed by an app that has not handed it over, or died before it could
            if job.process.here and not job.process.alive:
                self._put_back(job, "")
            return
        if time.monotonic() - self._watched.get(job.id, -_WATCH_EVERY) < _WATCH_EVERY:
            return
        self._watched[job.id] = time.monotonic()
        try:
            self._mirror(job)
        except OSError as error:
            self._records.update(job, message=f"the cluster cannot be reached: {_short(error)}")
        except RuntimeError as error:
            if "does not exist" not in str(error):
                raise
            reason = "The cluster does not know this job any more; its head was restarted."
            self._finish(job, {"state": "cancelled" if job.cancelled_at else "interrupted", "reason": reason})

    def reap(self) -> None:
        """Do nothing: the cluster's processes do not run here."""

    def _mirror(self, job: Job) -> None:
        details = self._ray.get_job_info(job.slot)
        status = str(details.status)
        if status == "PENDING":
            if job.cancelled_at:
                # Ray stops it when its turn comes, or drops it after 15 minutes; it offers no other way.
                self._ray.stop_job(job.slot)
                self._finish(job, {"state": "cancelled", "reason": "Cancelled before it started."})
            return
        self._fetch_log(job)
        last = files.last_progress(self._records.folder(job.id))
        if status == "RUNNING":
            if job.cancelled_at:
                self._ray.stop_job(job.slot)
            began = {"started": time.time(), "message": "starting"} if job.started is None else {}
            self._records.update(job, **{"state": "running", **began, **last})
        elif status == "STOPPED":
            state = "cancelled" if job.cancelled_at else "interrupted"
            reason = "Cancelled." if job.cancelled_at else "It was stopped on the cluster."
            self._finish(job, {**last, "state": state, "reason": reason})
        elif status == "FAILED" and details.error_type == _TOO_LONG_IN_LINE:
            # Ray gives up on a job that waited 15 minutes for a GPU; an overnight sweep waits longer.
            self._records.update(job, state="queued", slot=None, attempt=job.attempt + 1)
        else:
            self._finish(job, self._outcome(job, details))

    def _outcome(self, job: Job, details: Any) -> Mapping[str, Any]:
        folder = self._records.folder(job.id)
        if details.driver_exit_code is None:  # the verb was never started
            return {"state": "failed", "reason": _short(details.message or "The cluster could not start it.")}
        ended = files.outcome(details.driver_exit_code, folder)
        shared = (ended.get("result") or {}).get("shared")
        try:
            if shared:
                share.pull(self._settings.data_dir, shared, self._url)
        except (LabError, OSError) as error:
            return {"state": "failed", "reason": f"It is done, but its results could not be fetched: {error}"}
        return ended

    def _put_back(self, job: Job, message: str) -> None:
        free = dict.fromkeys(("slot", "host", "pid", "pid_started"))
        self._records.update(job, **free, state="queued", message=message)

    def _finish(self, job: Job, changes: Mapping[str, Any]) -> None:
        self._records.update(job, **{"seconds_left": None, "finished": time.time(), **changes})
        self._watched.pop(job.id, None)

    def _fetch_log(self, job: Job) -> None:
        """Split the cluster's log into the two files that a local job writes."""
        folder = self._records.folder(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        lines = self._ray.get_job_logs(job.slot).splitlines(keepends=True)
        reports = [line for line in lines if files.is_report(line)]
        rest = [line for line in lines if not files.is_report(line)]
        for name, text in ((files.PROGRESS, reports), (files.LOG, rest)):
            write_atomically(folder / name, "".join(text))

    def _needs(self, job: Job) -> str | None:
        """The checkpoint that an evaluation evaluates, on the share; one that is only here is sent there."""
        before = self._records.get(job.needs) if job.needs else None
        if before and before.result and "shared" in before.result:
            return str(before.result["shared"])
        made_here = checkpoint_of(job.kind, job.arguments)
        if made_here and (self._settings.data_dir / made_here).is_dir():
            share.push(self._settings.data_dir, made_here, self._url)
            return made_here
        return None


def _client_class() -> Any:
    try:
        from ray.job_submission import JobSubmissionClient
    except ImportError as error:
        raise LabError("RAY_ADDRESS is set, but Ray is not installed: pip install 'ray[default]'.") from error
    return JobSubmissionClient


def _gpus(settings: Settings, job: Job) -> int:
    """One for a model that needs it; the embedded one also runs on CPUs, and needs none."""
    family = get_family(settings, str(job.arguments["family"])) if "family" in job.arguments else None
    return int(family is not None and not isinstance(family.base, Gguf))


def _short(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else "no reason was given"
