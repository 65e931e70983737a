"""What execution says of one answer, as HTML: the verdict in words and the calls that differ."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.schema import Score
from ui.markup import escape


def executed(scores: Iterable[Score]) -> str:
    """A part to open for each score that comes from execution; empty where none does."""
    return "".join(_part(score) for score in scores if "verdict" in score.details)


def _part(score: Score) -> str:
    told = score.details
    calls = f": {told['passed_calls']} of {told['calls']} calls as the reference" if told["calls"] else ""
    body = f"<p>{escape(told['why'] or 'Every test passes.')}</p>"
    if told["flags"]:
        signs = escape(", ".join(map(str, told["flags"])))
        body += f'<p class="note">The code {signs}, so it may have reached the reference.</p>'
    for call in told["wrong"]:
        body += (
            f'<pre class="code" tabindex="0">{escape(call["call"])}</pre>'
            f"<p>Expected {escape(call['expected'])}; got {escape(call['got'])}.</p>"
        )
    summary = escape(f"Tests: {told['verdict']}{calls}")
    return f'<details class="judge"><summary>{summary}</summary>{body}</details>'
