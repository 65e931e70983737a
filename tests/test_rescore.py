"""Shipped answers are extracted and scored again after a change of the rule."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from maintenance.rescore import rescore, with_other_code
from pipeline.evaluation.store import append_attempts, load_run, pack_run
from pipeline.schema import Score
from pipeline.settings import ASSETS

RUN = "smollm2-135m_baseline-regular_greedy_870ee189"
JUDGE = "CodeJudge naive (a-model)"


@pytest.fixture
def stale(tmp_path: Path) -> tuple[Path, str]:
    """A packed run, one of whose passing answers was stored with no code, and the answer's sample."""
    copy = Path(shutil.copytree(ASSETS / "results" / RUN, tmp_path / "edited" / RUN))
    passed = next(a for a in load_run(copy).attempts.values() if a.scores["execution (HumanEval)"].value == 1)
    wrong = {name: replace(score, value=0.0) for name, score in passed.scores.items()}
    append_attempts(copy, [replace(passed, code="", scores=wrong | {JUDGE: Score(JUDGE, 0.0)})])
    return pack_run(copy, tmp_path / "packed"), passed.task.sample_id or ""


def test_an_answer_whose_code_is_another_one_now_is_scored_again(stale: tuple[Path, str]) -> None:
    folder, sample_id = stale
    assert rescore(folder.parent) == {"changed": {RUN: 1}}
    again, shipped = (
        load_run(folder).attempts[sample_id],
        load_run(ASSETS / "results" / RUN).attempts[sample_id],
    )
    assert again.code == shipped.code
    assert again.scores["execution (HumanEval)"].value == 1
    assert again.scores["chrF"].value == pytest.approx(shipped.scores["chrF"].value)
    assert again.scores[JUDGE].value is None


def test_what_no_code_decides_stays(stale: tuple[Path, str]) -> None:
    folder, sample_id = stale
    before = load_run(folder)
    rescore(folder.parent)
    after = load_run(folder)
    assert (
        after.attempts[sample_id].scores["bits per byte"]
        == before.attempts[sample_id].scores["bits per byte"]
    )
    assert after.attempts[sample_id].completion == before.attempts[sample_id].completion
    assert [*after.attempts] == [*before.attempts]


def test_a_named_sample_is_scored_again_and_keeps_its_judgement(tmp_path: Path) -> None:
    copy = Path(shutil.copytree(ASSETS / "results" / RUN, tmp_path / "edited" / RUN))
    shipped = next(a for a in load_run(copy).attempts.values() if a.scores["chrF"].value)
    wrong = {"chrF": replace(shipped.scores["chrF"], value=0.0), JUDGE: Score(JUDGE, 1.0)}
    append_attempts(copy, [replace(shipped, scores=shipped.scores | wrong)])
    folder, sample = pack_run(copy, tmp_path / "packed"), shipped.task.sample_id or ""

    assert rescore(folder.parent, ("another", sample)) == {"changed": {RUN: 1}}
    again = load_run(folder).attempts[sample]
    assert again.scores["chrF"].value == pytest.approx(shipped.scores["chrF"].value)
    assert again.scores[JUDGE].value == 1


def test_every_shipped_answer_has_the_code_that_the_rule_takes() -> None:
    stale = {f.name: len(with_other_code(load_run(f))) for f in (ASSETS / "results").iterdir()}
    assert set(stale.values()) == {0}
