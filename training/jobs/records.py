"""The records of all jobs: one SQLite file in the data folder, shared by all apps that use the folder.

Each change is one transaction that names the state, attempt and process that it expects, so if two apps want
the same job, one gets it and the other does not. The file is in WAL mode, which a network file
system does not support: the data folder belongs on a local disk.
"""

from __future__ import annotations

import hashlib
import json
import math
import sqlite3
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

import tenacity

from pipeline.schema import LabError
from pipeline.sendable import sendable, sendable_text
from training.jobs.processes import Identity

JobState = Literal["queued", "running", "succeeded", "failed", "cancelled", "interrupted"]
ACTIVE: tuple[JobState, ...] = ("queued", "running")

FILE = "jobs.sqlite"
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (  # from no file, or one of version 0.1, which has the same table and no version
        """CREATE TABLE IF NOT EXISTS jobs (
            id TEXT PRIMARY KEY, kind TEXT NOT NULL, arguments TEXT NOT NULL, command TEXT NOT NULL,
            key TEXT NOT NULL, backend TEXT NOT NULL, state TEXT NOT NULL, owner TEXT NOT NULL,
            sweep TEXT, needs TEXT, attempt INTEGER NOT NULL,
            progress REAL NOT NULL, message TEXT NOT NULL, seconds_left REAL,
            exit_code INTEGER, reason TEXT, result TEXT,
            slot TEXT, host TEXT, pid INTEGER, pid_started REAL, cancelled_at REAL,
            created REAL NOT NULL, started REAL, finished REAL, updated REAL NOT NULL
        )""",
        # The same work is never queued twice, and a slot (a GPU) never holds two jobs, whoever asks.
        """CREATE UNIQUE INDEX IF NOT EXISTS one_of_a_kind ON jobs(key)
            WHERE state IN ('queued', 'running')""",
        """CREATE UNIQUE INDEX IF NOT EXISTS one_in_a_slot ON jobs(host, slot)
            WHERE state = 'running' AND slot IS NOT NULL""",
        "CREATE INDEX IF NOT EXISTS by_sweep ON jobs(sweep)",
    ),
)
"""The statements that lead from each schema version to the next; columns that they do not know are kept."""
SCHEMA = len(_MIGRATIONS)
_WAIT = 30.0  # seconds, for a file that another process writes to
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLite's error codes for a damaged file; the last one is for a missing table or column."""


class RecordsError(LabError):
    """The file with the jobs cannot be used now; the message names the file and what to do."""


@dataclass(frozen=True, slots=True)
class Job:
    """One background run of a verb, or a sweep, whose work is done by the jobs that name it.

    Attributes:
        id: also the name of its folder, see ``Records.folder``.
        kind: the verb: ``finetune``, ``evaluate``, ``sweep``.
        command: what is run; empty for a sweep.
        key: hash of the kind and arguments, the same for the same work.
        backend: ``local`` or ``ray``.
        owner: who asked for it, as far as is known.
        sweep: id of the sweep that it belongs to.
        needs: id of the job that must succeed before this one starts.
        attempt: 1, and one more with every retry or resume.
        progress: fraction from 0 to 1, with ``message`` and the estimated ``seconds_left``.
        reason: in words, why it did not succeed.
        result: what the verb printed as its result.
        slot: the GPU or place that it takes; on a cluster its name there.
        host: the machine (or container) on which ``pid``, started at ``pid_started``, answers for it.
        cancelled_at: when somebody asked to stop it.
        created: like the other times in seconds since 1970; ``updated`` is its last sign of life.
    """

    id: str
    kind: str
    arguments: Mapping[str, Any]
    command: tuple[str, ...]
    key: str
    backend: str = "local"
    state: JobState = "queued"
    owner: str = ""
    sweep: str | None = None
    needs: str | None = None
    attempt: int = 1
    progress: float = 0.0
    message: str = ""
    seconds_left: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    result: Mapping[str, Any] | None = None
    slot: str | None = None
    host: str | None = None
    pid: int | None = None
    pid_started: float | None = None
    cancelled_at: float | None = None
    created: float = field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    updated: float = field(default_factory=time.time)

    @property
    def active(self) -> bool:
        """Whether it waits or runs."""
        return self.state in ACTIVE

    @property
    def mark(self) -> str:
        """A text in the environment of this attempt's processes, and of no others."""
        return f"{self.id}-{self.attempt}"

    @property
    def process(self) -> Identity | None:
        """The process that is responsible for it, if there is one."""
        if self.pid is None or self.pid_started is None or self.host is None:
            return None
        return Identity(self.host, self.pid, self.pid_started)


_COLUMNS = tuple(column.name for column in fields(Job))
_AS_JSON = ("arguments", "command", "result")


def work_key(kind: str, arguments: Mapping[str, Any]) -> str:
    """A hash that equal work shares; whether it resumes makes no difference."""
    wanted = {name: value for name, value in sorted(arguments.items()) if name != "resume"}
    return hashlib.sha256(json.dumps([kind, wanted]).encode()).hexdigest()[:16]


