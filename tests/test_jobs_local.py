"""Jobs on this machine, with real processes: what they survive, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.schema import LabError
from tests.jobs_kit import app_process, ended, fake_gpus, local_runner, until
from training.jobs import Job, Runner, processes
from training.jobs.gpus import gpu_memory_in_use
from training.jobs.progress import Reporter


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    runner = local_runner(tmp_path)
    runner.start()
    yield runner
    for job in runner.list(("queued", "running")):
        runner.cancel(job.id)
    for job in runner.list():
        ended(runner, job)
    runner.close()


def running(runner: Runner, to: int = 500, **arguments: object) -> str:
    """A job that has counted at least to three."""
    job = runner.submit("count", {"to": to, "name": f"n{to}", **arguments})
    until(lambda: any(report["step"] >= 3 for report in runner.progress(job.id)))
    return job.id


def members(runner: Runner, job_id: str) -> list[psutil.Process]:
    return processes.members(runner.status(job_id).mark)


def test_a_job_runs_and_keeps_its_log_progress_and_result(runner: Runner) -> None:
    job = ended(runner, runner.submit("count", {"to": 5}, owner="ada"))
    assert (job.state, job.exit_code, job.progress, job.owner) == ("succeeded", 0, 1.0, "ada")
    assert job.result == {"counted": 5, "from": 0, "key": False, "gpu": None}
    assert [report["step"] for report in runner.progress(job.id)] == [1, 2, 3, 4, 5]
    assert "counted 5" in runner.logs(job.id)
    assert job.created <= (job.started or 0) <= (job.finished or 0)


@pytest.mark.skipif(not hasattr(os, "nice"), reason="the system has no niceness")
def test_a_job_yields_the_processor_to_the_app(runner: Runner) -> None:
    job_id = running(runner)
    assert {process.nice() for process in members(runner, job_id)} == {min(19, os.nice(0) + 10)}


def test_progress_is_in_the_record_while_it_runs(runner: Runner) -> None:
    job_id = running(runner, to=300)
    until(lambda: 0 < runner.status(job_id).progress < 1)
    assert runner.status(job_id).message.startswith("counted")


def test_a_failure_says_why_in_the_verbs_own_words(runner: Runner) -> None:
    job = ended(runner, runner.submit("count", {"to": 5, "fault": "error"}))
    assert (job.state, job.exit_code, job.reason) == ("failed", 1, "Three is too many.")


def test_a_crash_says_which_signal_it_was(runner: Runner) -> None:
    job = ended(runner, runner.submit("count", {"to": 5, "fault": "crash"}))
    assert (job.state, job.exit_code) == ("failed", -signal.SIGSEGV)
    assert "signal 11" in str(job.reason)


def test_the_same_form_twice_gives_one_job_until_it_has_ended(runner: Runner) -> None:
    first = runner.submit("count", {"to": 6})
    assert runner.submit("count", {"to": 6, "seconds": 0.02}).id == first.id
    assert runner.submit("count", {"to": 7}).id != first.id
    ended(runner, first)
    assert runner.submit("count", {"to": 6}).id != first.id


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "to"),
        ({"to": "many"}, "many"),
        ({"to": 3, "fault": "fire"}, "fire"),
        ({"to": 3, "help": True}, "help"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_queued(
    runner: Runner, arguments: dict[str, object], words: str
) -> None:
    with pytest.raises(LabError, match=words):
        runner.submit("count", arguments)
    assert runner.list() == []


def test_fifty_submissions_at_once_lose_nothing_and_leave_no_zombie(tmp_path: Path) -> None:
    runners = [local_runner(tmp_path, at_once=6), local_runner(tmp_path, at_once=6)]
    older = set(psutil.Process().children())  # of other tests

    def submit(i: int) -> Job:
        return runners[i % 2].submit("count", {"to": 1, "seconds": 0, "name": f"n{i // 2}"})

    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(submit, range(50)))
    assert len({job.id for job in jobs}) == len({job.key for job in jobs}) == 25
    for runner in runners:
        runner.start()
    assert {ended(runner, job, 60).state for job in jobs} == {"succeeded"}
    assert len(runner.list()) == 25
    assert all(runner.logs(job.id).count("--- attempt") == 1 for job in jobs)
    until(
        lambda: (
            psutil.STATUS_ZOMBIE not in [child.status() for child in {*psutil.Process().children()} - older]
        )
    )
    for runner in runners:
        runner.close()


def test_no_more_jobs_run_at_the_same_time_than_there_are_places(runner: Runner) -> None:
    jobs = [runner.submit("count", {"to": 10, "name": f"n{i}"}) for i in range(5)]
    most = 0
    while any(runner.status(job.id).active for job in jobs):
        most = max(most, len(runner.list(("running",))))
    assert most == 2


def test_cancel_within_a_moment_of_the_start_stops_it(runner: Runner) -> None:
    for _ in range(3):
        job = runner.submit("count", {"to": 1000})
        until(lambda job=job: runner.status(job.id).state == "running")
        runner.cancel(job.id)
        job = ended(runner, job)
        assert job.state == "cancelled"
        assert processes.members(job.mark) == []


def test_cancel_at_the_end_leaves_one_true_state(runner: Runner) -> None:
    job = runner.submit("count", {"to": 20})
    until(lambda: len(runner.progress(job.id)) >= 20)
    runner.cancel(job.id)
    job = ended(runner, job)
    assert (job.state, job.exit_code) in (("succeeded", 0), ("cancelled", -signal.SIGTERM))
    assert runner.cancel(job.id) == job


def test_cancel_kills_what_does_not_listen_and_what_it_started(runner: Runner) -> None:
    deaf = running(runner, to=700, fault="deaf")
    parent = running(runner, to=701, fault="child")
    until(lambda: len(members(runner, parent)) == 2)
    for job_id in (deaf, parent):
        runner.cancel(job_id)
        assert ended(runner, runner.status(job_id)).state == "cancelled"
        assert members(runner, job_id) == []


def test_a_queued_job_is_cancelled_without_ever_starting(runner: Runner) -> None:
    for i in range(2):
        running(runner, to=600 + i)
    waiting = runner.submit("count", {"to": 1})
    assert runner.cancel(waiting.id).state == "cancelled"
    assert runner.logs(waiting.id) == ""


def test_a_job_outlives_its_killed_app_and_the_next_app_finds_it(tmp_path: Path) -> None:
    app = app_process(tmp_path, to=100)
    assert app.stdout
    runner, job_id = local_runner(tmp_path), app.stdout.readline().strip()
    until(lambda: runner.progress(job_id))
    app.kill()
    app.wait()
    runner.start()
    at_the_kill = len(runner.progress(job_id))
    assert runner.status(job_id).state == "running"
    job = ended(runner, runner.status(job_id))
    runner.close()
    assert (job.state, job.exit_code, job.attempt) == ("succeeded", 0, 1)
    assert at_the_kill < len(runner.progress(job_id)) == 100


def test_a_job_that_ends_while_no_app_is_there_has_its_exit_code(tmp_path: Path) -> None:
    app = app_process(tmp_path, to=30, fault="error")
    assert app.stdout
    runner, job_id = local_runner(tmp_path), app.stdout.readline().strip()
    until(lambda: runner.progress(job_id))
    app.kill()
    app.wait()
    job = ended(runner, runner.status(job_id))  # this runner was never started: it only reads
    assert (job.state, job.exit_code, job.reason) == ("failed", 1, "Three is too many.")


def test_a_killed_verb_is_a_failure_and_resumes_from_its_last_save(runner: Runner) -> None:
    job_id = running(runner, to=120)
    [verb] = members(runner, job_id)
    verb.kill()
    job = ended(runner, runner.status(job_id))
    assert (job.state, job.exit_code) == ("failed", -signal.SIGKILL)
    assert "memory" in str(job.reason)
    runner.again(job_id, resume=True)
    job = ended(runner, job)
    assert (job.state, job.attempt) == ("succeeded", 2)
    assert job.result
    assert job.result["from"] >= 3


def test_a_job_whose_processes_are_all_killed_is_interrupted_and_can_resume(runner: Runner) -> None:
    job_id = running(runner, to=121)
    supervisor = runner.status(job_id).pid
    assert supervisor
    psutil.Process(supervisor).kill()  # the verb is an orphan now
    job = ended(runner, runner.status(job_id))
    assert job.state == "interrupted"
    assert "killed" in str(job.reason)
    assert members(runner, job_id) == []
    runner.again(job_id, resume=True)
    assert ended(runner, job).state == "succeeded"


def test_a_machine_that_shuts_down_interrupts_a_job(runner: Runner) -> None:
    job_id = running(runner, to=122)
    [verb] = members(runner, job_id)
    for process in (psutil.Process(runner.status(job_id).pid), verb):
        process.terminate()
    job = ended(runner, runner.status(job_id))
    assert (job.state, job.exit_code) == ("interrupted", -signal.SIGTERM)


def test_another_process_with_the_same_pid_is_neither_ours_nor_killed(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    stranger = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True
    )
    try:
        job = runner.submit("count", {"to": 3})
        me = processes.Identity.of_this_process()
        stale = {"host": me.host, "pid": stranger.pid, "pid_started": me.started - 86_400, "started": 1.0}
        runner.records.update(job, state="running", slot="place 1", **stale)
        runner.tick()
        job = runner.status(job.id)
        assert job.state == "interrupted"
        assert stranger.poll() is None
        runner.again(job.id, resume=False)
        runner.start()
        assert ended(runner, job).state == "succeeded"
        runner.close()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_running_job_is_not_given_up_when_the_machines_clock_is_set(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    job = runner.submit("count", {"to": 60})
    runner.tick()
    until(lambda: runner.progress(job.id))
    now = runner.status(job.id)
    # Start times are worked out from the wall clock, so setting it moves them all; here by an hour.
    elsewhen = replace(now, pid_started=(now.pid_started or 0) - 3600)
    runner.backend.watch(elsewhen)
    assert runner.status(job.id).state == "running"
    runner.start()
    job = ended(runner, job)
    runner.close()
    assert (job.state, job.attempt) == ("succeeded", 1)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that tells of two GPUs, of which the first is half full."""
    fake_gpus(monkeypatch, 40, 0)


