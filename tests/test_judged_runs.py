"""What a judged evaluation stores, made by the real ``evaluate`` with a judge on loopback."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.runs import Run
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.schema import LabError
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import Settings
from tests.conftest import WRITTEN
from tests.judge_server import JudgeServer, Reply
from tests.made_up_runs import bare_settings
from training.evaluate import evaluate
from ui.results import tables

FIRST, SECOND = "CodeJudge naive (judge)", "CodeJudge analyze (other, 3 votes)"


class Lab:
    """An installation with a judge on loopback."""

    def __init__(self, settings: Settings, server: JudgeServer, patch: pytest.MonkeyPatch) -> None:
        self.settings, self.server, self._patch = settings, server, patch
        patch.setenv("RCL_DATA_DIR", str(settings.data_dir))
        patch.setenv("OPENAI_API_KEY", "")
        patch.setenv("OPENAI_BASE_URL", server.url)

    def judge(self, method: str = "naive", model: str = "judge", **more: Any) -> dict[str, Any]:
        """Evaluate two samples of the baseline with a judge; their code is written already."""
        return evaluate(
            "baseline", **{**WRITTEN, "judge": method, "judge_model": model, "resume": True, **more}
        )

    def repeat(self, command: str) -> None:
        """Run one command of those that repeat a run, going on with what is stored."""
        words = shlex.split(command)
        while "=" in words[0]:
            self._patch.setenv(*words.pop(0).split("=", 1))
        assert words[:3] == ["python", "-m", "training.evaluate"]
        assert run_verb(evaluate, [*words[3:], "--resume"]) == 0

    @property
    def run(self) -> Run:
        """The only run of this installation."""
        (run,) = StoredRuns(self.settings).runs()
        return run


@pytest.fixture
def lab(unjudged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    settings = bare_settings(tmp_path)
    shutil.copytree(unjudged, settings.data_dir, symlinks=True)
    with JudgeServer() as server:
        yield Lab(settings, server, monkeypatch)


def test_the_judge_s_settings_are_in_the_config_the_run_table_and_the_repeat_command(lab: Lab) -> None:
    lab.judge()
    config = lab.run.config
    assert config.judges == {FIRST: asdict(JudgeConfig("naive", "judge", lab.server.url))}
    assert f"<td>{FIRST}</td>" in tables.runs([lab.run])
    assert config.command.startswith(f"OPENAI_BASE_URL={lab.server.url} python -m training.evaluate ")
    assert config.command.endswith(" --judge=naive --judge-model=judge")


def test_the_repeat_command_finds_the_same_run_and_asks_nothing_again(lab: Lab) -> None:
    lab.judge()
    before, asked = lab.run, len(lab.server.requests)
    lab.repeat(before.config.command)
    assert lab.run == before
    assert len(lab.server.requests) == asked == 2


def test_a_second_judge_of_the_same_run_stands_beside_the_first(lab: Lab) -> None:
    lab.judge()
    written = {name: each.completion for name, each in lab.run.attempts.items()}
    lab.judge("analyze", "other", votes=3)
    run = lab.run
    assert list(run.config.judges) == [FIRST, SECOND]
    assert run.config.judges[SECOND]["votes"] == 3
    assert [len(run.scores(name)) for name in (FIRST, SECOND)] == [2, 2]
    assert {name: each.completion for name, each in run.attempts.items()} == written
    assert f"<td>{FIRST}, {SECOND}</td>" in tables.runs([run])


def test_each_judge_has_its_own_repeat_command(lab: Lab) -> None:
    lab.judge()
    lab.judge("analyze", "other", votes=3)
    before, asked = lab.run, len(lab.server.requests)
    first, second = before.config.command.split(" && ")
    assert second.endswith("--resume --judge=analyze --judge-model=other --votes=3")
    for command in (first, second.replace(" --resume", "")):
        lab.repeat(command)
    assert lab.run == before
    assert len(lab.server.requests) == asked


def test_judging_what_was_evaluated_without_a_judge_adds_it(lab: Lab) -> None:
    assert lab.run.config.judges == {}
    assert "<td>none</td>" in tables.runs([lab.run])
    assert "--judge" not in lab.run.config.command
    lab.judge()
    assert list(lab.run.config.judges) == [FIRST]
    assert len(lab.run.scores(FIRST)) == 2


def test_verdicts_under_other_settings_are_not_mixed(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.judge()
    with JudgeServer() as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.url)
        with pytest.raises(LabError, match=r"base_url was .* now .*without --resume"):
            lab.judge()
        assert elsewhere.requests == []


def test_a_judge_that_gave_no_verdict_can_be_replaced(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.server.behaviour = lambda request, before: Reply("unknown model", status=404)
    with pytest.raises(LabError, match="has no model"):
        lab.judge()
    with JudgeServer() as elsewhere:
        monkeypatch.setenv("OPENAI_BASE_URL", elsewhere.url)
        lab.judge()
        assert lab.run.config.judges[FIRST]["base_url"] == elsewhere.url
        assert len(elsewhere.requests) == 2


def test_the_key_is_stored_nowhere(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-very-secret-0123456789"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    result = lab.judge()
    assert key not in json.dumps(result)
    files = [file for file in lab.settings.data_dir.glob("[!md]*/**/*") if file.is_file()]
    assert any("answers.sqlite" in file.name for file in files)
    assert all(key.encode() not in file.read_bytes() for file in files)
