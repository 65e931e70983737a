"""The Compare tab: checkpoints side by side on one task."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, field
from typing import Any

import gradio as gr

from pipeline.evaluation.attempts import compare
from pipeline.evaluation.limits import check_sampling, choose_columns
from pipeline.models.families import get_family
from pipeline.schema import DEFAULT_SEED, Attempt, Column, LabError, SamplingParams, Task
from ui import panes, pieces
from ui.callbacks import ON_MODEL, QUIET, in_form_words
from ui.compare import columns, task
from ui.compare.columns import ColumnPicker
from ui.compare.task import TaskForm
from ui.lab import Lab, Loading, Model
from ui.navigation import Navigation, Updates
from ui.views import View

_LABELS = {
    "temperature": "Temperature",
    "min_p": "Min-p",
    "max_new_tokens": "Max new tokens",
    "seed": "Seed",
    "instruction": "Instruction",
    "context": "Code of the file around it",
}
_WAITING = "The answers follow as soon as the model is loaded."
_REDRAW_SECONDS = 0.15  # drawing every pane at every token would take the time that tokens need


@dataclass(frozen=True)
class Shown:
    """What the panes show, kept for the session so that they can be drawn in another way."""

    attempts: tuple[Attempt, ...] = ()
    task: Task | None = None


@dataclass
class Running:
    """What a visitor's controls tell a comparison while it runs; each comparison has its own."""

    show_reference: bool
    against: panes.Against
    stopping: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Output:
    """The lower half of the tab. Only ``notice`` says why a comparison cannot be made."""

    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    notice: gr.HTML
    view: gr.Row
    show_reference: gr.Checkbox
    against: gr.Radio
    grid: gr.HTML
    shown: gr.State
    running: gr.State


def build(lab: Lab, page: gr.Blocks, tab: gr.Tab, navigation: Navigation) -> None:
    """The whole tab."""
    with gr.Row(equal_height=True):
        with gr.Column(scale=2, min_width=320, elem_classes="card"):
            picker = columns.build(lab.settings, page)
            decoding = _decoding(lab, picker.family)
        with gr.Column(scale=3, min_width=320, elem_classes="card"):
            form = task.build(lab, picker)
    output = _output()
    _wire_generation(lab, picker, form, decoding, output)
    _wire_view(output)
    _wire_loading(lab, picker, form, output)

    def open_view(view: View) -> Updates:
        return {
            **columns.open_columns(lab.settings, view, picker),
            **task.open_task(lab, view, form),
            **dict(zip(decoding, astuple(view.sampling), strict=True) if view.sampling else ()),
        }

    navigation.start_after(form.clock)
    navigation.add_tab("compare", open_view, [*picker.all, *form.all, *decoding])


def _decoding(lab: Lab, family: gr.Dropdown) -> list[gr.Number]:
    first = get_family(lab.settings, str(family.value))
    with gr.Accordion("Decoding settings", open=False), gr.Row():
        # Without Gradio's limits and rounding: ``check_sampling`` refuses a bad value by the field's name.
        temperature = gr.Number(0.1, label=f"{_LABELS['temperature']} (0: greedy)", min_width=190)
        min_p = gr.Number(0.1, label=_LABELS["min_p"], min_width=190)
        most = gr.Number(first.max_new_tokens, label=_LABELS["max_new_tokens"], min_width=190)
        seed = gr.Number(DEFAULT_SEED, label=_LABELS["seed"], min_width=190)
    family.change(lambda name: get_family(lab.settings, name).max_new_tokens, family, most, **QUIET)
    return [temperature, min_p, most, seed]


def _output() -> Output:
    with gr.Row(elem_classes="actions", equal_height=True):
        generate = gr.Button("Generate", variant="primary", scale=0, min_width=150)
        stop = gr.Button("Stop", scale=0, min_width=90, interactive=False)
        status = gr.HTML(elem_classes="status", min_height=24)
    notice = gr.HTML(visible=False)
    with gr.Row(elem_classes="view", equal_height=True, visible=False) as view:
        against = gr.Radio(_views(None, ()), value="nothing", label="Show", container=False)
        show_reference = gr.Checkbox(label="Show the reference", container=False, scale=0, min_width=190)
    grid = gr.HTML(panes.EMPTY, elem_id="panes")
    return Output(
        generate, stop, status, notice, view, show_reference, against, grid, gr.State(Shown()), gr.State()
    )


def _views(asked: Task | None, chosen: Sequence[Column]) -> list[tuple[str, panes.Against]]:
    """The ways in which these answers can be shown."""
    views: list[tuple[str, panes.Against]] = [("Answers as written", "nothing")]
    if asked and asked.reference is not None:
        views.append(("Difference from the reference", "the reference"))
    if len(chosen) > 1 and any(column.checkpoint.is_baseline for column in chosen):
        views.append(("Difference from the baseline", "the baseline"))
    return views


