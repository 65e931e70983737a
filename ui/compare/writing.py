"""Write live and Stop: from the click to the scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

from pipeline.evaluation.limits import check_sampling, choose_columns
from pipeline.generation import check_can_run
from pipeline.models.families import get_family
from pipeline.schema import LabError
from training.jobs.admission import require_spending
from ui import panes, pieces
from ui.callbacks import IN_LINE, QUIET, in_form_words, visitor, while_read
from ui.callers import caller
from ui.compare import task
from ui.compare.comparison import Comparison, Display
from ui.compare.form import LABELS, Form, read_view
from ui.compare.output import Output, draw_panes, moved, show_controls, standing
from ui.compare.sample_place import SamplePlace, dataset, show_place
from ui.compare.task import OWN
from ui.lab import Lab, Stage
from ui.markup import escape
from ui.navigation import Updates

_REDRAW_SECONDS = 0.15  # drawing every pane at every token would take the time that tokens need
_YOUR_TURN = "The answers appear here when it is your turn."
_SOON = "The answers appear here as soon as everything is loaded."

# A disabled button loses the place of the keyboard: Stop does at the end, and Write live did at the start.
# A notice that comes above what is read stays out of sight, as a browser keeps that in its place.
_END = """() => {
  requestAnimationFrame(() => requestAnimationFrame(() => {
    const lost = [document.body, document.querySelector("#stop")].includes(document.activeElement);
    if (lost) document.querySelector("#write-live").focus({ preventScroll: true });
    document.querySelector("#notice")?.scrollIntoView({ block: "nearest" });
  }));
  return { __type__: "update", interactive: true };
}"""


def wire(lab: Lab, form: Form, out: Output) -> None:
    """Let the buttons start and stop comparisons."""

    def generate(*values: Any) -> Iterator[Updates]:
        asked, (place, source, before, *display) = values[: len(form.inputs)], values[len(form.inputs) :]
        comparison = None
        try:
            comparison = Comparison(read_view(lab.settings, *asked), Display(*display))
            for stage in while_read(_run(lab, comparison, None if source == OWN else place)):
                yield _drawn(lab, out, comparison, stage, before)
        except LabError as error:
            problem = pieces.problem(in_form_words(error, LABELS))
            # What was shown before stays: nothing is lost by a slip.
            yield {**_ended(lab, out, before), out.notice: gr.HTML(problem, visible=True)}
            return
        finally:
            if comparison:
                comparison.running = False
        ended = _ended(lab, out, comparison if comparison.attempts else before)
        yield {**ended, out.news: escape(panes.announcement(comparison.attempts))}

    asked_for = [out.generate.click, form.task.instruction.submit]
    gr.on(asked_for, None, None, js=f"() => {{ {pieces.show_on_a_phone('answers')} }}", **QUIET)
    started = gr.on(
        asked_for,
        generate,
        [*form.inputs, form.task.place, form.task.source, out.comparison, *out.display],
        [out.generate, *out.all],
        show_progress="hidden",
        trigger_mode="once",
        api_visibility="private",
        **IN_LINE,
    )
    # A busy page draws only the last of several steps, and the visitor's controls may have changed since.
    started.then(lambda comparison: draw_panes(lab, comparison), out.comparison, out.grid, **QUIET)
    started.then(None, None, out.generate, js=_END, **QUIET)

    def stop(running: Comparison | None) -> None:
        # Not Gradio's ``cancels``: the engine ends the answers itself, so that they are kept and marked.
        if running:
            running.leaving.set()

    out.stop.click(stop, out.running, None, **QUIET)


def _run(lab: Lab, comparison: Comparison, place: SamplePlace | None) -> Iterator[Stage]:
    """Take a comparison from the click to the scores; keeps its attempts up to date.

    Args:
        lab: the lab.
        comparison: a new one.
        place: where to find the sample if the view lacks it because the dataset was still loading; None
            for an own instruction.

    Raises:
        LabError: the form asks for something impossible, or no column can attempt the task.
    """
    view = comparison.view
    family = get_family(lab.settings, view.family)
    check_can_run(lab.settings, family)  # before its dataset, which may be missing too
    require_spending(lab.settings, caller(lab.settings), family)
    columns = choose_columns(lab.settings, family, view.columns)
    sampling = check_sampling(view.sampling or family.sampling)
    variants = [column.variant for column in columns]
    if place:
        loading = dataset(lab, view.family, view.dataset, variants, again=True)
        for message in loading.wait():
            yield Stage(message, ())
            if comparison.leaving.is_set():
                return
        loading.result()  # if it failed, that is why there is no sample
    if place and not view.sample:
        *_, sample = show_place(lab, view.family, view.dataset, variants, place)
        if not sample:
            raise LabError("There is no sample to compare on. Choose one, or write your own instruction.")
        view = comparison.view = replace(view, sample=sample)
    asked = task.read_task(lab, view)
    for stage in _paced(lab.compare(visitor(), family, columns, asked, sampling, comparison.leaving)):
        if any(attempt.prompt or attempt.error for attempt in stage.attempts):
            comparison.attempts, comparison.metrics = stage.attempts, stage.metrics
        yield stage


def _paced(stages: Iterator[Stage]) -> Iterator[Stage]:
    """As many of the stages as there is time to draw, and each one in which all answers are complete."""
    drawn = 0.0
    for stage in stages:
        whole = all(attempt.error or attempt.written for attempt in stage.attempts)
        if whole or time.monotonic() - drawn > _REDRAW_SECONDS:
            yield stage
            drawn = time.monotonic()


def _drawn(lab: Lab, out: Output, comparison: Comparison, stage: Stage, before: Comparison | None) -> Updates:
    """A running comparison. Each step gives all that has to hold meanwhile: a busy page skips some.

    Stored answers stay until the first live ones come.
    """
    updates = {
        out.comparison: comparison,
        out.running: comparison,
        out.generate: gr.Button(interactive=False),
        out.stop: gr.Button("Leave" if stage.waiting else "Stop", interactive=True),
        out.status: pieces.status("working", stage.message),
        out.notice: gr.HTML(visible=False),
        out.moved: moved(comparison),
        out.news: "",
    }
    if not comparison.attempts:
        if before and before.runs and before.view == comparison.view:
            return {**updates, out.grid: before.draw(lab)}
        return {**updates, out.grid: pieces.waiting(_YOUR_TURN if stage.waiting else _SOON)}
    return {**updates, **show_controls(out, comparison), out.grid: comparison.draw(lab)}


def _ended(lab: Lab, out: Output, comparison: Comparison | None) -> Updates:
    """No comparison runs any more, and this one is shown."""
    updates = {
        out.comparison: comparison,
        out.running: None,
        out.stop: gr.Button("Stop", interactive=False),
        out.moved: moved(comparison),
        out.grid: draw_panes(lab, comparison),
    }
    if comparison is None:
        return updates
    family = comparison.view.family
    return {**updates, **show_controls(out, comparison), **standing(lab, out, family, comparison)}