@pytest.mark.usefixtures("two_gpus")
def test_each_gpu_holds_one_job_which_sees_no_other(tmp_path: Path) -> None:
    runner = local_runner(tmp_path, at_once=None)
    assert runner.backend.slots == ["gpu 0", "gpu 1"]
    jobs = [runner.submit("count", {"to": 15, "name": f"n{i}"}) for i in range(4)]
    runner.start()
    taken: set[tuple[str, ...]] = set()
    while any(runner.status(job.id).active for job in jobs):
        taken.add(tuple(sorted(str(job.slot) for job in runner.list(("running",)))))
    runner.close()
    assert ("gpu 0", "gpu 1") in taken
    assert all(len(set(slots)) == len(slots) for slots in taken)
    for job in map(runner.status, [job.id for job in jobs]):
        assert job.result
        assert job.slot == f"gpu {job.result['gpu']}"


@pytest.mark.usefixtures("two_gpus")
def test_a_gpu_whose_memory_the_comparison_holds_is_said() -> None:
    assert gpu_memory_in_use() == ["GPU 0: 40 of 80 GB in use"]


def test_a_claim_of_an_app_that_died_before_the_start_goes_back_into_the_queue(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    job = runner.submit("count", {"to": 2})
    dead = replace(processes.Identity.of_this_process(), started=1.0)
    assert runner.records.claim("local", "place 1", dead)
    runner.tick()
    assert runner.status(job.id).state in ("queued", "running")
    runner.start()
    assert ended(runner, job).state == "succeeded"
    runner.close()


def test_a_job_of_another_container_is_left_alone_until_it_has_been_silent_for_long(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    job = runner.submit("count", {"to": 3})
    elsewhere = {"host": "another-container", "pid": os.getpid(), "pid_started": 1.0, "started": 1.0}
    runner.records.update(job, state="running", slot="place 1", **elsewhere)
    runner.backend.watch(runner.status(job.id))
    assert runner.status(job.id).state == "running"
    runner.backend.watch(replace(runner.status(job.id), updated=1.0))
    assert runner.status(job.id).state == "interrupted"


def test_two_apps_on_one_data_folder_run_each_job_once(tmp_path: Path) -> None:
    apps = [app_process(tmp_path, to=20, name=f"first-{i}") for i in range(2)]
    try:
        runner = local_runner(tmp_path)  # submits, but drives nothing itself
        jobs = [runner.submit("count", {"to": 3, "name": f"n{i}"}) for i in range(8)]
        assert [ended(runner, job, 40).state for job in jobs] == ["succeeded"] * 8
        assert all(runner.logs(job.id).count("--- attempt") == 1 for job in jobs)
    finally:
        for app in apps:
            app.kill()
            app.wait()


def test_a_full_disk_fails_the_job_with_that_reason_and_it_resumes(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)], capture_output=True)
    if mount.returncode:
        pytest.skip("this user may not mount a small disk to fill up")
    runner = local_runner(disk)
    try:
        runner.start()
        filler = disk / "filler"
        filler.write_bytes(b"0" * 1_200_000)
        job = runner.submit("count", {"to": 40, "fault": "full"})
        until(lambda: runner.progress(job.id))
        with suppress(OSError), filler.open("ab", buffering=0) as out:
            while True:
                out.write(b"0" * 4096)
        until(lambda: not processes.members(job.mark))
        filler.unlink()
        job = ended(runner, job)
        assert job.state == "failed"
        assert "disk is full" in str(job.reason)
        runner.again(job.id, resume=True)
        assert ended(runner, job).state == "succeeded"
    finally:
        runner.close()
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_delete_forgets_an_ended_job_and_its_log_only(runner: Runner) -> None:
    job_id = running(runner, to=123)
    with pytest.raises(LabError, match="Cancel it first"):
        runner.delete(job_id)
    runner.cancel(job_id)
    ended(runner, runner.status(job_id))
    runner.delete(job_id)
    assert not runner.records.folder(job_id).exists()
    with pytest.raises(LabError, match="no job"):
        runner.status(job_id)


