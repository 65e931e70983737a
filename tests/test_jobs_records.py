"""The file of the jobs: damaged, full, older and newer ones."""

from __future__ import annotations

import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.settings import Settings
from tests.hostile import hostile_job
from tests.jobs_kit import ended, local_runner
from tests.jobs_page import page_of
from training.jobs import Records, RecordsError
from training.jobs.admission import Caller
from training.jobs.records import FILE, SCHEMA
from ui.jobs.look import redraw

SET_LATER = ("created", "updated", "result")
VERSION_0_1 = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, arguments TEXT NOT NULL, command TEXT NOT NULL,
    key TEXT NOT NULL, backend TEXT NOT NULL, state TEXT NOT NULL, owner TEXT NOT NULL,
    sweep TEXT, needs TEXT, attempt INTEGER NOT NULL,
    progress REAL NOT NULL, message TEXT NOT NULL, seconds_left REAL,
    exit_code INTEGER, reason TEXT, result TEXT,
    slot TEXT, host TEXT, pid INTEGER, pid_started REAL, cancelled_at REAL,
    created REAL NOT NULL, started REAL, finished REAL, updated REAL NOT NULL, color TEXT
);
INSERT INTO jobs (id, kind, arguments, command, key, backend, state, owner, attempt, progress, message,
    created, updated, color)
VALUES ('old', 'count', '{"to": 3}', '["python"]', 'k', 'local', 'succeeded', 'ada', 1, 1.0, 'done',
    1.0, 1.0, 'blue');
