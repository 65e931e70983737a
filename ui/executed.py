"""The result of executing one answer, as HTML: the verdict in words and the calls that differ."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.schema import Score
from ui.markup import escape

_WITHOUT_CALLS = {"errored": ": the code does not run", "timeout": ": it took too long"}


def executed(scores: Iterable[Score]) -> str:
    """A part to open for each score that comes from execution; empty if none does."""
    return "".join(_part(score) for score in scores if "verdict" in score.details)


def _part(score: Score) -> str:
    details = score.details
    passed, calls = details["passed_calls"], details["calls"]
    share = (
        f": {passed} of {calls} calls as the reference"
        if calls
        else _WITHOUT_CALLS.get(details["verdict"], "")
    )
    body = f"<p>{escape(details['why'] or 'Every test passes.')}</p>"
    if details["flags"]:
        signs = escape(", ".join(map(str, details["flags"])))
        body += f'<p class="note">The code {signs}, so it may have reached the reference.</p>'
    for call in details["wrong"]:
        body += (
            f'<pre class="code" tabindex="0">{escape(call["call"])}</pre>'
            f"<p>Expected {escape(call['expected'])}; got {escape(call['got'])}.</p>"
        )
    outcome = "passed" if score.value else "failed"  # the words of the score table
    summary = escape(f"Tests: {outcome}{share}")
    return f'<details class="judge"><summary>{summary}</summary>{body}</details>'
