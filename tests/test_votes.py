"""People's votes: kept, counted, and held against the metrics."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline.analysis.votes import analyze_votes, compared
from pipeline.evaluation import votes as records
from pipeline.evaluation.votes import Ballot, VoteBox, VotedAnswer, VoteKind
from pipeline.schema import LabError, SamplingParams
from pipeline.settings import Settings
from ui.results.votes import place_among

STRENGTHS = {"baseline/regular": -1.0, "200/regular": 0.0, "1000/regular": 0.3, "5000/regular": 0.7}


def make_vote(
    ranks: Sequence[int],
    kind: VoteKind = "rank",
    voter: int = 0,
    task: str = "t0",
    texts: Sequence[str] = (),
    scores: Sequence[float] = (),
) -> Ballot:
    columns = list(STRENGTHS)
    answers = tuple(
        VotedAnswer(
            columns[at],
            "",
            texts[at] if texts else f"text {at}",
            at,
            rank,
            {"chrF": scores[at]} if scores else {},
        )
        for at, rank in enumerate(ranks)
    )
    when = "2026-11-26T10:00:00Z"
    return Ballot(f"{voter:032x}", when, kind, "smollm2-135m", task, task, SamplingParams(), True, answers)


def simulated(number: int) -> list[Ballot]:
    """Votes of ten people with known tastes, and a metric that has them too, but with noise."""
    draw = np.random.default_rng(0)
    votes = []
    for at in range(number):
        liked = np.array(list(STRENGTHS.values())) + draw.gumbel(size=len(STRENGTHS))
        ranks = [int(rank) for rank in (-liked).argsort().argsort() + 1]
        best = [1 if rank == 1 else 2 for rank in ranks]
        scores = [float(each) for each in liked + draw.normal(size=len(liked))]
        kind: VoteKind = "rank" if at % 2 else "best"
        votes.append(make_vote(ranks if at % 2 else best, kind, at % 10, f"t{at}", scores=scores))
    return votes


def test_200_votes_with_known_strengths_are_recovered_whatever_their_order() -> None:
    votes = simulated(200)
    (found,) = analyze_votes(votes)
    assert [each.column for each in found.ranking] == list(STRENGTHS)[::-1]
    true = {name: value - np.mean(list(STRENGTHS.values())) for name, value in STRENGTHS.items()}
    for each in found.ranking:
        assert each.strength.low < true[each.column] < each.strength.high
        assert each.strength.high - each.strength.low < 1
    random.Random(1).shuffle(votes)
    assert analyze_votes(votes) == [found]
    assert (found.votes, found.voters, found.ties) == (200, 10, 0)


def test_a_metric_is_held_against_the_pairs_in_which_people_prefer_one() -> None:
    (found,) = analyze_votes(simulated(200))
    (chrf,) = found.metrics
    assert chrf.pairs == found.pairs == 100 * 6 + 100 * 3
    assert 0.6 < chrf.share.low < chrf.share.value < chrf.share.high < 1
    tied = [make_vote([1, 2], task=f"t{at}", scores=[5.0, 5.0]) for at in range(9)]
    (found,) = analyze_votes(tied)
    assert [(each.pairs, each.ties, each.share) for each in found.metrics] == [(0, 9, None)]


def test_a_vote_for_the_best_one_does_not_compare_the_others() -> None:
    vote = make_vote([2, 1, 2], "best")
    pairs = [(first.column, second.column, tied) for first, second, tied in compared(vote)]
    assert pairs == [
        ("200/regular", "baseline/regular", False),
        ("200/regular", "1000/regular", False),
    ]
    assert [tied for *_, tied in compared(make_vote([1, 1, 1], "all bad"))] == [True] * 3
    same = make_vote([1, 1, 2], "best", texts=["a", "a", "b"])
    assert [tied for *_, tied in compared(same)] == [True, False, False]


def test_few_votes_have_counts_and_no_intervals() -> None:
    (found,) = analyze_votes([make_vote([1, 2], scores=[1.0, 0.0])])
    assert [each.strength for each in found.ranking] == [None, None]
    assert found.metrics[0].share is None
    assert found.ranking[0].wins == 1


def test_equal_strength_gives_an_equal_place() -> None:
    def places(votes: list[Ballot]) -> list[str]:
        (found,) = analyze_votes(votes)
        return [place_among(found.ranking, each) for each in found.ranking]

    assert places([make_vote([1, 2, 2, 2], "best")]) == ["1", "2 =", "2 =", "2 ="]
    many = [make_vote([2, 2, 1, 2], "best", voter=at) for at in range(9)]
    assert places(many) == ["1", "2 =", "2 =", "2 ="]
    assert places([make_vote([1, 1], "tie", voter=at) for at in range(9)]) == ["1 =", "1 ="]
    assert places([make_vote([2, 1, 3])]) == ["1", "2", "3"]


def test_the_last_vote_on_one_subject_counts_and_ones_own_can_be_deleted(tmp_path: Path) -> None:
    box = VoteBox(Settings(data_dir=tmp_path))
    assert box.votes() == []
    first, again, other = make_vote([1, 2]), make_vote([2, 1]), make_vote([1, 2], voter=1)
    for vote in (first, other, again):
        box.add(vote)
    assert box.of(first.voter) == [again]
    assert VoteBox(Settings(data_dir=tmp_path)).votes() == [again, other]
    assert box.delete(first.voter) == 2
    assert box.votes() == [other]


def test_a_line_that_was_cut_off_costs_no_other_vote(tmp_path: Path) -> None:
    box = VoteBox(Settings(data_dir=tmp_path))
    box.add(make_vote([1, 2]))
    whole = box.path.read_bytes()
    box.path.write_bytes(whole + whole[:50])
    box.add(make_vote([1, 2], voter=1))
    assert len(box.votes()) == 2


def test_a_full_box_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "MAX_VOTES", 1)
    box = VoteBox(Settings(data_dir=tmp_path))
    box.add(make_vote([1, 2]))
    with pytest.raises(LabError, match="keeps 1 votes"):
        box.add(make_vote([1, 2], voter=1))


def test_a_vote_holds_no_text_and_no_address(tmp_path: Path) -> None:
    box = VoteBox(Settings(data_dir=tmp_path))
    box.add(replace(make_vote([1, 2]), task=records.text_hash("Sort a list.")))
    assert "Sort" not in box.path.read_text()
