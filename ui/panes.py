"""Attempts at one task side by side, as HTML: in Compare, and for a sample of stored runs in Results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from types import MappingProxyType
from typing import Literal

from pipeline.generation.engine import ROUNDING_NOTE
from pipeline.schema import Attempt, Column, Completion, Task, TokenChoice, counted
from pipeline.scoring import extract_code
from ui import markup, pieces
from ui.executed import executed
from ui.judged import judged
from ui.labels import checkpoint_label, column_label
from ui.markup import escape
from ui.score_table import score_table
from ui.tokens import first_difference, tokens

Against = Literal["nothing", "the reference", "the baseline", "tokens"]
WAYS: list[tuple[str, Against]] = [
    ("Answers", "nothing"),
    ("Difference from the reference", "the reference"),
    ("Difference from the baseline", "the baseline"),
    ("Token probabilities", "tokens"),
]
"""Ways to show attempts: as they are, as differences, or token by token against the first one."""
STORED_WAYS = WAYS[:-1]
"""Those of stored attempts, which have no probabilities."""
EMPTY = (
    '<p class="empty">No answers are stored for this. Press <b>Write live</b>: every checkpoint that you '
    "ticked gets the same task, and their answers appear here side by side, each with its scores. Of answers "
    "to your own instruction only one is computed, whether they parse: the others need a reference.</p>"
)
_NOT_STORED = (
    '<p class="note">No answer of this checkpoint is stored for this sample and these settings. '
    "Press <b>Write live</b> for one.</p>"
)
_ONE_SAMPLE = (
    '<p class="note">The best of each score is in bold. One sample says little about a checkpoint: the '
    "Results tab compares them over many samples, with intervals and tests. The About tab explains each "
    "score.</p>"
    f'<p class="note">{escape(ROUNDING_NOTE)}</p>'
)


def grid(
    attempts: Sequence[Attempt],
    show_reference: bool = False,
    against: Against = "nothing",
    notes: Mapping[Column, str] = MappingProxyType({}),
    chosen: Column | None = None,
    stored: bool = False,
    awaited: Sequence[str] = (),
    runs: Mapping[Column, str] = MappingProxyType({}),
) -> str:
    """All attempts at a task: a table of their scores, then a row of panes for each prompt variant.

    Args:
        attempts: at least one.
        show_reference: whether the reference stands before the first, where there is one.
        against: shows them as differences from it.
        notes: a sentence more on some columns.
        chosen: a column to mark.
        stored: whether they are from stored runs; one without a completion is then one that no run has.
        awaited: metrics that are still to be computed.
        runs: a sentence on the run of each stored answer, folded away.
    """
    task, look = attempts[0].task, _Look(notes, chosen, stored, runs)
    attempts = _by_variant(attempts)
    reference = _reference(task) if show_reference and task.reference is not None else ""
    rows, first = "", attempts[0]
    for variant, group in groupby(attempts, lambda attempt: attempt.column.variant):
        row = list(group)
        trimmed = {attempt.trimmed for attempt in row if not attempt.error}
        shared = trimmed.pop() if len(trimmed) == 1 else ""
        cards = "".join(
            _card(
                replace(attempt, trimmed="") if shared else attempt,
                _tokens(attempt, first)
                if against == "tokens" and _choices(attempt)
                else _body(attempt, _base(attempt, attempts, task, against), against, stored),
                look,
            )
            for attempt in row
        )
        rows += (
            f'<h3 class="prompt">{escape(variant.capitalize())} prompt</h3>'
            f"{pieces.note(f'{shared}.') if shared else ''}"
            f'<div class="panes aligned">{reference}{cards}</div>'
        )
        reference = ""
    scores = score_table(attempts, awaited, chosen)
    note = _ONE_SAMPLE if scores and len(attempts) > 1 else ""
    return f"{scores}{rows}{note}"


def blind_grid(
    answers: Mapping[str, Attempt], show_reference: bool = False, against: Against = "nothing"
) -> str:
    """A row of panes that show names of their own and nothing that tells whose answer it is."""
    task = next(iter(answers.values())).task
    reference = _reference(task) if show_reference and task.reference is not None else ""
    base = task.reference if against == "the reference" else None
    cards = "".join(
        f'<section class="pane" aria-label="{escape(name)}" data-state="{_state(attempt)}"><header>'
        f"<h4>{escape(name)}</h4>{_copy(attempt.code) if attempt.code else _no_code(attempt)}</header>"
        f'<p class="facts"></p><div class="body">{_body(attempt, base, against, False)}</div>'
        '<div class="foot"></div></section>'
        for name, attempt in answers.items()
    )
    return f'<div class="panes aligned">{reference}{cards}</div>'


def ways(attempts: Sequence[Attempt]) -> list[tuple[str, Against]]:
    """Those of ``WAYS`` that these attempts can be shown in."""
    possible = {
        "nothing": True,
        "the reference": any(attempt.task.reference is not None for attempt in attempts),
        "the baseline": len(attempts) > 1 and any(each.column.checkpoint.is_baseline for each in attempts),
        "tokens": any(map(_choices, attempts)),
    }
    return [(label, against) for label, against in WAYS if possible[against]]


def untimed(attempt: Attempt) -> Attempt:
    """A stored attempt without its time, which is that of a batch of many samples and not of this one."""
    if attempt.completion is None:
        return attempt
    return replace(attempt, completion=replace(attempt.completion, seconds=0.0))


def announcement(attempts: Sequence[Attempt]) -> str:
    """What a screen reader says when the answers are complete; nothing where there are none."""
    if not attempts:
        return ""
    failed = [column_label(attempt.column) for attempt in attempts if attempt.error]
    said = f"{counted(len(attempts) - len(failed), 'answer')} complete."
    return f"{said} No answer from {', '.join(failed)}." if failed else said


def _by_variant(attempts: Sequence[Attempt]) -> list[Attempt]:
    """Those of a prompt variant behind each other, the first one's first."""
    variants = list(dict.fromkeys(attempt.column.variant for attempt in attempts))
    return sorted(attempts, key=lambda attempt: variants.index(attempt.column.variant))


