"""Runs of one's own are deleted, and shipped ones are not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import rcl
from pipeline.evaluation.own_runs import delete_run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.jobs_kit import local_runner
from tests.made_up_runs import CHRF, bare_settings, make_run
from ui.results import own_run
from ui.results.presenter import Presenter


def with_shipped(folder: Path, *sizes: int) -> Settings:
    """Settings of an app that comes with runs of these sizes."""
    settings = bare_settings(folder)
    for size in sizes:
        run = make_run(settings, size, samples=30)
        (settings.assets / "results").mkdir(exist_ok=True)
        run.path.rename(settings.assets / "results" / run.path.name)
    return settings


def test_a_deleted_run_is_gone_from_the_menus_and_shipped_ones_are_refused(tmp_path: Path) -> None:
    settings = with_shipped(tmp_path, 0)
    own = make_run(settings, 200, dataset="mine", samples=8)
    presenter = Presenter(StoredRuns(settings))
    mine = next(setup for setup in presenter.runs.setups() if setup.dataset == "mine")
    assert presenter.show(mine.key, CHRF)["choice"][0] == mine.key
    delete_run(settings, own.path.name)
    (left,) = presenter.runs.setups()
    assert left.dataset == "packages"
    assert presenter.show(mine.key, CHRF)["choice"][0] == left.key
    assert presenter.runs.stored.problems() == []
    for name, why in (
        (left.runs[0].path.name, "not made on this machine"),
        (own.path.name, "none of that name"),
    ):
        with pytest.raises(LabError, match=why):
            delete_run(settings, name)
    assert len(presenter.runs.stored.runs()) == 1


@pytest.mark.parametrize("name", ["", ".", "..", "../runs", "/"])
def test_no_other_folder_is_deleted(tmp_path: Path, name: str) -> None:
    settings = bare_settings(tmp_path)
    run = make_run(settings, 0, samples=8)
    with pytest.raises(LabError, match="none of that name"):
        delete_run(settings, name)
    assert run.path.exists()


def test_a_run_is_kept_while_a_job_evaluates_its_checkpoint(tmp_path: Path) -> None:
    runner = local_runner(tmp_path)
    run = make_run(runner.settings, 0, samples=8)
    own_run.require_unused(runner, run.config)
    runner.submit("evaluate", {"subset_size": "baseline", "prompt": "augmented"})
    own_run.require_unused(runner, run.config)
    runner.submit("evaluate", {"subset_size": "baseline", "prompt": "regular"})
    with pytest.raises(LabError, match="A job is evaluating baseline"):
        own_run.require_unused(runner, run.config)


def test_a_run_that_cannot_be_read_is_deleted_too(tmp_path: Path) -> None:
    settings = bare_settings(tmp_path)
    run = make_run(settings, 0, samples=8)
    (run.path / "run.json").write_text("{")
    delete_run(settings, run.path.name)
    assert not run.path.exists()


def test_runs_are_listed_and_deleted_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = with_shipped(tmp_path, 0)
    run = make_run(settings, 200, samples=8)
    monkeypatch.setattr("pipeline.evaluation.own_runs.Settings.from_env", lambda: settings)

    def rcl_runs(*words: str) -> int:
        monkeypatch.setattr("sys.argv", ["rcl", "runs", *words])
        return rcl.main()

    assert rcl_runs("list") == 0
    listed = json.loads(capsys.readouterr().out)["runs"]
    assert [(row["own"], row["column"]) for row in listed] == [
        (False, "baseline/regular"),
        (True, "200/regular"),
    ]
    assert rcl_runs("delete", "--name", run.path.name) == 2
    assert "cannot be undone" in capsys.readouterr().err
    assert rcl_runs("delete", "--name", run.path.name, "--yes") == 0
    assert not run.path.exists()
