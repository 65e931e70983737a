"""A family of ours as the judge: the real small model through the same path as a server, without a key."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from maintenance.judge import judge as judge_stored
from maintenance.repack import repack
from maintenance.unpack import unpack
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import load_run, pack_run, runs_dir
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.generation import open_engine
from pipeline.models.families import get_family
from pipeline.schema import LabError, Score
from pipeline.scoring.judge.codejudge import CodeJudge, estimate_cost
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.local import LocalJudge, judging
from pipeline.scoring.judge.open_judge import open_judge
from pipeline.settings import Settings
from tests.attempts import attempt
from tests.conftest import WRITTEN, isolated
from tests.made_up_runs import bare_settings
from training.evaluate import evaluate

JUDGE = "smollm2-135m"
METRIC = "CodeJudge naive (smollm2-135m, 8 tokens)"
JUDGED: dict[str, Any] = {"judge": "naive", "judge_model": JUDGE, "judge_max_tokens": 8}
REFERENCE = "def double(x):\n    return 2 * x"


def config(**more: Any) -> JudgeConfig:
    return JudgeConfig(**{"model": JUDGE, "base_url": "", "temperature": 0.0, "max_tokens": 24, **more})


def candidates(number: int) -> list[Any]:
    codes = [f"def double(x):\n    return {n} * x" for n in range(number)]
    return [attempt("Write double.", code, code, REFERENCE) for code in codes]


def no_engine() -> Any:
    raise AssertionError("the model was loaded")


@pytest.fixture
def lab(unjudged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    settings = bare_settings(tmp_path)
    shutil.copytree(unjudged, settings.data_dir, symlinks=True)
    monkeypatch.setenv("RCL_DATA_DIR", str(settings.data_dir))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    return settings


def only_run(settings: Settings) -> Run:
    (run,) = StoredRuns(settings).runs()
    return run


def test_a_family_judges_without_a_key_and_names_the_metric(lab: Settings) -> None:
    evaluate("baseline", **WRITTEN, **JUDGED, resume=True)
    run = only_run(lab)
    assert run.judges == [METRIC]
    assert len(run.scores(METRIC)) == 2


def test_judging_a_stored_run_generates_nothing_again(lab: Settings) -> None:
    before = only_run(lab)
    evaluate("baseline", **WRITTEN, **JUDGED, resume=True)
    after = only_run(lab)
    written = [{name: each.completion for name, each in run.attempts.items()} for run in (before, after)]
    assert written[0] == written[1]
    assert after.config.engine == before.config.engine


def test_the_repeat_command_of_a_run_names_the_family_and_no_server(lab: Settings) -> None:
    evaluate("baseline", **WRITTEN, **JUDGED, resume=True)
    command = only_run(lab).config.command
    assert command.startswith("python -m training.evaluate ")
    assert "--judge-model=smollm2-135m" in command


def test_a_judge_of_the_family_that_wrote_the_answers_warns(lab: Settings, capsys: Any) -> None:
    evaluate("baseline", **WRITTEN, **JUDGED, resume=True)
    assert "smollm2-135m would judge its own output" in capsys.readouterr().err


def test_an_answer_without_a_verdict_is_unscored_and_counted(lab: Settings, capsys: Any) -> None:
    result = evaluate("baseline", **WRITTEN, **JUDGED, resume=True)
    assert result["scores"][METRIC] == {"mean": None, "n": 0, "unscored": 2}
    assert "cut off at 8 tokens" in capsys.readouterr().err


def test_an_answer_is_kept_and_the_model_is_not_loaded_again(short: Settings, tmp_path: Path) -> None:
    items = candidates(3)
    family = judging(get_family(short, JUDGE), config())
    first = CodeJudge(LocalJudge(config(), lambda: open_engine(short, family), tmp_path)).score(items)
    again = CodeJudge(LocalJudge(config(), no_engine, tmp_path)).score(items)
    assert again == first


@pytest.mark.parametrize("method", ["naive", "analyze", "taxonomy"])
def test_each_method_gives_each_answer_a_score_or_a_reason(
    settings: Settings, tmp_path: Path, method: Any
) -> None:
    settings = isolated(settings, tmp_path / "data")
    judge = CodeJudge(open_judge(settings, config(method=method), lambda done, message: None))
    scores: list[Score] = [score for (score,) in judge.score(candidates(2))]
    assert all((score.value is None) == bool(score.reason) for score in scores)
    assert all(score.details["votes"][0]["words"][0] for score in scores)


def test_votes_at_a_temperature_are_answers_of_their_own(short: Settings, tmp_path: Path) -> None:
    settings = isolated(short, tmp_path / "data")
    judge = CodeJudge(open_judge(settings, config(votes=3, temperature=1.0), lambda done, message: None))
    ((score,),) = judge.score(candidates(1))
    assert len({vote["words"] for vote in score.details["votes"]}) == 3


def test_a_question_longer_than_the_judge_s_room_is_unscored(short: Settings, tmp_path: Path) -> None:
    settings = isolated(short, tmp_path / "data")
    judge = CodeJudge(open_judge(settings, config(), lambda done, message: None))
    long = attempt("Write double.", "x", "x = 1\n" * 5_000, REFERENCE)
    ((first,), (second,)) = judge.score([long, *candidates(1)])
    assert first.value is None
    assert "the judge cannot be asked" in str(first.reason)
    assert second.details["votes"][0]["words"][0]


def test_a_family_costs_nothing(short: Settings) -> None:
    found = estimate_cost(config(), [(each.task, each.code) for each in candidates(2)], None)
    assert "no cost" in str(found)
    assert "$" not in str(found)


def test_a_judge_whose_model_is_not_here_says_which_command_brings_it(
    lab: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**12))  # asked first
    (lab.data_dir / "models").unlink()
    with pytest.raises(LabError, match="make code-model"):
        evaluate("baseline", **WRITTEN, judge="naive", judge_model="qwen2.5-coder-1.5b", resume=True)


def test_stored_runs_are_judged_in_their_place_packed_or_not(lab: Settings) -> None:
    root = runs_dir(lab)
    (folder,) = root.iterdir()
    options = {"judge_model": JUDGE, "judge_max_tokens": 8, "runs": root}
    result = judge_stored(datasets="packages", **options)
    assert result == {"judge": METRIC, "runs": {folder.name: {"judged": 0, "unscored": 2}}}
    assert load_run(folder).judges == [METRIC]
    assert judge_stored(datasets="humaneval", **options)["runs"] == {}


def test_a_shipped_run_is_judged_elsewhere_and_packed_again(lab: Settings, tmp_path: Path) -> None:
    root, away = tmp_path / "shipped", tmp_path / "away"
    (made,) = runs_dir(lab).iterdir()
    folder = pack_run(made, root)
    assert "instruction" not in gzip.decompress((folder / "items.jsonl.gz").read_bytes()).decode()
    assert unpack(away, runs=root) == {"runs": 1, "answers": 2}
    (copy,) = away.iterdir()
    assert '"instruction"' in (copy / "items.jsonl").read_text()
    judge_stored(judge_model=JUDGE, judge_max_tokens=8, runs=away)
    shutil.copytree(copy, folder, dirs_exist_ok=True)
    repack(root)
    assert not (folder / "items.jsonl").exists()
    assert load_run(folder).judges == [METRIC]
    assert [each.completion for each in load_run(folder).attempts.values()] == [
        each.completion for each in load_run(made).attempts.values()
    ]
