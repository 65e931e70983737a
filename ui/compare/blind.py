"""Blind comparisons: answers without names in a random order, a vote on them, and then their names."""

from __future__ import annotations

import random
import secrets
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from string import ascii_uppercase
from typing import Any

from pipeline.evaluation.texts import digest_of
from pipeline.evaluation.votes import VOTE_KINDS, Ballot, VotedAnswer, VoteKind, text_hash
from pipeline.schema import Attempt, LabError, SamplingParams
from ui.labels import column_label
from ui.markup import escape

NOTHING_TO_VOTE_ON = "There is nothing to vote on here: fewer than two different answers are complete."
# Sends the kind of the vote, the place of the best answer, and the rank of each.
VOTE = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-vote]");
  if (!button) return;
  const ranks = [...element.querySelectorAll("[data-rank]")].map((each) => Number(each.value));
  trigger("submit", { kind: button.dataset.vote, place: Number(button.dataset.place ?? -1), ranks });
});
"""


def letter(place: int) -> str:
    """The name of the answer at a place: ``A`` for the first one."""
    return ascii_uppercase[place]


def new_shuffle() -> int:
    """A number that fixes a random order, see ``candidates``."""
    return secrets.randbits(32)


def candidates(attempts: Sequence[Attempt], shuffle: int, running: bool) -> list[list[Attempt]]:
    """Return the answers in a random order; complete ones with the same text are one.

    Attempts that failed, were stopped or are not stored are left out.
    """
    groups: dict[object, list[Attempt]] = {}
    for at in random.Random(shuffle).sample(range(len(attempts)), len(attempts)):
        attempt = attempts[at]
        ended = attempt.completion.finish_reason if attempt.completion else None
        if attempt.error or ended == "cancelled" or not (ended or running):
            continue
        key = attempt.completion.text if attempt.completion and ended else at
        groups.setdefault(key, []).append(attempt)
    return list(groups.values())


def ballot_html(count: int) -> str:
    """The question, and buttons for the answers."""
    names = [letter(place) for place in range(count)]
    best = "".join(
        f'<button type="button" data-vote="best" data-place="{place}" '
        f'aria-keyshortcuts="{place + 1}">{name}</button>'
        for place, name in enumerate(names)
    )
    options = "".join(f"<option>{rank}</option>" for rank in range(1, count + 1))
    ranks = "".join(f"<label>{name} <select data-rank>{options}</select></label>" for name in names)
    return (
        '<div class="ballot" role="group" aria-label="Your vote"><p><b>Which answer is best?</b> Names and '
        f'scores are shown after your vote.</p><p class="choices">{best}'
        '<button type="button" data-vote="tie">Tie</button>'
        '<button type="button" data-vote="all bad">All are bad</button></p>'
        f"<details><summary>Rank them all</summary><p>1 is the best; equal ones have the same number.</p>"
        f'<p class="choices">{ranks}<button type="button" data-vote="rank">Send the ranking</button></p>'
        "</details></div>"
    )


def revealed(ballot: Ballot, names: Sequence[str]) -> str:
    """What one voted for, and what its name is."""
    if ballot.kind in ("best", "rank"):
        winners = [name for name, answer in zip(names, ballot.answers, strict=True) if answer.rank == 1]
        shown = sorted({letter(answer.shown) for answer in ballot.answers if answer.rank == 1})
        said = f"Your best answer, {' and '.join(shown)}, is {' and '.join(winners)}."
    else:
        said = "You voted for a tie." if ballot.kind == "tie" else "You voted that all are bad."
    return (
        f'<div class="ballot" role="status"><p>{escape(said)} Your vote is stored. Results has the '
        "ranking by all votes under Votes, where you can export and delete yours.</p></div>"
    )


def cast(
    voter: str,
    groups: Sequence[Sequence[Attempt]],
    sampling: SamplingParams,
    stored: bool,
    kind: Any,
    place: Any,
    ranks: Any,
) -> Ballot:
    """Make a ballot of what the page sends.

    Args:
        voter: random, from the browser.
        groups: the answers as they are shown.
        sampling: how they were generated.
        stored: whether they are from stored runs.
        kind: one of ``VOTE_KINDS``.
        place: of the best answer.
        ranks: of all answers, in their order.

    Raises:
        LabError: what was sent fits no answers that are shown.
    """
    of_kind = _ranks(kind, place, ranks, len(groups))
    given: VoteKind = "tie" if kind == "rank" and len(set(of_kind)) == 1 else kind
    first = groups[0][0]
    return Ballot(
        voter=voter,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        kind=given,
        family=first.column.checkpoint.family,
        sample=first.task.sample_id or "",
        task=digest_of(first.task),
        decoding=sampling,
        stored=stored,
        answers=tuple(
            _answer(attempt, shown, rank)
            for shown, (group, rank) in enumerate(zip(groups, of_kind, strict=True))
            for attempt in group
        ),
    )


def shown_names(groups: Iterable[Sequence[Attempt]]) -> list[str]:
    """The names of the answers, in the order of a ballot's."""
    return [column_label(attempt.column) for group in groups for attempt in group]


def _ranks(kind: Any, place: Any, ranks: Any, count: int) -> list[int]:
    """Ranks from 1 without gaps."""
    if kind in ("tie", "all bad"):
        return [1] * count
    if kind == "best" and type(place) is int and 0 <= place < count:
        return [1 if at == place else 2 for at in range(count)]
    numbers = isinstance(ranks, list) and len(ranks) == count and all(type(each) is int for each in ranks)
    if kind == "rank" and numbers:
        order = sorted(set(ranks))
        return [order.index(each) + 1 for each in ranks]
    raise LabError(f"This is no vote on these {count} answers. It must be one of: {', '.join(VOTE_KINDS)}.")


def _answer(attempt: Attempt, shown: int, rank: int) -> VotedAnswer:
    completion = attempt.completion
    return VotedAnswer(
        column=attempt.column.key,
        fingerprint=completion.fingerprint if completion else "",
        text=text_hash(completion.text if completion else ""),
        shown=shown,
        rank=rank,
        scores={each.metric: each.value for each in attempt.scores.values() if each.value is not None},
    )
