"""What the tests of the jobs share: a runner on a data folder of their own, an app to kill, and patience."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar

import pynvml
import pytest

from pipeline.command_line.signature import Verb
from pipeline.settings import ASSETS, Settings
from tests.verbs.count import count
from tests.verbs.evaluate import evaluate
from tests.verbs.finetune import finetune
from training.jobs import Job, Records, Runner
from training.jobs.local_backend import LocalBackend
from training.sweep import sweep

ROOT = Path(__file__).resolve().parents[1]
VERBS: dict[str, Verb] = {"count": count, "finetune": finetune, "evaluate": evaluate, "sweep": sweep}
T = TypeVar("T")


def settings_in(folder: Path, **changes: object) -> Settings:
    """Settings of an app on this data folder, with the families but no shipped checkpoints and runs."""
    assets = folder / "assets"
    if not assets.exists():
        assets.mkdir(parents=True)
        (assets / "families.toml").write_bytes((ASSETS / "families.toml").read_bytes())
    return dataclasses.replace(Settings(data_dir=folder), assets=assets, **changes)


def local_runner(
    folder: Path, at_once: int | None = 2, grace: float = 1.0, token: str | None = None
) -> Runner:
    """A runner with the tests' own verbs; it does nothing before ``start`` or ``tick``."""
    settings = settings_in(folder, jobs_at_once=at_once, jobs_token=token)
    records = Records(folder / "jobs")
    return Runner(settings, records, LocalBackend(records, settings, grace), VERBS)


def until(ready: Callable[[], T], seconds: float = 60) -> T:
    """Wait for a true answer and return it."""
    deadline = time.monotonic() + seconds
    while not (found := ready()):
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)
    return found


def ended(runner: Runner, job: Job, seconds: float = 60) -> Job:
    """The job as it is when it has ended."""
    until(lambda: not runner.status(job.id).active, seconds)
    return runner.status(job.id)


def app_process(folder: Path, to: int = 200, **arguments: object) -> subprocess.Popen[str]:
    """A process that does what the app does: it submits a job, drives the queue, and prints the job's id."""
    code = (
        "import sys, time; from pathlib import Path; from tests.jobs_kit import local_runner\n"
        f"runner = local_runner(Path({str(folder)!r})); runner.start()\n"
        f"print(runner.submit('count', {{'to': {to}, **{arguments!r}}}).id, flush=True); time.sleep(600)"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def fake_gpus(monkeypatch: pytest.MonkeyPatch, *used_gb: int) -> None:
    """Let the driver tell of GPUs with 80 GB, of which these are in use."""
    memories = [SimpleNamespace(used=used * 2**30, total=80 * 2**30) for used in used_gb]
    for name, function in {
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: len(memories),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetMemoryInfo": lambda index: memories[index],
    }.items():
        monkeypatch.setattr(pynvml, name, function)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
