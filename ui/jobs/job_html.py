"""Jobs as HTML, for the Jobs tab: pure functions, all text escaped."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from pipeline.command_line.commands import command_text
from pipeline.decimals import decimal
from pipeline.models.recipes import WORDS, short
from pipeline.schema import DEFAULT_SEED, counted, percent_done
from pipeline.scoring import metric_of
from training.jobs import Job, duration
from ui.jobs.curve import Curve
from ui.labels import size_text
from ui.markup import escape
from ui.numbers import mean_score

_SETTINGS = {**WORDS, "dataset": "dataset", "suite": "test suite"}
"""What a title tells where it is set: else it is the family's own."""
_DEFAULTS = {"epochs": 3, "suite": "none"}
"""Arguments that a title does not tell, as they are the verb's own."""
_A_PACE = 0.05  # the fraction of a sweep from which on its pace says something
_BEFORE_THE_FIRST = """<p class="note">No jobs yet.</p>
<ol class="note">
<li><b>Fine-tune</b> a checkpoint, and watch its loss here.</li>
<li><b>Evaluate</b> it on the test samples, and find its scores in Results.</li>
<li>A <b>sweep</b> does both for several sizes and seeds, which gives the curve in Results.</li></ol>"""


def title(job: Job) -> str:
    """What a job does, short: ``Fine-tune 1,000 · regular · seed 43``."""
    arguments = job.arguments
    told = [
        f"{name} {short(value)}"
        for key, name in _SETTINGS.items()
        if (value := arguments.get(key)) not in (None, _DEFAULTS.get(key))
    ]
    if job.kind == "sweep":
        sizes, prompts, seeds = (
            str(arguments.get(name, "")).replace(",", ", ") for name in ("sizes", "prompts", "seeds")
        )
        return " · ".join([f"Sweep {sizes}", prompts, f"seed{'s' if ',' in seeds else ''} {seeds}", *told])
    if job.kind == "add_base_model":
        return f"Add base model {arguments.get('name', '')}"
    evaluates = job.kind == "evaluate"
    named = arguments.get("checkpoint" if evaluates else "name")
    size = size_text(arguments.get("subset_size", ""))
    parts = [str(named or size), str(arguments.get("prompt", ""))]
    seed = arguments.get("training_seed" if evaluates else "seed", DEFAULT_SEED)
    parts += [f"seed {seed}"] if seed != DEFAULT_SEED and not (evaluates and named) else []
    parts += told
    verb = {"finetune": "Fine-tune", "evaluate": "Evaluate"}.get(job.kind, job.kind.capitalize())
    return f"{verb} {' · '.join(part for part in parts if part)}".strip()


def command(arguments: Sequence[str]) -> str:
    """A command as a user would type it, and a button that copies it."""
    line = command_text(arguments)
    parts = "".join(f"<span>{escape(shlex.quote(part))} </span>" for part in ["python", *arguments[1:]])
    copy = f'<button type="button" class="copy" data-copy="{escape(line)}">Copy</button>'
    return f'<div class="command"><pre class="code" tabindex="0">{parts}</pre>{copy}</div>'


def queue(jobs: Sequence[Job], opened: str, now: float) -> str:
    """The queue as a table whose rows open a job; ``jobs`` newest first."""
    if not jobs:
        return _BEFORE_THE_FIRST
    heads = "".join(
        f'<th scope="col">{head}</th>' for head in ("Job", "State", "Progress", "Left", "Who", "When")
    )
    rows = "".join(_row(job, opened, now) for job in jobs)
    table = f'<table class="queue"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
    return f'<div class="wide">{table}</div>'


def in_order(jobs: Sequence[Job]) -> list[Job]:
    """Running jobs, then waiting ones in their order, then those that have ended, the latest first."""
    ranks = {"running": 0, "queued": 1}
    return sorted(
        jobs, key=lambda job: (ranks.get(job.state, 2), job.created if job.active else -job.created)
    )


def _row(job: Job, opened: str, now: float) -> str:
    current = ' aria-current="true"' if job.id == opened else ""
    left = _left(job, now)
    when = _ago(now - (job.finished or job.started or job.created))
    verb = "ended" if job.finished else "started" if job.started else "added"
    return (
        f'<tr data-id="{escape(job.id)}"{current}>'
        f'<th scope="row"><button type="button">{escape(title(job))}</button></th>'
        f"<td>{badge(job)}</td><td>{_bar(job)}{_summary(job)}</td><td>{left}</td><td>{escape(job.owner)}</td>"
        f'<td title="{_date(job.created)}">{verb} {when}</td></tr>'
    )


def _left(job: Job, now: float) -> str:
    """The time that is left: as the verb reports it, or from a sweep's pace; empty if it is unknown."""
    if job.state != "running":
        return ""
    seconds = job.seconds_left
    if job.kind == "sweep" and job.started and job.progress > _A_PACE:
        seconds = (now - job.started) * (1 - job.progress) / job.progress
    return duration(seconds) if seconds else ""