def _base(attempt: Attempt, attempts: Sequence[Attempt], task: Task, against: Against) -> str | None:
    """The code that the attempt's is to be compared with, None where there is none (yet)."""
    if against == "the reference":
        return task.reference
    if against == "the baseline":
        for other in attempts:
            same_prompt = other.column.variant == attempt.column.variant
            if other.column.checkpoint.is_baseline and same_prompt and other is not attempt:
                return other.code if other.completion else None
    return None


@dataclass(frozen=True)
class _Look:
    """What the panes of one grid share.

    Attributes:
        notes: a sentence more on some columns.
        chosen: the column to mark.
        stored: whether the attempts are from stored runs.
        runs: a sentence on the run of each stored answer.
    """

    notes: Mapping[Column, str]
    chosen: Column | None
    stored: bool
    runs: Mapping[Column, str]


def _card(attempt: Attempt, body: str, look: _Look) -> str:
    name, title = escape(column_label(attempt.column)), escape(checkpoint_label(attempt.column.checkpoint))
    copy = _copy(attempt.code) if attempt.code else _no_code(attempt)
    notes = [f"Prompt: {attempt.trimmed}." if attempt.trimmed else "", look.notes.get(attempt.column, "")]
    notes += [attempt.completion.note] if attempt.completion else []
    noted = "".join(f'<p class="note">{escape(note)}</p>' for note in notes if note)
    if attempt.completion and attempt.completion.finish_reason == "cancelled":
        noted += '<p class="note">Not scored, as it is not complete.</p>'
    noted += executed(attempt.scores.values()) + judged(attempt.scores.values())
    noted += _details(attempt, look.runs.get(attempt.column, ""))
    current = ' aria-current="true"' if attempt.column == look.chosen else ""
    origin = "stored" if look.stored else "live"
    # Four parts each, also where one is empty: the style sheet lines them up across the panes of a row.
    return (
        f'<section class="pane" aria-label="{name}" data-state="{_state(attempt)}" data-origin="{origin}"'
        f'{current}><header><h4 title="{title}">{title}</h4>{copy}</header>'
        f'<p class="facts"><span class="origin">{origin}</span>{_facts(attempt)}</p>'
        f'<div class="body">{body}</div>'
        f'<div class="foot">{noted}</div></section>'
    )