class Records:
    """The jobs of one data folder. Safe to use from any thread and process."""

    def __init__(self, root: Path) -> None:
        """Opens nothing yet. Each method raises ``RecordsError`` if the file cannot be used."""
        self.root = root

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        file = self.root / FILE
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(file, timeout=_WAIT, isolation_level=None)) as db:
                db.row_factory = sqlite3.Row
                db.text_factory = _decode
                _migrate(db, file)
                yield db
        except sqlite3.IntegrityError:
            raise  # there is another job for the same work or in the same slot; the callers handle that
        except (sqlite3.Error, OSError) as error:
            raise RecordsError(_remedy(file, error)) from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._open() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                db.execute("ROLLBACK")
                raise

    def folder(self, job_id: str) -> Path:
        """The job's folder, with its ``log.txt`` and ``progress.jsonl``."""
        return self.root / job_id

    def add(self, jobs: Sequence[Job], most_active: int) -> list[Job]:
        """Queue jobs, all or none; for work that already waits or runs, the existing job is returned.

        A sweep comes before its members; if the same sweep is active, only that one is returned.

        Raises:
            OverflowError: more than ``most_active`` jobs would wait or run.
        """
        added: list[Job] = []
        same: dict[str | None, str] = {}
        with self._transaction() as db:
            for job in jobs:
                active = _select(db, "key = ? AND state IN ('queued', 'running')", [job.key])
                if active and job.kind == "sweep":
                    return active
                if not active:
                    job = replace(job, needs=same.get(job.needs, job.needs))
                    row = _as_row(asdict(job))
                    marks = ", ".join("?" * len(row))
                    db.execute(f"INSERT INTO jobs ({', '.join(row)}) VALUES ({marks})", list(row.values()))
                else:
                    same[job.id] = active[0].id
                added.append(active[0] if active else job)
            count = db.execute("SELECT count(*) FROM jobs WHERE state IN ('queued', 'running')").fetchone()[0]
            if count > most_active:
                raise OverflowError(count)
        return added

    def get(self, job_id: str) -> Job | None:
        """One job by its id."""
        with self._open() as db:
            return next(iter(_select(db, "id = ?", [job_id])), None)

    def list(self, states: Sequence[JobState] = (), sweep: str | None = None) -> list[Job]:
        """Jobs, newest first: all, or those in one of the states, or of one sweep."""
        where = "1"
        values: list[Any] = []
        if states:
            where += f" AND state IN ({', '.join('?' * len(states))})"
            values += states
        if sweep is not None:
            where += " AND sweep = ?"
            values.append(sweep)
        with self._open() as db:
            return _select(db, where, values)

    def update(self, job: Job, **changes: Any) -> bool:
        """Change columns of a job that is still as ``job`` says (state, attempt, process).

        Returns:
            Whether it was; if not, another process changed it first, and nothing is changed.
        """
        changes["updated"] = time.time()
        sets = ", ".join(f"{name} = ?" for name in changes)
        expected = "id = ? AND state = ? AND attempt = ? AND pid IS ? AND pid_started IS ?"
        values = [*_as_row(changes).values(), job.id, job.state, job.attempt, job.pid, job.pid_started]
        with self._transaction() as db:
            return db.execute(f"UPDATE jobs SET {sets} WHERE {expected}", values).rowcount == 1

    def claim(self, backend: str, slot: str | None, me: Identity) -> Job | None:
        """Take the oldest job that may start into a free slot; None if there is none, or the slot is taken.

        A job that already has a process is left to it: only that process has the key which a visitor gave.
        """
        ready = """state = 'queued' AND backend = ? AND kind != 'sweep' AND slot IS NULL
            AND (pid IS NULL OR (host = ? AND pid = ? AND pid_started = ?))
            AND (needs IS NULL OR (SELECT state FROM jobs AS o WHERE o.id = jobs.needs) = 'succeeded')"""
        values = [backend, me.host, me.pid, me.started]
        with self._open() as db:  # most of the time there is nothing to do: look without locking
            if not db.execute(f"SELECT 1 FROM jobs WHERE {ready}", values).fetchone():
                return None
        try:
            with self._transaction() as db:
                oldest_first = reversed(_select(db, ready, values))
                job = next((job for job in oldest_first if job.state == "queued"), None)  # not a damaged one
                if job is None:
                    return None
                db.execute(
                    "UPDATE jobs SET state = 'running', slot = ?, host = ?, pid = ?, pid_started = ?, "
                    "message = 'starting', updated = ? WHERE id = ?",
                    [slot, me.host, me.pid, me.started, time.time(), job.id],
                )
                return _select(db, "id = ?", [job.id])[0]
        except sqlite3.IntegrityError:
            return None

    def ask_to_cancel(self, job_id: str) -> None:
        """A queued job is cancelled at once; a running one is marked, and its supervisor stops it."""
        now = time.time()
        with self._transaction() as db:
            db.execute(
                "UPDATE jobs SET state = 'cancelled', reason = 'Cancelled before it started.', "
                "finished = ?, updated = ? WHERE id = ? AND state = 'queued' AND slot IS NULL",
                [now, now, sendable_text(job_id)],
            )
            db.execute(
                "UPDATE jobs SET cancelled_at = ? WHERE id = ? AND state IN ('queued', 'running') "
                "AND cancelled_at IS NULL",
                [now, sendable_text(job_id)],
            )

    def delete(self, job_id: str) -> bool:
        """Delete the record of a job and of a sweep's members; returns False if it still waits or runs."""
        with self._transaction() as db:
            if any(job.active for job in _select(db, "id = ? OR sweep = ?", [job_id, job_id])):
                return False
            db.execute("DELETE FROM jobs WHERE id = ? OR sweep = ?", [sendable_text(job_id)] * 2)
            return True


