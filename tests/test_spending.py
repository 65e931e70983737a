"""The owner's money: no call to a paid server passes a ceiling, and strangers spend nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from pipeline.evaluation.attempts import generate
from pipeline.generation.remote_engine import RemoteEngine
from pipeline.models.families import Family, get_family
from pipeline.schema import Attempt, LabError, Price, SamplingParams, Score, Task
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.open_judge import check_judge
from pipeline.settings import Settings
from pipeline.spending import Ledger, OverBudget, open_purse
from tests.attempts import BASELINE, attempt, request_for
from tests.conftest import serve
from tests.jobs_kit import ROOT
from tests.judge_server import Behaviour, JudgeServer, Reply, Seen
from training.jobs.admission import check

KEY = "sk-secret-0123456789abcdef"
CODE = "def double(x):\n    return 2 * x"
PRICES = {"judge": Price(0.0, 1000.0), "baseline": Price(0.0, 1000.0)}
"""$1 for 1,000 tokens written; what is read costs nothing, so that the sums are easy to follow."""
VERDICT = "word " * 99 + "[[Correct]]"  # 100 tokens: $0.10
STRANGER = {"X-Forwarded-For": "203.0.113.7"}


@pytest.fixture
def server() -> Iterator[JudgeServer]:
    with JudgeServer(lambda request, before: Reply(VERDICT), models=("baseline",)) as running:
        yield running


def lab(folder: Path, **budget: float) -> Settings:
    return Settings(folder, prices=PRICES, **budget)  # type: ignore[arg-type]


def judge(settings: Settings, server: JudgeServer, number: int, run: str = "a run") -> list[Score]:
    """Judge so many answers; each call can cost $0.20."""
    config = JudgeConfig(model="judge", base_url=server.url, max_tokens=200)
    purse = open_purse(settings, KEY, server.url, run)
    client = JudgeClient(config, KEY, settings.data_dir, patience=5, purse=purse)
    items = [attempt(f"Write double {n}.", CODE, CODE, CODE) for n in range(number)]
    return [score for (score,) in CodeJudge(client).score(items)]


def spent(settings: Settings) -> float:
    return Ledger(settings.data_dir, settings.budget, settings.run_budget).spent()


@pytest.mark.parametrize("limit", ["budget", "run_budget"])
def test_the_judge_stops_before_a_ceiling_and_the_rest_is_unscored_with_the_reason(
    tmp_path: Path, server: JudgeServer, limit: str
) -> None:
    settings = lab(tmp_path, **{limit: 0.75})
    scores = judge(settings, server, 20)
    # At $0.60 another call, which can cost $0.20, could pass $0.75.
    assert len(server.requests) == 6
    assert spent(settings) == pytest.approx(0.6)
    assert [score.value for score in scores].count(1.0) == 6
    (reason,) = {score.reason for score in scores if score.value is None}
    assert "is used up" in str(reason)
    assert {"budget": "RCL_JUDGE_BUDGET", "run_budget": "RCL_RUN_BUDGET"}[limit] in str(reason)


def test_the_ceiling_of_a_run_counts_that_run_alone_also_after_a_restart(
    tmp_path: Path, server: JudgeServer
) -> None:
    settings = lab(tmp_path, run_budget=0.25)
    for run in ("first", "second", "first"):
        judge(settings, server, 4, run)
    assert len(server.requests) == 2  # the first answer is kept, so the second run does not ask for it
    assert spent(settings) == pytest.approx(0.2)


def test_a_larger_budget_lets_the_rest_be_judged(tmp_path: Path, server: JudgeServer) -> None:
    judge(lab(tmp_path, budget=0.35), server, 4)
    assert all(score.value == 1.0 for score in judge(lab(tmp_path, budget=5.0), server, 4))
    assert len(server.requests) == 4


def test_a_call_whose_cost_is_not_known_keeps_what_it_reserved(tmp_path: Path) -> None:
    with JudgeServer(lambda request, before: Reply(VERDICT, cut=True)) as broken:
        judge(lab(tmp_path, budget=0.45), broken, 1)
        assert len(broken.requests) == 2  # a third try could pass the ceiling
    assert spent(lab(tmp_path, budget=1.0)) == pytest.approx(0.4)


def test_a_refused_call_and_one_that_never_arrived_cost_nothing(tmp_path: Path) -> None:
    settings = lab(tmp_path, budget=1.0)
    with JudgeServer(lambda request, before: Reply("no", status=400)) as refusing:
        judge(settings, refusing, 1)
    judge(settings, refusing, 1)  # it is gone
    assert spent(settings) == 0


def test_processes_at_the_same_time_do_not_pass_the_ceiling_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from pipeline.spending import Ledger, OverBudget\n"
        "ledger = Ledger(Path(sys.argv[1]), 1.0, None)\n"
        "try:\n    while True: ledger.reserve('', 'm', 0.01)\nexcept OverBudget: pass"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    started = [subprocess.Popen(command, cwd=ROOT) for _ in range(3)]
    assert [one.wait(60) for one in started] == [0, 0, 0]
    assert 0.98 < Ledger(tmp_path, None, None).spent() <= 1.0


def test_each_month_has_its_own_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import UTC, datetime

    from pipeline import spending

    class Later(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime(2031, 5, 1, tzinfo=UTC)

    ledger = Ledger(tmp_path, 1.0, None)
    ledger.reserve("", "m", 1.0)
    with pytest.raises(OverBudget):
        ledger.reserve("", "m", 0.01)
    monkeypatch.setattr(spending, "datetime", Later)
    ledger.reserve("", "m", 1.0)


def test_the_engine_stops_before_the_ceiling_and_what_is_not_written_says_why(
    tmp_path: Path, server: JudgeServer, family: Family
) -> None:
    settings = lab(tmp_path, budget=1.0)
    engine = RemoteEngine(family, server.url, KEY, purse=open_purse(settings, KEY, server.url))
    waiting = [Attempt(Task(f"Task {n}."), BASELINE, f"prompt {n}") for n in range(12)]
    *_, done = generate(engine, waiting, SamplingParams(0.0, 0.0, 100))
    written = [each for each in done if each.written]
    assert 0 < len(written) == len(server.requests) < 12
    assert {each.error for each in done if not each.written} == {
        "The budget of this month, $1.00 (RCL_JUDGE_BUDGET), is used up: another call could pass it. Resume "
        "with a larger budget, or next month."
    }
    assert spent(settings) == pytest.approx(0.1 * len(written))


def like_vllm(request: Seen, before: int = 0) -> Reply:
    if request.path == "/tokenize":
        return Reply(raw=json.dumps({"tokens": [*map(ord, request.prompt)]}))
    odds = [{str(token): {"logprob": -1}} for token in request.body["prompt"]]
    usage = {"prompt_tokens": len(odds), "completion_tokens": 1}
    return Reply(raw=json.dumps({"choices": [{"text": "x", "prompt_logprobs": odds}], "usage": usage}))


def cuts_off(request: Seen, before: int = 0) -> Reply:
    return replace(like_vllm(request), cut=request.path != "/tokenize")


@pytest.mark.parametrize(("behaviour", "tokens"), [(like_vllm, len("abcde")), (cuts_off, 4 * (5 + 64))])
def test_a_likelihood_costs_what_the_server_counts_else_all_that_its_tries_can_cost(
    tmp_path: Path, family: Family, behaviour: Behaviour, tokens: int
) -> None:
    settings = replace(lab(tmp_path, budget=100.0), prices={"*": Price(1000.0, 0.0)})
    with JudgeServer(behaviour, models=("baseline",)) as server:
        engine = RemoteEngine(family, server.url, KEY, purse=open_purse(settings, KEY, server.url))
        engine.bits_per_byte([request_for(BASELINE, "ab")], ["cde"])
    assert spent(settings) == pytest.approx(1000.0 * tokens / 1e6)


def test_a_price_that_is_not_known_is_refused_before_the_work_and_says_what_to_set(
    tmp_path: Path, settings: Settings
) -> None:
    own = replace(settings, data_dir=tmp_path, judge_key=KEY, judge_url="http://127.0.0.1:9/v1", budget=5.0)
    config = JudgeConfig(model="gpt-99", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(LabError, match=re.escape('RCL_PRICES="gpt-99=2.50/10"')):
        check_judge(own, config, lambda done, message: None)
    check_judge(replace(own, prices={"*": Price(1, 2)}), config, lambda done, message: None)
    check_judge(replace(own, budget=None), config, lambda done, message: None)
    evaluation = {
        "judge": "naive", "judge_model": "gpt-99", "votes": 1, "judge_temperature": 0.5,
        "judge_max_tokens": 512,
    }  # fmt: skip
    with pytest.raises(LabError, match="RCL_PRICES"):
        check(own, "evaluate", evaluation)


def test_a_server_without_a_key_is_not_counted(tmp_path: Path, server: JudgeServer) -> None:
    assert open_purse(lab(tmp_path, budget=0.0), "", server.url) is None


def test_the_ledger_holds_no_key(tmp_path: Path, server: JudgeServer) -> None:
    judge(lab(tmp_path, budget=5.0), server, 1)
    assert KEY.encode() not in (tmp_path / "spending.sqlite").read_bytes()


def test_nothing_is_sent_while_the_ledger_cannot_be_used(tmp_path: Path, server: JudgeServer) -> None:
    settings = lab(tmp_path, budget=5.0)
    (tmp_path / "spending.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(LabError, match="Nothing is sent to a paid server without it"):
        judge(settings, server, 1)
    assert server.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RCL_JUDGE_BUDGET", "ten"),
        ("RCL_JUDGE_BUDGET", "-1"),
        ("RCL_JUDGE_BUDGET", "nan"),
        ("RCL_JUDGE_BUDGET", "1_0"),
        ("RCL_RUN_BUDGET", "inf"),
        ("RCL_PRICES", "gpt-99"),
        ("RCL_PRICES", "gpt-99=1"),
        ("RCL_PRICES", "gpt-99=1/x"),
    ],
)
def test_an_amount_that_cannot_be_read_is_refused(name: str, value: str) -> None:
    with pytest.raises(LabError, match=name):
        Settings.from_env({name: value})


def test_prices_are_read_by_model() -> None:
    read = Settings.from_env({"RCL_PRICES": " gpt-99=2.50/10, own=model=0/0 ", "RCL_JUDGE_BUDGET": "20"})
    assert read.prices == {"gpt-99": Price(2.5, 10), "own=model": Price(0, 0)}
    assert read.budget == 20


def test_only_who_may_launch_jobs_spends_the_key_of_the_engine(fresh: Settings, server: JudgeServer) -> None:
    own = replace(fresh, engine_url=server.url, engine_key=KEY, jobs_token="the-token")
    name = "llama-3.1-8b"
    assert not get_family(own, name).embedded
    call = {"columns": ["baseline/regular"], "instruction": "Write double.", "family": name}
    with serve(own) as url:
        stranger, owner = (Client(url, headers=headers, verbose=False) for headers in (STRANGER, {}))
        for token in ("", "wrong"):
            with pytest.raises(AppError, match="its owner pays for"):
                stranger.predict(**call, token=token, api_name="/compare")
        assert server.requests == []
        for client, token in ((owner, ""), (stranger, "the-token")):
            [answer] = client.predict(**call, token=token, api_name="/compare")
            assert answer["text"] == VERDICT
        assert len(server.requests) == 2