def _body(attempt: Attempt, base: str | None, against: Against, stored: bool) -> str:
    if attempt.error:
        return pieces.problem(attempt.error)
    if attempt.completion is None and stored:
        return _NOT_STORED
    if attempt.completion is None:
        return pieces.waiting("Reading the prompt…")
    text = attempt.completion.text
    if attempt.completion.finish_reason is None:
        return _pre(f'{markup.answer(text, extract_code(text))}<span class="caret"></span>')
    if base is not None:
        legend = f'<p class="note">Difference: − only in {escape(against)}, + only here</p>'
        return legend + _pre(markup.diff(base, attempt.code), "diff")
    if text.strip():
        return _pre(markup.answer(text, attempt.code))
    return '<p class="note">Empty: the model stopped at once.</p>'


def _choices(attempt: Attempt) -> tuple[TokenChoice, ...]:
    return attempt.completion.choices if attempt.completion else ()


def _tokens(attempt: Attempt, first: Attempt) -> str:
    """The answer token by token, and where it begins to differ from the first one."""
    choices, name = _choices(attempt), column_label(first.column)
    different = first_difference(choices, _choices(first))
    if attempt is first:
        said = "Darker: less likely. Point at a token for the alternatives."
    elif different is None:
        said = f"The same tokens as {name}."
    elif different == len(choices):
        said = f"It ends where {name} goes on."
    else:
        said = f"Differs from {name} from token {different + 1:,} on, which is framed."
    return pieces.note(said) + _pre(tokens(choices, different), "code tokens")


def _reference(task: Task) -> str:
    code = task.reference or ""
    return (
        f'<section class="pane reference" aria-label="Reference"><header><h4>Reference</h4>{_copy(code)}'
        '</header><p class="facts"><span>from the dataset</span></p>'
        f'<div class="body">{_pre(markup.python(code))}</div><div class="foot"></div></section>'
    )


def _state(attempt: Attempt) -> str:
    if attempt.error:
        return "failed"
    return "done" if attempt.completion and attempt.completion.finish_reason else "writing"


def _pre(inner: str, kind: str = "code") -> str:
    return f'<pre class="{kind}" tabindex="0">{inner}</pre>'


def _copy(code: str) -> str:
    return f'<button type="button" class="copy" data-copy="{escape(code)}">Copy</button>'


def _no_code(attempt: Attempt) -> str:
    """A word in the place of the button that copies the code."""
    return '<span class="note">no code</span>' if attempt.written else ""


def _facts(attempt: Attempt) -> str:
    if attempt.error:
        return ""
    completion = attempt.completion
    facts = []
    if completion and completion.tokens:
        # Not tokens/s: a short answer has read its prompt as long as a long one, and would look slow.
        taken = f" in {completion.seconds:.1f} s" if completion.finish_reason and completion.seconds else ""
        hint = f"The first token after {completion.seconds_to_first:.1f} s" if taken else ""
        facts.append(_fact(f"{counted(completion.tokens, 'token')}{taken}", hint))
    if completion and completion.finish_reason:
        facts.append(_fact(_ending(completion)))
    return "".join(facts)


def _details(attempt: Attempt, run: str) -> str:
    """What wrote a complete answer, as the engine says, and its stored run, folded away."""
    if attempt.completion is None or not attempt.written:
        return ""
    mark = attempt.completion.fingerprint
    if mark.startswith("remote:"):
        writer = f"A server wrote it, served as {mark[7:]}; its weights cannot be checked from here."
    elif attempt.column.checkpoint.is_baseline:
        writer = "Written by the bare base model, with no adapter."
    else:
        writer = f"Written with the adapter {mark} (hash of its files, or a merged model's commit)."
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in (writer, run) if sentence)
    return f"<details><summary>Details</summary>{said}</details>"


def _ending(completion: Completion) -> str:
    words = {"stop": "ended by itself", "length": "cut off at the token limit", "cancelled": "stopped by you"}
    return words[completion.finish_reason or "stop"]


def _fact(text: str, title: str = "") -> str:
    hint = f' title="{escape(title)}"' if title else ""
    return f"<span{hint}>{escape(text)}</span>"
