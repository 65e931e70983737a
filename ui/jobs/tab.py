"""The Jobs tab: forms that start jobs, the queue, and one job in detail."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import gradio as gr

from pipeline.data.own.store import find_own
from pipeline.evaluation.datasets import check_dataset
from pipeline.models.checkpoints import columns
from pipeline.models.families import get_family
from pipeline.schema import BASELINE, LabError
from pipeline.settings import Settings
from training.jobs import Runner
from training.jobs.admission import Caller, jobs_are_on, require_launch, require_look
from ui import asking, pieces
from ui.callbacks import QUIET, inform
from ui.callers import caller
from ui.choices import family_choices
from ui.jobs import forms as jobs_forms
from ui.jobs import look as jobs_look
from ui.jobs import saved
from ui.jobs.forms import VerbForm
from ui.jobs.look import Drawn, Look, redraw
from ui.jobs.preview import preview
from ui.lab import Lab
from ui.markup import escape
from ui.navigation import Navigation, Updates
from ui.views import View, to_query

_STRANGER = "a visitor with the token"  # whose address is not stored
_FIRST_SAMPLES = 1_000
"""The most training samples that the form is filled in with for a dataset of the user's."""
_EVERY = 2.0  # seconds between two looks at the queue
_FORMS = {
    "finetune": ("Fine-tune", "Start fine-tuning"),
    "evaluate": ("Evaluate", "Start evaluation"),
    "sweep": ("Sweep", "Start sweep"),
    "add_base_model": ("Base model", "Try it and add it"),
}
"""The tab and the button of each form."""
_TOKEN_INFO = {
    True: "Needed only if you are not on the machine that this app runs on.",
    False: "It allows you to see, start and stop jobs. Ask the person who runs this server for it.",
}
"""By whether the app listens to its own machine only."""
_TO_THE_JOB = """() => document.querySelector("#jobs-head").scrollIntoView({ block: "nearest" })"""
# A log follows its end, unless somebody has scrolled up to read.
_FOLLOW = """() => setTimeout(() => {
  const log = document.querySelector("#jobs-log textarea");
  if (!log) return;
  // Only what moves up is somebody reading: the log also grows between our own scrolling and its event.
  log.onscroll = () => {
    if (log.scrollHeight - log.scrollTop - log.clientHeight <= 40) log.reading = false;
    else if (log.scrollTop < log.before) log.reading = true;
    log.before = log.scrollTop;
  };
  if (!log.reading) log.scrollTop = log.scrollHeight;
}, 200)"""
_TO_THE_END = _FOLLOW.replace("if (!log.reading)", "log.reading = false;")


def build(lab: Lab, runner: Runner, page: gr.Blocks, tab: gr.Tab, navigation: Navigation) -> None:
    """The whole tab; it leads on to Compare and Results."""
    settings = lab.settings
    pieces.tab_heading("Jobs")
    with gr.Row(elem_classes="jobs"):
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            gr.HTML(_standing(runner))
            if settings.space_owner:
                gr.LoginButton(size="md")
            token = gr.Textbox(
                label="Jobs token",
                info=_TOKEN_INFO[settings.private],
                type="password",
                visible=bool(settings.jobs_token),
            )
            with gr.Tabs(overflow_behavior="wrap") as kinds:
                made, opened = {}, []
                for kind, (name, _) in ((kind, _FORMS[kind]) for kind in _FORMS if kind in runner.verbs):
                    with gr.Tab(name, id=kind, elem_id=f"jobs-{kind}") as form_tab:
                        opened.append(form_tab.select)
                        made[kind] = _form(lab, runner, kind)
                        saved.wire(runner, made[kind][0], token)
        with gr.Column(scale=3, min_width=320):
            look = jobs_look.build()
    _refresh_choices(settings, [tab.select, look.ended.change, *opened], [form for form, *_ in made.values()])
    for form_opened, (form, shown, start) in zip(opened, made.values(), strict=True):
        _keep_fresh(lab, runner, form, shown, [page.load, form_opened], look.ended.change)
        _wire_start(runner, form, start, token, look)
    _wire_look(runner, look, token, tab, navigation)
    _wire_actions(runner, look, token, [form.key for form, *_ in made.values() if form.key])
    _wire_evaluate(runner, look, token, kinds, made["evaluate"][0])
    _wire_links(runner, look, token, navigation)

    training = made["finetune"][0].fields

    def open_view(view: View) -> Updates:
        """Open a job; a dataset of the user's fills in the form of a fine-tune on it."""
        updates = dict(zip(look.outputs, redraw(runner, caller(settings), view.job), strict=True))
        if view.job and updates[look.opened] != view.job:
            instead = " The newest one is shown." if updates[look.opened] else ""
            inform(f"There is no job {view.job[:40]}.{instead}")
        if not view.dataset:
            return updates
        check_dataset(settings, view.dataset)
        own = find_own(settings, view.dataset)
        return {
            **updates,
            kinds: gr.Tabs(selected="finetune"),
            training["dataset"]: gr.Dropdown(
                jobs_forms.dataset_choices(settings), value=own.name if own else ""
            ),
            training["subset_size"]: min(own.train, _FIRST_SAMPLES) if own else gr.skip(),
        }

    filled = [kinds, training["dataset"], training["subset_size"]]
    navigation.add_tab("jobs", open_view, [*look.outputs, *filled])
    look.opened.change(
        lambda opened: to_query(View("jobs", job=opened)), look.opened, navigation.address(), **QUIET
    )


