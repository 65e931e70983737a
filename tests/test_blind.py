"""Blind comparisons: what is hidden, and what a vote says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.schema import Attempt, Checkpoint, Column, Completion, LabError, SamplingParams, Score, Task
from pipeline.settings import Settings
from ui.compare import blind
from ui.compare.comparison import Comparison, Display
from ui.lab import Lab
from ui.views import View

VOTER = "0" * 32


def attempt(name: str, text: str) -> Attempt:
    checkpoint = Checkpoint("smollm2-135m", name, 0 if name == "baseline" else 200, fingerprint=f"mark{name}")
    completion = Completion(f"mark{name}", text, 7, "stop", 1.0)
    scores = {"chrF": Score("chrF", 12.3), "parses": Score("parses", None, "no code")}
    task = Task("Sort a list.", sample_id="a.py::f", reference="pass")
    return Attempt(task, Column(checkpoint, "regular"), "p", completion=completion, code=text, scores=scores)


ATTEMPTS = (attempt("baseline", "one"), attempt("200", "two"), attempt("500", "one"))


def comparison(attempts: tuple[Attempt, ...] = ATTEMPTS) -> Comparison:
    return Comparison(
        View("compare", "smollm2-135m"), Display(blind=True), attempts=attempts, running=False, shuffle=1
    )


def test_nothing_tells_the_answers_apart_before_the_vote(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    one = comparison()
    before = one.draw(lab)
    for telling in ("Baseline", "200", "500", "markbaseline", "chrF", "12.3", "7 token", "ended by itself"):
        assert telling not in before
    assert before.count('aria-label="Answer ') == 2  # two have the same text
    one.vote(lab, VOTER, "best", 0, [])
    after = one.draw(lab)
    for telling in ("Baseline", "chrF", "Shown as A.", "Shown as B.", "Your best answer, A, is"):
        assert telling in after
    with pytest.raises(LabError, match="nothing to vote on"):
        one.vote(lab, VOTER, "best", 0, [])
    assert len(lab.votes.votes()) == 1


def test_a_vote_holds_what_is_needed_to_check_it(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    one = comparison()
    one.vote(lab, VOTER, "rank", -1, [5, 2])
    (ballot,) = lab.votes.of(VOTER)
    assert (ballot.kind, ballot.sample, ballot.family) == ("rank", "a.py::f", "smollm2-135m")
    assert {each.column: each.fingerprint for each in ballot.answers} == {
        "baseline/regular": "markbaseline", "200/regular": "mark200", "500/regular": "mark500",
    }  # fmt: skip
    shown = {each.column: each.shown for each in ballot.answers}
    assert shown["baseline/regular"] == shown["500/regular"] != shown["200/regular"]
    assert sorted({each.rank for each in ballot.answers}) == [1, 2]
    assert ballot.answers[0].scores == {"chrF": 12.3}


def test_fewer_than_two_different_answers_are_shown_with_their_names(tmp_path: Path) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    failed = replace(attempt("200", ""), completion=None, error="It failed.")
    for attempts in (ATTEMPTS[::2], (ATTEMPTS[0], failed)):
        drawn = comparison(attempts).draw(lab)
        assert blind.NOTHING_TO_VOTE_ON in drawn
        assert "Baseline" in drawn


@pytest.mark.parametrize(
    ("kind", "place", "ranks"),
    [
        ("best", 9, []),
        ("best", "0", []),
        ("best", True, []),
        ("rank", 0, [1]),
        ("rank", 0, [1, "2"]),
        ("worst", 0, [1, 2]),
        (None, None, None),
    ],
)
def test_a_vote_that_fits_no_answers_is_refused_in_words(
    tmp_path: Path, kind: Any, place: Any, ranks: Any
) -> None:
    lab = Lab(Settings(data_dir=tmp_path))
    with pytest.raises(LabError, match="no vote on these 2 answers"):
        comparison().vote(lab, VOTER, kind, place, ranks)
    assert lab.votes.votes() == []


def test_a_ranking_of_equals_is_a_tie() -> None:
    groups = [[ATTEMPTS[0]], [ATTEMPTS[1]]]
    assert blind.cast(VOTER, groups, SamplingParams(), True, "rank", -1, [3, 3]).kind == "tie"