KEY = "sk-test-0123456789abcdefghij"


def test_a_key_reaches_the_job_and_nothing_that_is_written_or_listed(tmp_path: Path, runner: Runner) -> None:
    job = runner.submit("count", {"to": 50}, secrets={"OPENAI_API_KEY": KEY})
    until(lambda: processes.members(job.mark))
    lines = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert not [line for line in lines if KEY in str(line)]
    job = ended(runner, job)
    assert job.result
    assert job.result["key"] is True
    assert KEY not in repr(runner.list())
    written = [file for file in tmp_path.rglob("*") if file.is_file()]
    assert len(written) >= 3
    assert not [file for file in written if KEY.encode() in file.read_bytes()]
    assert KEY not in str(os.environ)


def test_a_job_whose_key_is_gone_with_its_app_says_so(tmp_path: Path) -> None:
    first = local_runner(tmp_path)
    job = first.submit("count", {"to": 2}, secrets={"OPENAI_API_KEY": KEY})
    first.records.update(job, pid_started=1.0)  # as if that app had been another process, now gone
    second = local_runner(tmp_path)
    second.tick()
    job = second.status(job.id)
    assert job.state == "failed"
    assert "key" in str(job.reason)
    second.start()
    second.again(job.id, resume=False, secrets={"OPENAI_API_KEY": KEY})
    job = ended(second, job)
    second.close()
    assert job.result
    assert job.result["key"] is True


