"""Background jobs: records in SQLite, a queue, and two backends, this machine and a Ray cluster.

``open_runner(settings)`` gives the one that the settings ask for.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.command_line.signature import Verb
from pipeline.settings import Settings
from training.jobs.local_backend import LocalBackend
from training.jobs.progress import duration
from training.jobs.records import ACTIVE, Job, JobState, Records, RecordsError
from training.jobs.runner import JobBackend, Runner

__all__ = ["ACTIVE", "Job", "JobState", "Records", "RecordsError", "Runner", "duration", "open_runner"]


def open_runner(settings: Settings, verbs: Mapping[str, Verb]) -> Runner:
    """The queue of this data folder, on the Ray cluster at ``RAY_ADDRESS`` if there is one, else here."""
    records = Records(settings.data_dir / "jobs")
    backend: JobBackend
    if settings.ray_address:
        from training.jobs.ray_backend import RayBackend

        backend = RayBackend(records, settings)
    else:
        backend = LocalBackend(records, settings)
    return Runner(settings, records, backend, verbs)
