"""The Jobs tab: forms that start jobs, the queue, and one job looked at closely."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from html import escape
from typing import Any

import gradio as gr

from pipeline.families import columns as list_columns
from pipeline.families import get_family
from pipeline.schema import LabError
from training.jobs import Job, Runner
from training.jobs.limits import may_launch, require_launch
from training.jobs.verbs import can_resume, load
from ui import jobs_api, jobs_forms, jobs_view
from ui.columns import checkpoint_choices
from ui.compare import CompareTab
from ui.events import QUIET, in_words
from ui.jobs_forms import Form
from ui.jobs_preview import preview
from ui.lab import Lab

_EVERY = 2.0  # seconds between two looks at the queue
_MOST_ROWS = 100
_FORMS = {"finetune": "Fine-tune", "evaluate": "Evaluation", "sweep": "Sweep"}
_PICK = """
element.addEventListener("click", (event) => {
  const row = event.target.closest("tr[data-id]");
  if (row) trigger("click", { id: row.dataset.id });
});
"""
_TO_THE_END = """() => setTimeout(() => {
  const log = document.querySelector("#jobs-log textarea");
  if (log) log.scrollTop = log.scrollHeight;
}, 200)"""
_NOTHING = '<p class="note">Open a job in the queue to see its log and its curve.</p>'


@dataclass(frozen=True)
class Look:
    """The components that show the queue and the open job."""

    queue: gr.HTML
    opened: gr.State
    head: gr.HTML
    body: gr.HTML
    log: gr.Textbox
    buttons: dict[str, gr.Button]

    @property
    def outputs(self) -> list[Any]:
        """All of them, in the order of ``redraw``."""
        return [self.queue, self.opened, self.head, self.body, self.log, *self.buttons.values()]


def build(lab: Lab, runner: Runner, page: gr.Blocks, tabs: gr.Tabs, compare: CompareTab) -> None:
    """The whole tab, inside the caller's ``gr.Tab("Jobs")``; it leads on to Compare and Results."""
    settings = lab.settings
    css = (settings.assets / "jobs.css").read_text(encoding="utf-8")
    gr.HTML(f"<style>{css}</style>", padding=False)
    with gr.Row(elem_classes="jobs"):
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            gr.HTML(_standing(runner))
            token = gr.Textbox(
                label="Jobs token",
                type="password",
                visible=not settings.private and bool(settings.jobs_token),
            )
            with gr.Tabs():
                made = {}
                for kind, name in _FORMS.items():
                    with gr.Tab(name):
                        made[kind] = _form(lab, runner, page, kind, name)
        with gr.Column(scale=3, min_width=320):
            look = _look()
    for form, start in made.values():
        _wire_start(runner, form, start, token, look)
    _wire_look(runner, look, page, tabs)
    _wire_actions(runner, look, token, made["evaluate"][0])
    jobs_api.add(runner, page)
    _wire_other_tabs(runner, look, tabs, compare)


def _standing(runner: Runner) -> str:
    settings = runner.settings
    place = escape(runner.backend.describe())
    where = f'<p class="note">Jobs run on {place}. They go on when this page is closed.</p>'
    if may_launch(settings, None) or settings.jobs_token:
        return where
    try:
        require_launch(settings, None)
    except LabError as error:
        return f'{where}<p class="problem">{escape(str(error))}</p>'
    return where


def _form(lab: Lab, runner: Runner, page: gr.Blocks, kind: str, name: str) -> tuple[Form, gr.Button]:
    form = jobs_forms.build(lab.settings, kind, runner.verbs)
    shown = gr.HTML(elem_classes="preview")
    start = gr.Button(f"Start {name.lower()}", variant="primary")

    def show(*values: Any) -> str:
        return preview(lab, runner, kind, form.read(values)[0])

    gr.on(
        [page.load, *(field.change for field in form.fields.values())],
        show,
        list(form.fields.values()),
        shown,
        trigger_mode="always_last",
        **QUIET,
    )
    return form, start


def _look() -> Look:
    with gr.Column(elem_classes="card"):
        queue = gr.HTML(js_on_load=_PICK, elem_id="jobs-queue")
    with gr.Column(elem_classes="card"):
        head = gr.HTML(_NOTHING, elem_id="jobs-head")
        with gr.Row(elem_classes="actions"):
            names = {
                "compare": "Open in Compare",
                "results": "Open in Results",
                "cancel": "Cancel",
                "resume": "Resume",
                "retry": "Retry",
                "delete": "Delete",
            }
            buttons = {
                key: gr.Button(text, visible=False, size="sm", scale=0, min_width=120)
                for key, text in names.items()
            }
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
    return Look(queue, gr.State(""), head, body, log, buttons)


def redraw(runner: Runner, opened: str) -> list[Any]:
    """Updates of ``Look.outputs``; what is asked for and gone gives way to the newest job that there is."""
    now = time.time()
    every = runner.list()
    top = jobs_view.in_order([job for job in every if job.sweep is None])
    shown = next((job for job in every if job.id == opened), top[0] if top else None)
    if shown is None:
        empty = [gr.Button(visible=False) for _ in range(6)]
        return [jobs_view.queue([], "", now), "", _NOTHING, "", gr.Textbox(visible=False), *empty]
    row = shown.sweep or shown.id
    members = [job for job in reversed(every) if job.sweep == shown.id]
    where = (
        runner.backend.describe()
        if shown.backend == runner.backend.name
        else f"another backend ({shown.backend})"
    )
    log = runner.logs(shown.id) if shown.kind != "sweep" else ""
    return [
        jobs_view.queue(top[:_MOST_ROWS], row, now),
        shown.id,
        jobs_view.head(shown),
        jobs_view.body(shown, members, runner.progress(shown.id), where, now),
        gr.Textbox(log, visible=bool(log)),
        *(gr.Button(visible=yes) for yes in _possible(runner, shown).values()),
    ]


