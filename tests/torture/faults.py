"""What can be wrong around the app: the disk, the clock, its files, the servers that it asks."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.jobs_kit import ROOT, until
from tests.judge_server import JudgeServer, Reply, Seen
from tests.torture.findings import Findings
from tests.torture.kills import EVALUATE
from tests.torture.running_app import JUMP, RunningApp, end_jobs, new_folder, running_app

_YEAR = 366 * 86_400
_READS = {"samples": ["attention"], "checkpoints": [], "results": [], "jobs": [], "score": ["def f(): pass"]}
_COMPARE = [["baseline/regular"], "Write f.", "", "", "smollm2-135m", 0.0, 0.1, 4, 42]
_LARGE = [["baseline/regular"], "Write f.", "", "", "llama-3.1-8b", 0.0, 0.1, 4, 42]


def go_wrong(share: float, work: Path, seed: int, findings: Findings) -> None:
    """Break one thing after another, and ask the app for everything meanwhile."""
    draw = random.Random(seed)
    faults: dict[str, Callable[[Path], None]] = {
        "disk full": lambda folder: _on_a_small_disk(
            folder, findings, "dd if=/dev/zero of=$D/fill bs=4k || true"
        ),
        "folder read-only": lambda folder: _on_a_small_disk(
            folder, findings, "mount --bind $D $D; until mount -o remount,bind,ro $D; do sleep 0.1; done"
        ),
        "clock jumps ahead": lambda folder: _with_a_clock(folder, _YEAR, findings),
        "clock jumps back": lambda folder: _with_a_clock(folder, -_YEAR, findings),
        "hub, judge and engine gone": lambda folder: _servers_go_away(folder, findings),
    }
    for at in range(max(1, round(5 * share))):
        faults[f"files damaged, round {at + 1}"] = lambda folder: _damaged(folder, draw, findings)
    for name, fault in faults.items():
        folder = work / name.replace(" ", "-").replace(",", "")
        try:
            fault(folder)
            findings.did("faults around the app")
        except (RuntimeError, OSError, httpx.HTTPError) as error:
            findings.fault("no answer", f"{name}: {error}")
        end_jobs(folder)


def _ask_everything(app: RunningApp, findings: Findings, more: dict[str, list[object]] | None = None) -> None:
    """Ask over direct calls; each is answered, or refused in words."""
    findings.answer("page", httpx.get(app.url, timeout=60).status_code)
    calls = {**_READS, "compare": _COMPARE, **(more or {})}
    for name, values in calls.items():
        reply = httpx.post(f"{app.url}gradio_api/run/{name}", json={"data": values}, timeout=120)
        findings.reply(name, reply)
    event = httpx.post(f"{app.url}gradio_api/call/compare", json={"data": calls["compare"]}, timeout=60)
    whole = httpx.get(f"{app.url}gradio_api/call/compare/{event.json()['event_id']}", timeout=120).text
    findings.message("compare", whole[-2_000:] if "event: error" in whole else "")


def _on_a_small_disk(folder: Path, findings: Findings, then: str) -> None:
    """The data folder on a file system of 2 MB of its own, on which something happens after the start."""
    new_folder(folder / "linked")
    data = folder / "data"
    data.mkdir()
    go, done = folder / "go", folder / "done"
    before = (
        f'D="{data}"; mount -t tmpfs -o size=2m tmpfs $D; cp -a "{folder}/linked/." $D\n'
        f'(until [ -e "{go}" ]; do sleep 0.1; done; {then}; touch "{done}") 2>/dev/null &'
    )
    with running_app(data, before=before) as app:
        go.touch()
        until(done.exists)
        finetune: list[object] = [5, "regular", "smollm2-135m", 1, 42, 1]
        _ask_everything(app, findings, {"submit_finetune": finetune})


def _with_a_clock(folder: Path, jump: int, findings: Findings) -> None:
    with running_app(new_folder(folder), program=JUMP.format(after=12, by=jump)) as app:
        evaluation: list[object] = ["baseline", "regular", "smollm2-135m", 2]
        for _ in range(3):
            _ask_everything(app, findings, {"submit_evaluation": evaluation})


def _damaged(folder: Path, draw: random.Random, findings: Findings) -> None:
    """A data folder of each kept version, all of its files damaged in one way or another."""
    new_folder(folder)
    for kept in sorted((ROOT / "tests" / "data").glob("v*")):
        shutil.copytree(kept, folder, dirs_exist_ok=True)
    linked = (folder / "models", folder / "datasets")
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not file.is_symlink() and not any(each in file.parents for each in linked[:1]):
            _damage(file, draw)
            findings.did("damaged files")
    with running_app(folder) as app:
        _ask_everything(app, findings, {"datasets": []})


def _damage(file: Path, draw: random.Random) -> None:
    content = bytearray(file.read_bytes())
    kind = draw.randrange(5)
    if kind == 0:
        content = content[: draw.randrange(len(content) + 1)]
    elif kind == 1:
        content = bytearray(len(content))
    elif kind == 2:
        for _ in range(1 + len(content) // 50):
            content[draw.randrange(len(content))] = draw.randrange(256) if content else 0
    elif kind == 3:
        content = bytearray(b"[" * 5_000 + content)
    else:
        content = bytearray(b"null")
    file.write_bytes(content)


def _servers_go_away(folder: Path, findings: Findings) -> None:
    """The engine's server breaks off in a stream and is gone; the hub is not there; the judge dies midway."""

    def breaks_off(request: Seen, before: int) -> Reply:
        return Reply("some words that are cut " * 5, cut=True)

    with JudgeServer(breaks_off, models=("baseline",)) as engine:
        environment = {
            "RCL_ENGINE_URL": engine.url,
            "HF_HUB_OFFLINE": "0",
            "HF_ENDPOINT": "http://127.0.0.1:9",
        }
        with running_app(new_folder(folder / "engine"), env=environment) as app:
            _ask_everything(app, findings, {"compare": list(_LARGE)})
            engine.__exit__()
            _ask_everything(app, findings, {"compare": list(_LARGE)})
    data = new_folder(folder / "judge")
    with JudgeServer(lambda request, before: Reply("No.\n[[Incorrect]]", cut=before >= 3)) as judge:
        env = {**os.environ, "RCL_DATA_DIR": str(data), "OPENAI_BASE_URL": judge.url, "HF_HUB_OFFLINE": "1"}
        arguments = [*EVALUATE, "--judge=naive", "--judge-model=judge"]
        arguments[arguments.index("--samples=40")] = "--samples=8"
        done = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            _, said = done.communicate(timeout=60)
        except subprocess.TimeoutExpired:  # it asks again and again, for ten minutes
            done.kill()
            _, said = done.communicate()
        findings.message("judge", said)