def badge(job: Job) -> str:
    """The state as a word with a dot."""
    word = "cancelling" if job.active and job.cancelled_at else job.state
    return f'<span class="state {escape(word)}"><span class="dot"></span>{escape(word)}</span>'


def _bar(job: Job) -> str:
    if job.state in ("queued", "succeeded"):
        return ""
    share = percent_done(job.progress)
    return (
        f'<div class="bar {escape(job.state)}" role="progressbar" aria-label="progress" '
        f'aria-valuenow="{share}" aria-valuemin="0" aria-valuemax="100">'
        f'<span style="width:{share}%"></span></div>'
    )


def _summary(job: Job) -> str:
    """One line beside a job's state: its progress, why it stopped, or its result."""
    if job.state == "queued":
        message = job.message or ("waiting for its fine-tune" if job.needs else "waiting for its turn")
    elif job.state == "succeeded":
        message = _result_line(job)
    else:
        message = job.reason or job.message
    return f'<span class="message">{escape(message.splitlines()[0] if message else "")}</span>'


def _result_line(job: Job) -> str:
    result = job.result or {}
    if "checkpoint" in result:
        loss = f", loss {decimal(result['loss'])}" if isinstance(result.get("loss"), float) else ""
        return f"checkpoint {result['checkpoint']}{loss}"
    if job.kind == "add_base_model" and "family" in result:
        return f"{result['family']} is now a model family, in Compare and in the forms of Jobs"
    samples = result.get("samples")
    return f"{counted(samples, 'sample')} scored" if isinstance(samples, int) else job.message


def head(job: Job, now: float, hint: str = "") -> str:
    """An open job's title, state, progress and reason, and a hint at what can be done now."""
    kind = "note" if job.state == "cancelled" else "problem"
    summary = f'<p class="{kind}" role="status">{escape(job.reason)}</p>' if job.reason else _summary(job)
    left = _left(job, now)
    more = f'<span class="message">About {left} left</span>' if left else ""
    more += f'<p class="note">{escape(hint)}</p>' if hint else ""
    return f"<header><h3>{escape(title(job))}</h3>{badge(job)}</header>{_bar(job)}{summary}{more}"


def body(job: Job, curve: Curve, where: str, members: str = "") -> str:
    """The rest of an open job: its newest value or a sweep's members, its result, facts and command."""
    whole = f'<button type="button" data-id="{escape(job.sweep)}">the sweep</button>' if job.sweep else ""
    facts = {
        "Added": f"{_date(job.created)} by {job.owner}",
        "Started": _date(job.started),
        "Took": duration(job.finished - job.started) if job.finished and job.started else "",
        "Ran on" if job.finished else "Runs on": where,
        "Attempt": str(job.attempt) if job.attempt > 1 else "",
        "Exit code": "" if job.exit_code is None or job.state == "cancelled" else str(job.exit_code),
        "Job": job.id,
    }
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts.items() if text)
    rows += f"<dt>Part of</dt><dd>{whole}</dd>" if whole else ""
    parts = [members, _result(job.result) if job.result else _newest(curve)]
    parts += [f'<dl class="facts">{rows}</dl>', command(job.command) if job.command else ""]
    return "".join(parts)


def _newest(curve: Curve) -> str:
    if curve.last is None:
        return ""
    return f'<p class="newest">{curve.y}: <b>{decimal(curve.last)}</b></p>'


def _result(result: Mapping[str, Any]) -> str:
    """The result of a fine-tune or an evaluation, as a line or a small table."""
    scores = result.get("scores")
    if isinstance(scores, Mapping):
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{_score(str(name), score)}</td></tr>'
            for name, score in scores.items()
        )
        return f'<table class="scores"><tbody>{rows}</tbody></table>'
    if "checkpoint" in result:
        loss = f", last loss {decimal(result['loss'])}" if isinstance(result.get("loss"), float) else ""
        name, print_ = escape(result["checkpoint"]), escape(result.get("fingerprint", ""))
        return f'<p class="note">Checkpoint <b>{name}</b>, fingerprint {print_}{loss}.</p>'
    return ""


def _score(name: str, score: Any) -> str:
    if not isinstance(score, Mapping):
        return escape(score)
    mean, unscored = score.get("mean"), score.get("unscored")
    shown = mean_score(mean, metric_of(name)) if isinstance(mean, float) else mean or "unscored"
    of = f"n={score.get('n')}" + (f", {unscored} unscored" if unscored else "")
    return f"{escape(shown)} <small>{escape(of)}</small>"


def _ago(seconds: float) -> str:
    if (
        seconds < 60
    ):  # not to the second: what changes all the time cannot be read, selected or tabbed through
        return "just now"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min ago"
    return f"{seconds // 3600:.0f} h ago" if seconds < 86_400 else f"{seconds // 86_400:.0f} d ago"


def _date(when: float | None) -> str:
    return f"{datetime.fromtimestamp(when, UTC):%Y-%m-%d %H:%M} UTC" if when else ""
