"""Signal 9 at random points: what was acknowledged before is there afterwards, and the work goes on."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import httpx

from pipeline.evaluation.store import load_run, runs_dir
from pipeline.evaluation.votes import VoteBox
from pipeline.settings import Settings
from tests.jobs_kit import ROOT
from tests.torture.findings import Findings
from tests.torture.running_app import end_jobs, new_folder, running_app

SHARES = {"vote": 100, "evaluation": 60, "fine-tune": 30, "comparison": 10}
"""How many of 200 kills each kind of work gets; those that start a model take longest."""
_VOTES = """
import itertools, sys; from pathlib import Path
from pipeline.evaluation.votes import VoteBox; from pipeline.settings import Settings
from tests.test_votes import make_vote
box = VoteBox(Settings(Path(sys.argv[1])))
for at in itertools.count(int(sys.argv[2])):
    box.add(make_vote([1, 2], task=f"t{at}")); print(at, flush=True)
"""
EVALUATE = [
    "-m", "training.evaluate", "--subset-size=baseline", "--samples=40", "--max-new-tokens=3",
    "--temperature=0", "--resume",
]  # fmt: skip
_FINETUNE = ["-m", "training.finetune", "--subset-size=16", "--prompt=regular", "--max-steps=3", "--resume"]


def kill_everything(share: float, work: Path, seed: int, findings: Findings) -> None:
    """Kill so many processes of each kind as the share of ``SHARES`` says, at least one."""
    draw = random.Random(seed)
    kinds = {"vote": _kill_votes, "evaluation": _kill_evaluation, "fine-tune": _kill_finetune}
    for kind, kill in kinds.items():
        kill(max(1, round(SHARES[kind] * share)), new_folder(work / kind), draw, findings)
    _kill_app(max(1, round(SHARES["comparison"] * share)), new_folder(work / "comparison"), draw, findings)
    end_jobs(work)


def _start(arguments: list[str], data: Path) -> subprocess.Popen[str]:
    env = {**os.environ, "RCL_DATA_DIR": str(data), "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _kill(process: subprocess.Popen[str]) -> tuple[str, str]:
    with suppress(ProcessLookupError):  # it has ended by itself
        os.killpg(process.pid, signal.SIGKILL)
    return process.communicate(timeout=60)


def _kill_votes(times: int, data: Path, draw: random.Random, findings: Findings) -> None:
    acknowledged: list[int] = []
    for _ in range(times):
        process = _start(
            ["-c", _VOTES, str(data), str(len(acknowledged) + 1_000 * findings.done["vote"])], data
        )
        assert process.stdout
        first = process.stdout.readline()
        time.sleep(draw.uniform(0, 0.3))
        rest, _ = _kill(process)
        # A number of which only a part arrived was not acknowledged to anybody.
        acknowledged += [
            int(line) for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")
        ]
        findings.did("vote")
        there = {each.task for each in VoteBox(Settings(data)).votes()}
        for number in acknowledged:
            if f"t{number}" not in there:
                findings.fault("lost record", f"vote {number}")
    findings.did("acknowledged votes", len(acknowledged))


def _kill_evaluation(times: int, data: Path, draw: random.Random, findings: Findings) -> None:
    settings, stored = Settings(data), 0
    for _ in range(times):
        process = _start(EVALUATE, data)
        deadline = time.monotonic() + 120  # the first rows are stored some seconds after the model is loaded
        while process.poll() is None and time.monotonic() < deadline and _lines(data) <= stored:
            time.sleep(0.05)
        time.sleep(draw.uniform(0, 1.5))
        before = _lines(data)
        _, said = _kill(process)
        findings.did("evaluation")
        findings.message("evaluation", said if "Traceback" in said else "")
        if (process.returncode or 0) > 0:
            findings.fault("lost record", f"the evaluation fails: {said[-300:]}")
        stored = _lines(data)
        if stored < before:
            findings.fault("lost record", f"{before - stored} lines of a run")
        if process.returncode == 0:
            for run in list(runs_dir(settings).iterdir()):
                for file in run.iterdir():
                    file.unlink()
                run.rmdir()
            stored = 0
    whole = _start(EVALUATE, data)
    _, said = whole.communicate(timeout=300)
    (folder,) = runs_dir(settings).iterdir()
    run = load_run(folder)
    if whole.returncode or not run.complete or run.unreadable:
        findings.fault("lost record", f"the evaluation does not end whole: {said[-300:]}")


def _lines(data: Path) -> int:
    return sum(file.read_bytes().count(b"\n") for file in data.glob("runs/*/items.jsonl"))


def _kill_finetune(times: int, data: Path, draw: random.Random, findings: Findings) -> None:
    for _ in range(times):
        process = _start(_FINETUNE, data)
        time.sleep(draw.uniform(4, 14))
        _, said = _kill(process)
        findings.did("fine-tune")
        findings.message("fine-tune", said if "Traceback" in said else "")
    whole = _start(_FINETUNE, data)
    out, said = whole.communicate(timeout=300)
    if whole.returncode or "checkpoint" not in out:
        findings.fault("lost record", f"the fine-tune does not end whole: {said[-300:]}")


def _kill_app(times: int, data: Path, draw: random.Random, findings: Findings) -> None:
    """Kill the app while it writes a comparison; the jobs that it had accepted are there in the next one."""
    accepted: list[str] = []
    for at in range(times):
        with running_app(data, env={"RCL_JOBS_AT_ONCE": "1"}) as app:
            for _ in range(2):
                values = [5, "regular", "smollm2-135m", 1, 1_000 * at + len(accepted), 1]
                reply = httpx.post(
                    f"{app.url}gradio_api/run/submit_finetune", json={"data": values}, timeout=60
                )
                accepted.append(reply.json()["data"][0]["id"])
            compare = [["baseline/regular"], "Write f.", "", "", "smollm2-135m", 0.0, 0.1, 400, 42]
            httpx.post(f"{app.url}gradio_api/call/compare", json={"data": compare}, timeout=60)
            time.sleep(draw.uniform(0, 3))
            app.kill()
        findings.did("comparison")
    with running_app(data) as app:
        reply = httpx.post(f"{app.url}gradio_api/run/jobs", json={"data": []}, timeout=60)
        jobs = {job["id"]: job for job in reply.json()["data"][0]}
        for job in accepted:
            if job not in jobs:
                findings.fault("lost record", f"job {job}")
            elif jobs[job]["state"] in ("queued", "running"):
                httpx.post(f"{app.url}gradio_api/run/cancel_job", json={"data": [job]}, timeout=60)
        findings.message("jobs", json.dumps([job["reason"] for job in jobs.values()]))
        time.sleep(3)
    findings.did("acknowledged jobs", len(accepted))
