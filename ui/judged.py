"""What a judge said of one answer, as HTML: every vote with its words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pipeline.schema import Score
from pipeline.scoring.judge.questions import RAISE_LIMIT
from ui.markup import escape


def why_unscored(reason: str | None) -> str:
    """The reason without advice on the judge's settings, which a reader of stored scores cannot follow."""
    return (reason or "").removesuffix(RAISE_LIMIT)


def judged(scores: Iterable[Score]) -> str:
    """A part to open for each score that comes from a judge's votes; empty if none does."""
    return "".join(_part(score) for score in scores if score.details.get("votes"))


def _part(score: Score) -> str:
    body = "".join(
        f"<h5>{escape(title)}</h5><p>{escape(text)}</p>" for title, text in _votes(score.details["votes"])
    )
    if left_out := score.details.get("left_out"):
        body += f'<p class="note">The judge refuses {escape(", ".join(left_out))}: left out.</p>'
    return f'<details class="judge"><summary>What {escape(score.metric)} said</summary>{body}</details>'


def _votes(votes: list[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    for number, vote in enumerate(votes, start=1):
        value = vote.get("value")
        verdict = f"no verdict: {why_unscored(vote.get('reason'))}" if value is None else f"verdict {value:g}"
        words = "\n\n".join(vote.get("words") or ["(no words kept)"])
        yield f"Vote {number} of {len(votes)}: {verdict}", words