def test_a_judge_without_a_key_is_refused_before_anything_is_queued(runner: Runner) -> None:
    for kind, asked in (("evaluate", {"subset_size": "baseline"}), ("sweep", {"sizes": "100"})):
        with pytest.raises(LabError, match="needs a key"):
            runner.submit(kind, {**asked, "judge": "naive"})
    assert runner.list() == []
    asked = {"subset_size": "baseline", "samples": 1, "judge": "naive"}
    assert (
        ended(runner, runner.submit("evaluate", asked, secrets={"OPENAI_API_KEY": KEY})).state == "succeeded"
    )


def test_an_even_number_of_votes_is_refused_before_anything_is_queued(runner: Runner) -> None:
    with pytest.raises(LabError, match="must be odd"):
        runner.submit("evaluate", {"subset_size": "baseline", "judge": "naive", "votes": 2})
    assert runner.list() == []


def test_progress_is_printed_with_numbers_as_the_pages_write_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RCL_PROGRESS_FILE", str(tmp_path / "progress.jsonl"))
    Reporter()(0.6, "scored 120 of 200", score=0.7051)
    assert capsys.readouterr().err == " 60% scored 120 of 200 · score .705\n"
    assert json.loads((tmp_path / "progress.jsonl").read_text())["score"] == 0.7051
