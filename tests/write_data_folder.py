"""Write a small data folder with the present code, to be kept in ``tests/data`` when a version is released.

``python -m tests.write_data_folder tests/data/v0.2`` writes a trained checkpoint, a run of the baseline, a
judged run of a job, the judge's answers, the ledger, and a dataset of one's own. Paths and the names of
machine and user are replaced.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from pipeline.data.own.prepare import Choices, prepare
from pipeline.data.own.rows import Columns
from pipeline.data.own.source import read_source
from pipeline.data.own.store import keep
from pipeline.settings import ROOT, Settings
from tests.conftest import SHARED, isolated
from tests.jobs_kit import ended
from tests.judge_server import JudgeServer, Reply
from training.jobs import open_runner
from training.sweep import VERBS

JUDGE_PORT = 8123
"""Part of the keys under which the judge's answers are kept."""
_SMALL = {"samples": 2, "temperature": 0.0, "max_new_tokens": 8}
_HOME = "/home/researcher"
_LEFT_OUT = ("models", "datasets", "scratch", "lock", "huggingface", "matplotlib")


def main(target: Path) -> None:
    """Do the work, then copy the folder to ``target``."""
    with tempfile.TemporaryDirectory() as work:
        settings = isolated(Settings(data_dir=SHARED / "short"), Path(work) / "data")
        os.environ |= {
            "RCL_DATA_DIR": str(settings.data_dir),
            "OPENAI_API_KEY": "sk-of-the-test-0123456789",
            "OPENAI_BASE_URL": f"http://127.0.0.1:{JUDGE_PORT}/v1",
            "RCL_JUDGE_BUDGET": "5",
            "RCL_PRICES": "judge=1/1",
        }
        _own_dataset(settings, Path(work))
        with JudgeServer(lambda request, before: Reply("No.\n[[Incorrect]]"), port=JUDGE_PORT):
            _jobs(Settings.from_env())
        shutil.copytree(settings.data_dir, target, ignore=shutil.ignore_patterns(*_LEFT_OUT), symlinks=True)
        shutil.copytree(settings.data_dir / "datasets" / "own", target / "datasets" / "own")
        _anonymize(target, settings.data_dir)


def _own_dataset(settings: Settings, work: Path) -> None:
    rows = [
        f"Return {n} times the number.,def times_{n}(x):\\n    return {n} * x,repo{n % 7}" for n in range(40)
    ]
    file = work / "times.csv"
    file.write_text("\n".join(["prompt,function,repo", *rows]), encoding="utf-8")
    table = read_source(str(file))
    keep(settings, prepare(table, "times", Choices(Columns("prompt", "function", group="repo"))))


def _jobs(settings: Settings) -> None:
    runner = open_runner(settings, VERBS)
    runner.start()
    for kind, arguments in (
        ("finetune", {"subset_size": 16, "prompt": "regular", "max_steps": 2}),
        ("evaluate", {"subset_size": "baseline", "prompt": "regular", **_SMALL}),
        (
            "evaluate",
            {
                "subset_size": "baseline",
                "prompt": "augmented",
                "judge": "naive",
                "judge_model": "judge",
                **_SMALL,
            },
        ),
    ):
        job = ended(runner, runner.submit(kind, arguments), 300)
        assert job.state == "succeeded", runner.logs(job.id)
    runner.close()


def _anonymize(folder: Path, data_dir: Path) -> None:
    places = {str(data_dir): f"{_HOME}/.cache/research-code-lab", str(ROOT): f"{_HOME}/lab"}
    places[sys.executable] = f"{_HOME}/lab/.venv/bin/python"
    with closing(sqlite3.connect(folder / "jobs" / "jobs.sqlite")) as base, base:
        for old, new in places.items():
            for name in ("command", "result", "message"):
                base.execute(f"UPDATE jobs SET {name} = replace({name}, ?, ?)", (old, new))
        base.execute("UPDATE jobs SET host = 'laptop', owner = 'researcher', pid = 4242")
        base.commit()
        base.execute("PRAGMA journal_mode = DELETE")
        base.execute("VACUUM")
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".txt"):
            text = file.read_text(encoding="utf-8")
            for old, new in places.items():
                text = text.replace(old, new)
            text = re.sub(r"\r.*\r", "", text)  # progress bars
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