def _standing(runner: Runner) -> str:
    place = escape(runner.backend.describe())
    notes = f'<p class="note">Jobs run on {place}. They continue when this page is closed.</p>'
    if not jobs_are_on(runner.settings):
        try:
            require_launch(runner.settings, Caller(local=False))
        except LabError as error:
            notes += f'<p class="problem">{escape(error)}</p>'
    return notes


def _form(lab: Lab, runner: Runner, kind: str) -> tuple[VerbForm, gr.HTML, gr.Button]:
    form = jobs_forms.build(lab.settings, kind, runner.verb(kind))
    shown = gr.HTML(elem_classes="preview")
    start = gr.Button(_FORMS[kind][1], variant="primary", interactive=jobs_are_on(runner.settings))
    return form, shown, start


def _keep_fresh(
    lab: Lab, runner: Runner, form: VerbForm, shown: gr.HTML, events: Sequence[Any], ended: Any
) -> None:
    """Show the form's preview and choices again at these events, and when a job has ended."""

    def show(*values: Any) -> str:
        return preview(lab, runner, form.kind, *form.read(values))

    triggers = [*events, *(component.change for component in form.inputs)]
    gr.on(triggers, show, form.inputs, shown, trigger_mode="always_last", **QUIET)
    # Of the callbacks of one event at most one may wait as "always_last" does, and every form hears this one.
    ended(show, form.inputs, shown, trigger_mode="multiple", **QUIET)
    _follow_family(lab.settings, form, [*events, ended])


def _follow_family(settings: Settings, form: VerbForm, events: Sequence[Any]) -> None:
    """Show what the chosen family has: its usual recipe in a fine-tune's form, its checkpoints elsewhere."""
    if form.kind == "finetune":
        names = [name for name in jobs_forms.OF_RECIPE if name in form.fields]

        def show_usual(family: str) -> list[gr.Textbox]:
            usual = jobs_forms.usual_values(settings, family)
            return [gr.Textbox(placeholder=usual[name]) for name in names]

        family = form.fields["family"]
        family.change(show_usual, family, [form.fields[name] for name in names], trigger_mode="once", **QUIET)
    if form.kind == "evaluate":
        family, checkpoint = form.fields["family"], form.fields["checkpoint"]

        def list_checkpoints(name: str) -> gr.Dropdown:
            return gr.Dropdown(jobs_forms.evaluable(settings, name))

        gr.on([*events, family.change], list_checkpoints, family, checkpoint, **QUIET)
        # Only the user's own choice of a family: what fills the form in brings its checkpoint.
        family.input(lambda: BASELINE, None, checkpoint, **QUIET)


def _refresh_choices(settings: Settings, events: Sequence[Any], forms: Sequence[VerbForm]) -> None:
    """List families and datasets again at these events: some may have been added since, by a job too."""
    families, datasets = (
        [form.fields[name] for form in forms if name in form.fields] for name in ("family", "dataset")
    )

    def list_choices() -> list[gr.Dropdown]:
        return [
            *(gr.Dropdown(family_choices(settings)) for _ in families),
            *(gr.Dropdown(jobs_forms.dataset_choices(settings)) for _ in datasets),
        ]

    gr.on(list(events), list_choices, None, [*families, *datasets], **QUIET)


def _wire_start(runner: Runner, form: VerbForm, start: gr.Button, token: gr.Textbox, look: Look) -> None:
    def submit(token: str, *values: Any) -> list[Any]:
        arguments, secrets = form.read(values)
        by = caller(runner.settings, token)
        require_launch(runner.settings, by)
        began = time.time()
        with jobs_forms.labelled(form.kind):
            job = runner.submit(form.kind, arguments, "" if by.local else _STRANGER, secrets)
        if job.created < began:
            inform("The same job is already waiting or running. It is opened here; nothing was added.")
        elif job.state == "succeeded":
            inform("Nothing was missing: every checkpoint and run of this sweep is there.")
        return redraw(runner, by, job.id)

    started = start.click(submit, [token, *form.inputs], look.outputs, **QUIET)
    started.success(None, js=_TO_THE_JOB).then(None, js=_TO_THE_END)