def _wire_generation(
    lab: Lab, picker: ColumnPicker, form: TaskForm, decoding: list[gr.Number], out: Output
) -> None:
    def generate(
        family_name: str, checkpoints: list[str], variants: list[str], source: str, sample_id: str,
        instruction: str, code: str, temperature: float, min_p: float, most: int, seed: int,
        show_reference: bool, against: panes.Against, shown: Shown,
    ) -> Iterator[dict[Any, Any]]:  # fmt: skip
        running, before = Running(show_reference, against), shown
        try:
            family = get_family(lab.settings, family_name)
            keys, _ = columns.column_keys(lab.settings, family, checkpoints, variants)
            chosen = choose_columns(lab.settings, family, keys)
            asked = task.read_task(lab, family_name, variants, source, sample_id, instruction, code)
            settings = check_sampling(SamplingParams(temperature, min_p, most, seed))
            loading = lab.model(family)
            views = _views(asked, chosen)
            if against not in dict(views).values():
                running.against = "nothing"
            # A busy page draws only the last of several steps: each says all that has to hold meanwhile.
            begun = {
                out.stop: gr.Button(interactive=True),
                out.running: running,
                out.notice: gr.HTML(visible=False),
            }
            yield {**begun, **_controls(out, views, running, asked), form.clock: gr.Timer(active=True)}
            for step in _steps(loading, chosen, asked, settings, running):
                if step is None:
                    yield {**begun, out.grid: pieces.waiting(_WAITING)}
                    continue
                shown = step
                yield {
                    **begun,
                    out.grid: _draw(shown, running.show_reference, running.against),
                    out.shown: shown,
                    out.view: gr.Row(visible=True),
                }
        except LabError as error:
            # What was shown before stays: nothing is lost by a slip.
            yield {
                out.notice: gr.HTML(pieces.problem(in_form_words(error, _LABELS)), visible=True),
                out.stop: gr.Button(interactive=False),
                out.shown: before,
            }
            return
        yield {
            **begun,
            **_controls(out, views, running, asked),
            out.stop: gr.Button(interactive=False),
            out.shown: shown,
            out.view: gr.Row(visible=shown.task is not None),
        }

    run = gr.on(
        [out.generate.click, form.instruction.submit],
        generate,
        [
            picker.family, picker.checkpoints, picker.variants, form.source, form.sample_id,
            form.instruction, form.code, *decoding, out.show_reference, out.against, out.shown,
        ],
        [
            out.stop, out.grid, out.shown, out.running, out.notice, out.view, out.against,
            out.show_reference, form.clock,
        ],
        show_progress="minimal",
        show_progress_on=out.status,
        trigger_mode="once",
        api_visibility="private",
        **ON_MODEL,
    )  # fmt: skip
    run.then(_draw, [out.shown, out.show_reference, out.against], out.grid, **QUIET)

    # Not Gradio's ``cancels``: the engine ends the answers itself, so that they are kept and marked.
    out.stop.click(lambda running: running and running.stopping.set(), out.running, None, **QUIET)


def _controls(
    out: Output, views: list[tuple[str, panes.Against]], running: Running, asked: Task
) -> dict[Any, Any]:
    """The ways of showing these answers."""
    return {
        out.against: gr.Radio(views, value=running.against, visible=len(views) > 1),
        out.show_reference: gr.Checkbox(visible=asked.reference is not None),
    }


def _steps(
    loading: Loading[Model], chosen: Sequence[Column], asked: Task, settings: SamplingParams, running: Running
) -> Iterator[Shown | None]:
    """What there is to show, again and again; None while the model loads."""
    for _ in loading.wait():
        if running.stopping.is_set():
            return
        yield None
    if loading.state == "ready" and not running.stopping.is_set():  # the status line says what failed
        model = loading.result()
        steps = compare(model.engine, model.scorers, chosen, asked, settings, running.stopping)
        for now in _paced(steps):
            yield Shown(tuple(now), asked)


def _paced(steps: Iterator[list[Attempt]]) -> Iterator[list[Attempt]]:
    """As many of the steps as there is time to draw, and each one in which all answers are complete."""
    drawn = 0.0
    for now in steps:
        whole = all(attempt.error or attempt.written for attempt in now)
        if whole or time.monotonic() - drawn > _REDRAW_SECONDS:
            yield now
            drawn = time.monotonic()


def _wire_view(out: Output) -> None:
    def change(shown: Shown, running: Running | None, show_reference: bool, against: panes.Against) -> str:
        if running:  # the app was not started anew under the open page
            running.show_reference, running.against = show_reference, against
        return _draw(shown, show_reference, against)

    gr.on(
        [out.show_reference.input, out.against.input],
        change,
        [out.shown, out.running, out.show_reference, out.against],
        out.grid,
        **QUIET,
    )


def _draw(shown: Shown, show_reference: bool, against: panes.Against) -> str:
    return panes.grid(shown.attempts, shown.task, show_reference, against) if shown.task else panes.EMPTY


def _wire_loading(lab: Lab, picker: ColumnPicker, form: TaskForm, out: Output) -> None:
    """While model or dataset load, the clock ticks, and each tick says how far they are."""

    def tick(family_name: str, variants: list[str], place: task.Place, sample_id: str) -> dict[Any, Any]:
        state, says = lab.status(get_family(lab.settings, family_name))
        data = task.dataset(lab, family_name, variants)
        shown: dict[Any, Any] = {out.status: pieces.status(state, says)}
        if not sample_id:
            card = task.show_place(lab, family_name, variants, place)
            shown.update(zip(form.sample_view, card, strict=True))
        if "loading" not in (state, data.state):
            shown[form.clock] = gr.Timer(active=False)
        return shown

    form.clock.tick(
        tick,
        [picker.family, picker.variants, form.place, form.sample_id],
        [out.status, *form.sample_view],
        **QUIET,
    )
    picker.family.change(lambda: gr.Timer(active=True), None, form.clock, **QUIET)
