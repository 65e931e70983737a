"""A sweep at a glance: sizes down, variants and seeds across, a mark for each fine-tune and evaluation."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.schema import VARIANTS, PromptVariant, percent_done
from training.jobs import Job
from ui.jobs import job_html
from ui.labels import size_text
from ui.markup import escape

_LETTERS = {"finetune": "F", "evaluate": "E"}
_MOST_ROWS = 12


def grid(members: Sequence[Job], now: float) -> str:
    """The sweep's jobs as a grid whose marks open them, then those that run or ended badly, with reasons."""
    cells: dict[tuple[str, tuple[PromptVariant, int]], list[Job]] = {}
    for job in members:
        cells.setdefault((_size(job), _column(job, members)), []).append(job)
    sizes = list(dict.fromkeys(size for size, _ in cells))
    across = sorted({column for _, column in cells}, key=lambda one: (VARIANTS.index(one[0]), one[1]))
    heads = "".join(f'<th scope="col">{escape(variant)}<br>seed {seed}</th>' for variant, seed in across)
    rows = "".join(
        f'<tr><th scope="row">{escape(size)}</th>'
        + "".join(f"<td>{''.join(map(_mark, cells.get((size, column), [])))}</td>" for column in across)
        + "</tr>"
        for size in sizes
    )
    table = f'<table class="sweep"><thead><tr><th scope="col">Samples</th>{heads}</tr></thead>{rows}</table>'
    note = '<p class="note">F is a fine-tune, E its evaluation. Press one to open it.</p>'
    loud = [job for job in members if job.state not in ("queued", "succeeded")][:_MOST_ROWS]
    return f'<div class="wide">{table}</div>{note}' + (job_html.queue(loud, "", now) if loud else "")


def _size(job: Job) -> str:
    return size_text(job.arguments["subset_size"])


def _column(job: Job, members: Sequence[Job]) -> tuple[PromptVariant, int]:
    """Variant and training seed; the baseline has none, and stands with the first."""
    seed = _seed(job)
    if _size(job) == "baseline":
        seed = min((_seed(one) for one in members if _size(one) != "baseline"), default=seed)
    return job.arguments["prompt"], seed


def _seed(job: Job) -> int:
    return int(job.arguments["training_seed" if job.kind == "evaluate" else "seed"])


def _mark(job: Job) -> str:
    share = f" {percent_done(job.progress)}%" if job.state == "running" else ""
    label = escape(f"{job_html.title(job)}: {job.state}{share}. {job.reason or ''}".strip())
    return (
        f'<button type="button" class="state {escape(job.state)}" data-id="{escape(job.id)}" title="{label}" '
        f'aria-label="{label}"><span class="dot"></span>{_LETTERS.get(job.kind, "")}</button>'
    )