def _wire_look(runner: Runner, look: Look, token: gr.Textbox, tab: gr.Tab, navigation: Navigation) -> None:
    def refresh(token: str, opened: str, drawn: Drawn | None) -> list[Any]:
        return redraw(runner, caller(runner.settings, token), opened, drawn)

    def open_row(event: gr.EventData, token: str) -> list[Any]:
        return redraw(runner, caller(runner.settings, token), str(event.id))

    shown = [token, look.opened, look.drawn]
    timer = gr.Timer(_EVERY, active=False)
    tick = timer.tick(refresh, shown, look.outputs, trigger_mode="once", **QUIET)
    tick.then(None, js=_FOLLOW)
    for table in (look.queue, look.body):
        table.click(open_row, token, look.outputs, **QUIET).then(None, js=_TO_THE_END)

    navigation.run_in(tab, timer)
    tab.select(refresh, shown, look.outputs, **QUIET).then(None, js=_FOLLOW)


def _wire_links(runner: Runner, look: Look, token: gr.Textbox, navigation: Navigation) -> None:
    def in_compare(token: str, opened: str) -> View:
        """The checkpoint beside the baseline, under the variant that it was trained under."""
        require_look(runner.settings, caller(runner.settings, token))
        job = runner.status(opened)
        family = get_family(runner.settings, str(job.arguments["family"]))
        made = str((job.result or {})["checkpoint"])
        every = columns(runner.settings, family)
        trained = next((key for key, column in every.items() if column.checkpoint.name == made), None)
        if trained is None:
            raise LabError(f"The checkpoint {made} is not there any more.")
        chosen = (f"baseline/{every[trained].variant}", trained)
        return View("compare", family.name, str(job.arguments.get("dataset") or ""), chosen)

    def in_results(token: str, opened: str) -> View:
        """The set-up of the run that the job made; of a sweep, of the last one."""
        require_look(runner.settings, caller(runner.settings, token))
        jobs = [runner.status(opened), *runner.list(sweep=opened)]
        made = [job.result or {} for job in jobs]
        return View("results", run=next((str(result["run"]) for result in made if "run" in result), ""))

    navigation.add_link(look.buttons["compare"].click, in_compare, [token, look.opened])
    navigation.add_link(look.buttons["results"].click, in_results, [token, look.opened])


def _wire_evaluate(runner: Runner, look: Look, token: gr.Textbox, kinds: gr.Tabs, evaluate: VerbForm) -> None:
    names = ("family", "dataset", "checkpoint", "prompt")

    def fill_in(token: str, opened: str) -> list[Any]:
        """The evaluation's form, filled in for the checkpoint that a fine-tune has made."""
        require_look(runner.settings, caller(runner.settings, token))
        job = runner.status(opened)
        family, made = str(job.arguments["family"]), str((job.result or {})["checkpoint"])
        choices = jobs_forms.evaluable(runner.settings, family)
        dataset = job.arguments.get("dataset") or ""
        filled = [family, dataset, gr.Dropdown(choices, value=made), job.arguments["prompt"]]
        return [gr.Tabs(selected="evaluate"), *filled]

    outputs = [kinds, *(evaluate.fields[name] for name in names)]
    look.buttons["evaluate"].click(fill_in, [token, look.opened], outputs, **QUIET)


def _wire_actions(runner: Runner, look: Look, token: gr.Textbox, keys: Sequence[gr.Textbox]) -> None:
    def act(work: Callable[[str, dict[str, str]], object], token: str, opened: str, *given: str) -> list[Any]:
        key = next((one.strip() for one in given if one and one.strip()), "")
        by = caller(runner.settings, token)
        require_launch(runner.settings, by)
        work(opened, {"OPENAI_API_KEY": key} if key else {})
        return redraw(runner, by, opened)

    def delete(job_id: str, _: dict[str, str]) -> None:
        runner.delete(job_id)
        inform("The job and its log are deleted. Its checkpoints and runs are kept.")

    works: dict[str, Callable[[str, dict[str, str]], object]] = {
        "cancel": lambda job_id, _: runner.cancel(job_id),
        "resume": lambda job_id, secrets: runner.again(job_id, True, secrets),
        "retry": lambda job_id, secrets: runner.again(job_id, False, secrets),
        "delete": delete,
    }
    given = [token, look.opened, *keys]
    for name in ("cancel", "resume", "retry"):
        look.buttons[name].click(partial(act, works[name]), given, look.outputs, **QUIET)
    look.yes.click(partial(act, works["delete"]), given, look.outputs, **QUIET)
    # Another job that is opened meanwhile is not the one that was asked about.
    leave = (look.yes.click, look.no.click, look.queue.click, look.body.click)
    asking.wire(look.buttons["delete"], look.sure, *leave)
