"""Losses in an experiment tracker, which is a package that stands in for the real ones here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pipeline.command_line.verbs import run_verb
from pipeline.schema import LabError
from pipeline.settings import Settings
from tests.jobs_kit import local_runner
from training.finetune import finetune
from training.jobs import Runner
from training.jobs.progress import Reporter
from training.jobs.tracking import tracked
from training.sweep import VERBS

TRACKER = """
calls = []
init, log, finish = (
    lambda *args, _name=name, **more: calls.append((_name, args, more)) for name in ("init", "log", "finish")
)
"""


def test_a_tracker_gets_the_name_the_settings_and_each_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trackio.py").write_text(TRACKER)
    monkeypatch.syspath_prepend(tmp_path)
    report = Reporter()
    with tracked(Settings(tmp_path), report, "trackio", "16-regular", {"epochs": 3}):
        report(0.0, "encoding")
        report(0.5, "step 1 of 2", step=1, loss=2.5)
    report(1.0, "step 2 of 2", step=2, loss=2.0)
    assert sys.modules.pop("trackio").calls == [
        ("init", (), {"project": "research-code-lab", "name": "16-regular", "config": {"epochs": 3}}),
        ("log", ({"loss": 2.5},), {"step": 1}),
        ("finish", (), {}),
    ]


def test_a_tracker_that_does_not_start_ends_the_training_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "wandb.py").write_text("def init(**_):\n    raise RuntimeError('no API key configured.')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with (
        pytest.raises(LabError, match=r"wandb does not start: no API key configured\."),
        tracked(Settings(tmp_path), Reporter(), "wandb", "16-regular", {}),
    ):
        pass
    del sys.modules["wandb"]


def test_a_tracker_that_is_not_installed_is_refused_by_the_command_and_before_a_job_is_queued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    assert run_verb(finetune, ["--subset-size=1", "--report-to=wandb"]) == 2
    assert "--report-to needs a package that is not installed here. Install it: pip install wandb." in (
        capsys.readouterr().err
    )
    kit = local_runner(tmp_path)
    runner = Runner(kit.settings, kit.records, kit.backend, VERBS)
    with pytest.raises(LabError, match="report_to needs a package"):
        runner.submit("finetune", {"subset_size": 1, "report_to": "wandb"})
    assert not runner.list()