"""


def test_a_list_that_another_app_is_making_is_waited_for(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        made = threading.Timer(0.5, lambda: other.execute("COMMIT"))
        made.start()
        assert Records(tmp_path).list() == []
        made.join()


def database(folder: Path) -> sqlite3.Connection:
    folder.joinpath("jobs").mkdir(exist_ok=True)
    return sqlite3.connect(folder / "jobs" / FILE, isolation_level=None)


def damage(folder: Path, how: str) -> Path:
    runner = local_runner(folder)
    for number in range(100):
        runner.submit("count", {"to": 3, "name": f"n{number}"})
    with closing(database(folder)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    file = folder / "jobs" / FILE
    content = file.read_bytes()
    if how == "no database":
        file.write_bytes(b"not a database at all" * 1000)
    elif how == "cut off":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.write_bytes(content[:4096] + b"\xff" * (len(content) - 4096))
    return file


@pytest.mark.parametrize("how", ["no database", "cut off", "overwritten"])
def test_a_damaged_file_of_jobs_is_named_with_a_remedy_and_left_as_it_is(tmp_path: Path, how: str) -> None:
    file = damage(tmp_path, how)
    content = file.read_bytes()
    with pytest.raises(RecordsError, match=f"{FILE} is damaged .*Move that file away"):
        Records(tmp_path / "jobs").list()
    assert file.read_bytes() == content
    file.rename(tmp_path / "aside")
    assert Records(tmp_path / "jobs").list() == []


def test_the_app_works_without_jobs_where_their_file_is_damaged(fresh: Settings) -> None:
    damage(fresh.data_dir, "no database")
    runner = local_runner(fresh.data_dir)
    with page_of(runner) as url:
        client = Client(url, verbose=False)
        with pytest.raises(AppError, match=f"{FILE} is damaged"):
            client.predict(api_name="/jobs")
        assert f"{FILE} is damaged" in redraw(runner, Caller(local=True), "")[0]
        (fresh.data_dir / "jobs" / FILE).rename(fresh.data_dir / "aside")
        job = client.predict(100, epochs=1, api_name="/submit_finetune")
        assert ended(runner, runner.status(job["id"])).state == "succeeded"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("this user may not mount a small disk to fill up")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_is_said_and_the_jobs_are_back_when_there_is_room(small_disk: Path) -> None:
    filler = small_disk / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(b"0" * 4096)
    records = Records(small_disk / "jobs")
    with pytest.raises(RecordsError, match="Look whether the disk is full"):
        records.list()
    filler.unlink()
    assert records.list() == []


def test_a_file_of_version_0_1_is_migrated_with_its_jobs_and_columns_it_does_not_know(tmp_path: Path) -> None:
    with closing(database(tmp_path)) as db:
        db.executescript(VERSION_0_1)
    records = Records(tmp_path / "jobs")
    [job] = records.list()
    assert (job.id, job.arguments, job.command) == ("old", {"to": 3}, ("python",))
    assert records.update(job, owner="bob")
    with closing(database(tmp_path)) as db:
        assert db.execute("SELECT owner, color FROM jobs").fetchall() == [("bob", "blue")]
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA,)


def test_a_file_of_a_newer_version_is_refused_in_words_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(database(tmp_path)) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    content = (tmp_path / "jobs" / FILE).read_bytes()
    with pytest.raises(RecordsError, match="newer version"):
        Records(tmp_path / "jobs").list()
    assert (tmp_path / "jobs" / FILE).read_bytes() == content


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("arguments", "{"),
        ("arguments", "[]"),
        ("command", "x"),
        ("progress", "far"),
        ("state", "lost"),
    ],
)
def test_one_damaged_record_is_listed_with_its_reason_beside_the_others(
    tmp_path: Path, column: str, value: Any
) -> None:
    runner = local_runner(tmp_path, at_once=1)
    damaged = runner.submit("count", {"to": 1, "name": "damaged"})
    sound = runner.submit("count", {"to": 1, "name": "sound"})
    with closing(database(tmp_path)) as db:
        db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", [value, damaged.id])
    runner.start()
    assert ended(runner, sound).state == "succeeded"
    shown = runner.status(damaged.id)
    assert "damaged" in str(shown.reason)
    assert "damaged" in redraw(runner, Caller(local=True), damaged.id)[0]
    runner.close()
    runner.delete(damaged.id)
    assert runner.list() == [runner.status(sound.id)]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("arguments", "[" * 5_000),
        ("command", "[1]"),
        ("owner", b"\xff"),
        ("sweep", b"5"),
        ("progress", float("inf")),
        ("created", float("-inf")),
    ],
)
def test_a_value_that_a_record_cannot_have_damages_that_record_alone(
    tmp_path: Path, column: str, value: Any
) -> None:
    runner = local_runner(tmp_path)
    damaged, sound = (runner.submit("count", {"to": 1, "name": name}) for name in ("damaged", "sound"))
    with closing(database(tmp_path)) as db:
        db.execute(f"UPDATE jobs SET {column} = ? WHERE id = ?", [value, damaged.id])
    found = {job.id: str(job.reason) for job in runner.list()}
    assert found[sound.id] == "None"
    assert "damaged" in found[damaged.id]


def test_bytes_that_are_no_text_hide_no_job(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    jobs = [runner.submit("count", {"to": 1, "name": name}) for name in ("one", "two")]
    with closing(database(tmp_path)) as db:
        db.execute("UPDATE jobs SET message = CAST(X'ff' AS TEXT) WHERE id = ?", [jobs[0].id])
    assert {job.id: job.message for job in runner.list()} == {jobs[0].id: "\ufffd", jobs[1].id: ""}


def test_half_a_character_in_any_text_of_a_job_is_replaced(tmp_path: Path) -> None:
    records = Records(tmp_path)
    job = replace(hostile_job("\ud83d"), state="queued", result={"\ud83d": ["\ud83d"]})
    records.add([job], 9)
    (stored,) = records.list()
    assert stored == hostile_job("\ufffd", **{name: getattr(stored, name) for name in SET_LATER})
    records.ask_to_cancel("\ud83d")
    assert records.update(stored, state="failed", reason="\ud83d")
    assert records.list(sweep="\ud83d")[0].cancelled_at
    assert records.delete("\ud83d")
    assert not records.list(sweep="\ud83d")


@pytest.mark.parametrize("change", ["DROP TABLE jobs", "ALTER TABLE jobs DROP COLUMN message"])
def test_a_file_that_lacks_a_table_or_column_is_named_as_damaged(tmp_path: Path, change: str) -> None:
    local_runner(tmp_path).submit("count", {"to": 1})
    with closing(database(tmp_path)) as db:
        db.execute(change)
    with pytest.raises(RecordsError, match=r"jobs\.sqlite is damaged .* Move that file away"):
        Records(tmp_path / "jobs").list()


def test_a_damaged_report_is_left_out_of_a_jobs_progress(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    job = runner.submit("count", {"to": 1})
    folder = tmp_path / "jobs" / job.id
    folder.mkdir(parents=True)
    lines = [
        '{"time": 1.0, "fraction": 0.5, "message": "half"}',
        '{"time": 2.0}',
        '{"fraction": "x"}',
        '{"ti',
    ]
    (folder / "progress.jsonl").write_text("\n".join(lines))
    assert [report["message"] for report in runner.progress(job.id)] == ["half"]
    assert redraw(runner, Caller(local=True), job.id)[1] == job.id
