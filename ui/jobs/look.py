"""The queue and the open job: the components, and their contents."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gradio as gr

from pipeline.schema import LabError
from training.jobs import Job, Runner
from training.jobs.admission import Caller, jobs_are_on, require_look
from ui import asking
from ui.jobs import job_html
from ui.jobs import sweep_grid as jobs_sweep
from ui.jobs.curve import Curve, curve_of, plot
from ui.markup import escape

_MOST_ROWS = 100
Drawn = tuple[str, Curve]
"""The open job's id, and the curve that the page shows of it."""
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("[data-id]");
  if (!row) return;
  labViews.set("job", row.dataset.id);
  trigger("click", { id: row.dataset.id });
});
"""
_BUTTONS = {
    "compare": "Open in Compare",
    "evaluate": "Evaluate it",
    "results": "Open in Results",
    "cancel": "Cancel",
    "resume": "Resume",
    "retry": "Retry",
    "delete": "Delete",
}


@dataclass(frozen=True)
class Look:
    """The components that show the queue and the open job; ``ended`` is how many jobs have ended."""

    queue: gr.HTML
    card: gr.Column
    opened: gr.State
    head: gr.HTML
    curve: gr.LinePlot
    drawn: gr.State
    ended: gr.State
    body: gr.HTML
    log: gr.Textbox
    buttons: dict[str, gr.Button]
    sure: gr.Row
    yes: gr.Button
    no: gr.Button

    @property
    def outputs(self) -> list[Any]:
        """All of them, in the order of ``redraw``."""
        shown = [self.queue, self.opened, self.ended, self.card, self.head, self.curve, self.drawn]
        return [*shown, self.body, self.log, *self.buttons.values()]


def build() -> Look:
    """Lay them out: the queue, and below it the open job."""
    with gr.Column(elem_classes="card"):
        queue = gr.HTML(js_on_load=_PICK, elem_id="jobs-queue")
    with gr.Column(elem_classes="card", visible=False) as card:
        head = gr.HTML(elem_id="jobs-head")
        with gr.Row(elem_classes="actions"):
            buttons = {key: gr.Button(text, visible=False, **asking.SMALL) for key, text in _BUTTONS.items()}
        sure, yes, no = asking.layout("Delete this job and its log?")
        curve = plot()
        body = gr.HTML(js_on_load=_PICK, elem_id="jobs-body")
        log = gr.Textbox(
            label="Log",
            lines=12,
            max_lines=18,
            interactive=False,
            elem_classes="mono",
            visible=False,
            elem_id="jobs-log",
        )
    opened, drawn, ended = gr.State(""), gr.State(None), gr.State(0)
    return Look(queue, card, opened, head, curve, drawn, ended, body, log, buttons, sure, yes, no)


def redraw(runner: Runner, by: Caller, opened: str, drawn: Drawn | None = None) -> list[Any]:
    """Updates of ``Look.outputs``.

    Args:
        runner: of the jobs.
        by: who looks.
        opened: id of the job to show; the newest is shown where that one is gone.
        drawn: the curve that the page shows, which is not sent again: it would flicker.
    """
    now = time.time()
    empty = [
        gr.Column(visible=False),
        "",
        plot(),
        None,
        "",
        gr.Textbox(visible=False),
        *(gr.Button(visible=False) for _ in _BUTTONS),
    ]
    try:
        require_look(runner.settings, by)
        every = runner.list()
    except LabError as error:
        return [f'<p class="problem" role="status">{escape(error)}</p>', opened, 0, *empty]
    top = job_html.in_order([job for job in every if job.sweep is None])
    shown = next((job for job in every if job.id == opened), top[0] if top else None)
    if shown is None:
        return [job_html.queue([], "", now), "", 0, *empty]
    curve = curve_of(runner.progress(shown.id))
    current = (shown.id, curve)
    members = [job for job in reversed(every) if job.sweep == shown.id]
    log = runner.logs(shown.id) if shown.kind != "sweep" else ""
    can = possible(runner, shown)
    return [
        job_html.queue(top[:_MOST_ROWS], shown.sweep or shown.id, now),
        shown.id,
        sum(not job.active for job in every),
        gr.Column(visible=True),
        job_html.head(shown, now, _hint(shown, can)),
        gr.skip() if current == drawn else plot(curve),
        current,
        job_html.body(shown, curve, _where(runner, shown), jobs_sweep.grid(members, now) if members else ""),
        gr.Textbox(log, visible=bool(log)),
        *(gr.Button(visible=can[key]) for key in _BUTTONS),
    ]


def _where(runner: Runner, job: Job) -> str:
    if job.backend == "local":
        return f"this machine, {job.slot}" if job.slot and job.slot.startswith("gpu") else "this machine"
    place = runner.backend.describe() if job.backend == runner.backend.name else f"{job.backend} (not in use)"
    return f"{place}, as {job.slot}" if job.slot else place


def _hint(job: Job, can: Mapping[str, bool]) -> str:
    if not can["resume"]:
        return ""
    if job.kind == "sweep":
        return "Resume runs what is still missing, and nothing else."
    return "Resume continues from what was saved; Retry starts from the beginning."


def possible(runner: Runner, job: Job) -> dict[str, bool]:
    """Which of the buttons make sense."""
    ended_badly = job.state in ("failed", "cancelled", "interrupted")
    done, allowed = job.state == "succeeded", jobs_are_on(runner.settings)
    return {
        "compare": done and job.kind == "finetune",
        "evaluate": done and job.kind == "finetune" and allowed,
        "results": done and job.kind in ("evaluate", "sweep"),
        "cancel": job.active and job.cancelled_at is None and allowed,
        "resume": ended_badly and runner.can_resume(job.kind) and allowed,
        "retry": ended_badly and job.kind != "sweep" and allowed,
        "delete": not job.active and allowed,
    }
