"""A data folder of every released version opens in this one; a newer one is refused and not changed.

``tests/data/v*`` are such folders; ``tests/write_data_folder.py`` writes one with the present code.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from pipeline.data.own.store import find_own, list_own, load_own
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.checkpoints import RECORD, list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import LabError
from pipeline.scoring.judge.cache import AnswerCache
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import Settings
from pipeline.spending import Ledger
from tests.made_up_runs import bare_settings
from training.jobs import Records, open_runner
from training.jobs.recipe import read_settings
from training.sweep import VERBS
from ui.results.presenter import Presenter

FOLDERS = sorted((Path(__file__).parent / "data").glob("v*"))
NEWEST = FOLDERS[-1]
JUDGE = "CodeJudge naive (judge)"
NEWER = r"newer version.*[Uu]pdate"


def opened(folder: Path, tmp_path: Path) -> Settings:
    """Settings with a copy of the folder, and without shipped runs."""
    settings = bare_settings(tmp_path)
    shutil.copytree(folder, settings.data_dir, ignore=shutil.ignore_patterns("README.md", "api.json"))
    return settings


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_data_folder_of_a_released_version_opens(folder: Path, tmp_path: Path) -> None:
    settings = opened(folder, tmp_path)
    stored = StoredRuns(settings)
    runs = {run.config.variant: run for run in stored.runs()}
    assert stored.problems() == []
    assert set(runs) == {"regular", "augmented"}
    assert all(run.complete and not run.unreadable for run in runs.values())
    presenter = Presenter(stored)
    assert presenter.show("", presenter.runs.setup("").metrics[0])["body"].visible

    runner = open_runner(settings, VERBS)
    jobs = runner.list()
    assert jobs
    assert all(job.state == "succeeded" and job.result and runner.logs(job.id) for job in jobs)

    family = get_family(settings, DEFAULT_FAMILY)
    trained = next(each for each in list_checkpoints(settings, family) if each.name == "16-regular")
    assert trained.path is not None
    assert (trained.path.is_relative_to(settings.data_dir), trained.problem) == (True, "")
    assert read_settings(trained.path / RECORD)

    # The judge is gone, so each verdict comes from the cache.
    judge = JudgeConfig("naive", "judge", "http://127.0.0.1:8123/v1")
    client = JudgeClient(judge, "", settings.data_dir / "judge-cache", timeout=1, patience=1)
    again = CodeJudge(client).score(list(runs["augmented"].attempts.values()))
    assert [score.value for (score,) in again] == [score.value for score in runs["augmented"].scores(JUDGE)]

    for record in list_own(settings):
        assert load_own(settings, record, "regular").test[0].prompt


def as_json(name: str, field: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (file,) = sorted(folder.glob(name))[:1]
        file.write_text(json.dumps({field: 99, "all": "else is new"}))

    return change


def as_sqlite(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with closing(sqlite3.connect(folder / name)) as base, base:
            (table,) = base.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchone()
            base.execute(f"ALTER TABLE {table} RENAME TO of_a_newer_version")
            base.execute("PRAGMA user_version = 99")

    return change


def read_run(settings: Settings) -> object:
    raise LabError(" ".join(StoredRuns(settings).problems()))


STORES: dict[str, tuple[Callable[[Path], None], Callable[[Settings], object]]] = {
    "a run": (as_json("runs/*/run.json", "schema"), read_run),
    "a checkpoint's record": (
        as_json("checkpoints/*/*/checkpoint.json", "schema"),
        lambda settings: read_settings(next(settings.data_dir.glob("checkpoints/*/*/checkpoint.json"))),
    ),
    "the jobs": (as_sqlite("jobs/jobs.sqlite"), lambda settings: Records(settings.data_dir / "jobs").list()),
    "the judge's answers": (
        as_sqlite("judge-cache/answers.sqlite"),
        lambda settings: AnswerCache(settings.data_dir / "judge-cache"),
    ),
    "the ledger": (as_sqlite("spending.sqlite"), lambda settings: Ledger(settings.data_dir, 1.0, None)),
    "a dataset of one's own": (
        as_json("datasets/own/*/dataset.json", "format"),
        lambda settings: find_own(settings, "times"),
    ),
}


def contents(folder: Path) -> dict[str, str]:
    files = (file for file in sorted(folder.rglob("*")) if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.parametrize("store", STORES)
def test_what_a_newer_version_wrote_is_refused_in_words_and_not_changed(store: str, tmp_path: Path) -> None:
    make_newer, read = STORES[store]
    settings = opened(NEWEST, tmp_path)
    make_newer(settings.data_dir)
    before = contents(settings.data_dir)
    with pytest.raises(LabError, match=NEWER):
        read(settings)
    assert contents(settings.data_dir) == before
