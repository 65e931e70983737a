"""From people's votes to numbers: a ranking of checkpoints, and how often each metric agrees with people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from pipeline import stats
from pipeline.evaluation.votes import Ballot, VotedAnswer, as_jsonl
from pipeline.scoring import in_order, metric_of
from pipeline.stats import Codes, Estimate, Floats

MIN_VOTES = 5
"""With fewer votes there are no intervals, and no shares."""
_Item = tuple[str, str]


@dataclass(frozen=True)
class Ranked:
    """One checkpoint and prompt variant among those that people voted on.

    Attributes:
        column: its key.
        fingerprint: of its files.
        strength: log-odds of being preferred to the average one; None with too few votes for an interval.
        wins: pairs in which it was preferred.
        losses: pairs in which the other one was.
        ties: pairs in which neither was.
    """

    column: str
    fingerprint: str
    strength: Estimate | None
    wins: int
    losses: int
    ties: int

    @property
    def standing(self) -> float:
        """What the ranking is by: the strength as it is written, or else the pairs won less those lost."""
        return round(self.strength.value, 2) if self.strength else self.wins - self.losses


@dataclass(frozen=True)
class PeopleAgreement:
    """A metric held against people, over the pairs in which they prefer an answer and both are scored.

    Attributes:
        share: of the pairs in which the metric prefers one, those in which it is the people's; None with too
            few votes.
        pairs: in which the metric prefers one.
        ties: pairs to which the metric gives the same score; they do not count in the share.
    """

    metric: str
    share: Estimate | None
    pairs: int
    ties: int


@dataclass(frozen=True)
class VoteAnalysis:
    """The votes on the checkpoints of one family.

    Attributes:
        votes: how many.
        voters: people, as far as their browsers tell.
        undecided: votes for a tie, and that all are bad.
        pairs: pairs of answers that votes compare.
        ties: those of them that are ties.
        together: which votes are drawn together for the intervals: those of a ``voter`` or of a ``sample``;
            empty where each is drawn by itself.
        ranking: the strongest first.
        metrics: in the order of every table.
    """

    family: str
    votes: int
    voters: int
    undecided: int
    pairs: int
    ties: int
    together: str
    ranking: tuple[Ranked, ...]
    metrics: tuple[PeopleAgreement, ...]


def analyze_votes(votes: Iterable[Ballot]) -> list[VoteAnalysis]:
    """Analyze the votes of each family; the order of the votes does not matter."""
    families: dict[str, list[Ballot]] = {}
    for vote in sorted(votes, key=lambda vote: as_jsonl([vote])):
        families.setdefault(vote.family, []).append(vote)
    return [_analyze(family, of_family) for family, of_family in sorted(families.items())]


def compared(vote: Ballot) -> Iterator[tuple[VotedAnswer, VotedAnswer, bool]]:
    """Yield the pairs of answers that a vote compares, the better one first, and whether they are tied.

    A vote for the best one does not compare the others. Answers with the same text are tied.
    """
    for pair in combinations(sorted(vote.answers, key=lambda each: each.rank), 2):
        first, second = pair
        same_text = first.text == second.text
        if vote.kind == "best" and first.rank != 1 and not same_text:
            continue
        yield first, second, same_text or first.rank == second.rank


def _analyze(family: str, votes: Sequence[Ballot]) -> VoteAnalysis:
    codes, together = stats.choose_clusters(
        {"voter": [vote.voter for vote in votes], "sample": [vote.sample or vote.task for vote in votes]}
    )
    pairs = [(place, *pair) for place, vote in enumerate(votes) for pair in compared(vote)]
    return VoteAnalysis(
        family=family,
        votes=len(votes),
        voters=len({vote.voter for vote in votes}),
        undecided=sum(vote.kind in ("tie", "all bad") for vote in votes),
        pairs=len(pairs),
        ties=sum(tied for *_, tied in pairs),
        together=together,
        ranking=_rank(votes, codes),
        metrics=tuple(_agreements(pairs, codes)),
    )


def _rank(votes: Sequence[Ballot], codes: Codes) -> tuple[Ranked, ...]:
    items = sorted({_item(answer) for vote in votes for answer in vote.answers})
    place = {item: at for at, item in enumerate(items)}
    wins = np.zeros((len(votes), len(items), len(items)))
    ties = np.zeros_like(wins)
    for at, vote in enumerate(votes):
        for first, second, tied in compared(vote):
            better, worse = place[_item(first)], place[_item(second)]
            if tied:
                ties[at, better, worse] += 1
                ties[at, worse, better] += 1
            else:
                wins[at, better, worse] += 1
    strengths = _strengths(wins + ties / 2, codes)
    ranking = [
        Ranked(
            column,
            fingerprint,
            strengths[at] if strengths else None,
            int(wins[:, at].sum()),
            int(wins[:, :, at].sum()),
            int(ties[:, at].sum()),
        )
        for at, (column, fingerprint) in enumerate(items)
    ]
    return tuple(sorted(ranking, key=lambda one: one.standing, reverse=True))


def _strengths(wins: Floats, codes: Codes) -> list[Estimate]:
    """With intervals; empty if there are too few votes."""
    if len(np.unique(codes)) < MIN_VOTES:
        return []
    values, intervals = stats.bradley_terry(wins.sum(0)), stats.strength_intervals(wins, codes)
    return [Estimate.of(value, limits) for value, limits in zip(values, intervals, strict=True)]


def _agreements(
    pairs: Sequence[tuple[int, VotedAnswer, VotedAnswer, bool]], codes: Codes
) -> Iterator[PeopleAgreement]:
    decided = [(place, first, second) for place, first, second, tied in pairs if not tied]
    for metric in in_order({name for _, *both in decided for answer in both for name in answer.scores}):
        sign = 1 if metric_of(metric).higher_is_better else -1
        gaps = {
            (place, number): sign * (first.scores[metric] - second.scores[metric])
            for number, (place, first, second) in enumerate(decided)
            if metric in first.scores and metric in second.scores
        }
        agrees = [(place, gap > 0) for (place, _), gap in gaps.items() if gap]
        clusters = codes[[place for place, _ in agrees]]
        share = None
        if len(np.unique(clusters)) >= MIN_VOTES:
            values = np.array([agreed for _, agreed in agrees], dtype=float)
            share = Estimate.of(values.mean(), stats.rate_interval(values, clusters))
        yield PeopleAgreement(metric, share, len(agrees), len(gaps) - len(agrees))


def _item(answer: VotedAnswer) -> _Item:
    return answer.column, answer.fingerprint