def _select(db: sqlite3.Connection, where: str, values: Sequence[Any]) -> list[Job]:
    query = f"SELECT {', '.join(_COLUMNS)} FROM jobs WHERE {where} ORDER BY created DESC, rowid DESC"
    return [_job(row) for row in db.execute(query, sendable(values))]


def _job(row: sqlite3.Row) -> Job:
    values = {name: row[name] for name in _COLUMNS}
    try:
        values |= {name: json.loads(values[name]) for name in _AS_JSON if values[name] is not None}
        return _checked(Job(**{**values, "command": tuple(values["command"])}))
    except (ValueError, TypeError, RecursionError) as error:
        reason = f"The record of this job in {FILE} is damaged: {error}. Delete the job."
        return Job(str(row["id"]), str(row["kind"]), {}, (), "", state="failed", reason=reason)


def _checked(job: Job) -> Job:
    texts = (job.id, job.kind, job.key, job.backend, job.owner, job.message, *job.command)
    optional_texts = (job.sweep, job.needs, job.reason, job.slot, job.host)
    numbers = (job.progress, job.created, job.updated, job.attempt)
    optional = (job.seconds_left, job.started, job.finished, job.cancelled_at, job.pid_started, job.pid)
    if not isinstance(job.arguments, dict) or not isinstance(job.result, dict | None):
        raise ValueError("arguments or result are no objects")
    if job.state not in get_args(JobState):
        raise ValueError(f"{job.state!r} is no state")
    if not all(isinstance(value, str) for value in texts) or not all(
        isinstance(value, str | None) for value in optional_texts
    ):
        raise ValueError("a text is missing")
    if not all(isinstance(value, int | float) for value in numbers):
        raise ValueError("a number is missing")
    if not all(isinstance(value, int | float | None) for value in optional):
        raise ValueError("a text stands where a number should")
    if not all(value is None or math.isfinite(value) for value in (*numbers, *optional)):
        raise ValueError("a number is not finite")
    return job


def _migrate(db: sqlite3.Connection, file: Path) -> None:
    """Bring the file to this program's schema version. A file that has that version is not changed."""
    version = _version(db)
    if version == SCHEMA:
        return
    if version > SCHEMA:
        raise RecordsError(
            f"{file} was written by a newer version of this program (schema {version}; this one knows up to "
            f"{SCHEMA}). Update the program, or choose another data folder (RCL_DATA_DIR)."
        )
    _use_wal(db)
    db.execute("BEGIN IMMEDIATE")
    for statements in _MIGRATIONS[_version(db) :]:  # another app may have done it meanwhile
        for statement in statements:
            db.execute(statement)
    db.execute(f"PRAGMA user_version = {SCHEMA}")
    db.execute("COMMIT")


@tenacity.retry(
    retry=tenacity.retry_if_exception(
        lambda error: getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
    ),
    stop=tenacity.stop_after_delay(_WAIT),
    wait=tenacity.wait_fixed(0.05),
    reraise=True,
)
def _use_wal(db: sqlite3.Connection) -> None:
    """Switch to WAL. SQLite itself does not wait here for a process that is writing."""
    db.execute("PRAGMA journal_mode = WAL")


def _version(db: sqlite3.Connection) -> int:
    version: int = db.execute("PRAGMA user_version").fetchone()[0]
    return version


def _remedy(file: Path, error: sqlite3.Error | OSError) -> str:
    if getattr(error, "sqlite_errorcode", None) in _DAMAGED:
        return (
            f"The list of jobs cannot be read, because {file} is damaged ({error}). Move that file away: "
            "then a new list begins. Checkpoints and results are not in it, and stay."
        )
    return (
        f"The list of jobs cannot be used, because {file} cannot be read and written ({error}). Look whether "
        "the disk is full or the folder is read-only; the list is back as soon as that is solved."
    )


def _as_row(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if name in _AS_JSON and value is not None else value
        for name, value in sendable(values).items()
    }


def _decode(text: bytes) -> str:
    """Decode a text. SQLite stores any bytes; one text that is not UTF-8 would fail the whole query."""
    return text.decode("utf-8", "replace")