def _possible(runner: Runner, job: Job) -> dict[str, bool]:
    """Which of the buttons make sense, in their order."""
    ended_badly = job.state in ("failed", "cancelled", "interrupted")
    done = job.state == "succeeded"
    resumable = job.kind == "sweep" or can_resume(load(job.kind, runner.verbs))
    return {
        "compare": done and job.kind == "finetune",
        "results": done and job.kind in ("evaluate", "sweep"),
        "cancel": job.active and job.cancelled_at is None,
        "resume": ended_badly and resumable,
        "retry": ended_badly and job.kind != "sweep",
        "delete": not job.active,
    }


def _wire_start(runner: Runner, form: Form, start: gr.Button, token: gr.Textbox, look: Look) -> None:
    def submit(request: gr.Request, token: str, *values: Any) -> list[Any]:
        arguments, secrets = form.read(values)
        with in_words():
            require_launch(runner.settings, token)
            began = time.time()
            job = runner.submit(form.kind, arguments, owner=_who(request), secrets=secrets)
        if job.created < began:
            gr.Info("The same work waits or runs already: it is opened here, and nothing was added.")
        elif job.state == "succeeded":
            gr.Info("Nothing was missing: every checkpoint and run of this sweep is there.")
        return redraw(runner, job.id)

    start.click(submit, [token, *form.inputs], look.outputs, **QUIET).then(None, js=_TO_THE_END)


def _who(request: gr.Request) -> str:
    """The signed-in user's name, else the machine that asks; empty (the server's own user) on this one."""
    host = request.client.host if request.client else ""
    return request.username or ("" if host in ("127.0.0.1", "::1") else host)


def _wire_look(runner: Runner, look: Look, page: gr.Blocks, tabs: gr.Tabs) -> None:
    def refresh(opened: str) -> list[Any]:
        return redraw(runner, opened)

    def open_row(event: gr.EventData) -> list[Any]:
        return redraw(runner, str(event.id))

    timer = gr.Timer(_EVERY, active=False)
    timer.tick(refresh, look.opened, look.outputs, trigger_mode="once", **QUIET)
    page.load(refresh, look.opened, look.outputs, **QUIET).then(None, js=_TO_THE_END)
    for table in (look.queue, look.body):
        table.click(open_row, None, look.outputs, **QUIET).then(None, js=_TO_THE_END)

    def watch(event: gr.SelectData) -> gr.Timer:
        return gr.Timer(active=event.value == "Jobs")  # nobody looks at it in another tab

    entered = tabs.select(watch, None, timer, **QUIET)
    entered.then(refresh, look.opened, look.outputs, **QUIET).then(None, js=_TO_THE_END)


def _wire_other_tabs(runner: Runner, look: Look, tabs: gr.Tabs, compare: CompareTab) -> None:
    def open_in_compare(opened: str) -> tuple[Any, ...]:
        """The checkpoint beside the baseline, under the variant that it was trained under."""
        with in_words():
            job = runner.status(opened)
            family = get_family(runner.settings, str(job.arguments["family"]))
            made = str((job.result or {})["checkpoint"])
            columns = list_columns(runner.settings, family).values()
            column = next((one for one in columns if one.checkpoint.name == made), None)
            if column is None:
                raise LabError(f"The checkpoint {made} is not there any more.")
        choices, _ = checkpoint_choices(runner.settings, family)
        chosen = gr.CheckboxGroup(choices, value=["baseline", column.key.partition("/")[0]])
        return gr.Tabs(selected="compare"), family.name, chosen, [column.variant]

    picker = compare.picker
    outputs = [tabs, picker.family, picker.checkpoints, picker.variants]
    look.buttons["compare"].click(open_in_compare, look.opened, outputs, **QUIET)
    look.buttons["results"].click(lambda: gr.Tabs(selected="results"), None, tabs, **QUIET)


def _wire_actions(runner: Runner, look: Look, token: gr.Textbox, evaluate: Form) -> None:
    def act(work: Callable[[str, dict[str, str]], object], token: str, opened: str, key: str) -> list[Any]:
        with in_words():
            require_launch(runner.settings, token)
            work(opened, {"OPENAI_API_KEY": key.strip()} if key else {})
        return redraw(runner, opened)

    works: dict[str, Callable[[str, dict[str, str]], object]] = {
        "cancel": lambda job_id, _: runner.cancel(job_id),
        "resume": lambda job_id, secrets: runner.again(job_id, True, secrets),
        "retry": lambda job_id, secrets: runner.again(job_id, False, secrets),
        "delete": lambda job_id, _: runner.delete(job_id),
    }
    key: Sequence[Any] = [evaluate.key] if evaluate.key else [gr.State("")]
    for name, work in works.items():
        look.buttons[name].click(partial(act, work), [token, look.opened, *key], look.outputs, **QUIET)
