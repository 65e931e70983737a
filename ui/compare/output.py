"""The right side of the Compare tab: Write live and Stop, the status, and the answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from pipeline.evaluation.limits import check_sampling, choose_columns
from pipeline.generation import check_can_run
from pipeline.models.families import get_family
from pipeline.schema import LabError
from ui import panes, pieces
from ui.callbacks import IN_LINE, QUIET, in_form_words, visitor, while_read
from ui.compare import task
from ui.compare.answers_file import write_file
from ui.compare.comparison import FORMATS, Comparison, stored_comparison
from ui.compare.form import LABELS, Form, read_view
from ui.compare.task import OWN, SamplePlace
from ui.downloads import Downloads, start_download
from ui.lab import Lab, Stage
from ui.markup import escape
from ui.navigation import Updates
from ui.views import View

# A screen reader says what changes in a region that was there before.
_ANNOUNCE = 'element.setAttribute("role", "status");'
_PICK_FORMAT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-format]");
  if (button) trigger("click", { ending: button.dataset.format });
});
"""
_REDRAW_SECONDS = 0.15  # drawing every pane at every token would take the time that tokens need
_YOUR_TURN = "The answers appear here when it is your turn."
_SOON = "The answers appear here as soon as everything is loaded."

_FOCUS_WRITE = """(comparison) => {
  document.querySelector("#write-live").focus({ preventScroll: true });
  return [comparison];
}"""


@dataclass(frozen=True)
class Output:
    """Its components. Only ``notice`` says why a comparison cannot be made."""

    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    notice: gr.HTML
    controls: gr.Row
    show_reference: gr.Checkbox
    against: gr.Radio
    moved: gr.HTML
    grid: gr.HTML
    file: gr.DownloadButton
    news: gr.HTML
    comparison: gr.State

    @property
    def all(self) -> list[Any]:
        """All but the button that starts a comparison."""
        own = [self.stop, self.status, self.notice, self.controls, self.show_reference, self.against]
        return [*own, self.moved, self.grid, self.news, self.comparison]

    @property
    def shown(self) -> list[Any]:
        """What ``follow`` changes."""
        return [self.comparison, self.moved, self.grid, self.controls, self.show_reference, self.against]


def build(lab: Lab, view: View) -> Output:
    """Lay the components out, with the stored answers to the view that the page opens with."""
    first = stored_comparison(lab, view)
    with gr.Row(elem_classes="actions", equal_height=True):
        generate = gr.Button("Write live", variant="primary", scale=0, min_width=150, elem_id="write-live")
        stop = gr.Button("Stop", scale=0, min_width=90, interactive=False)
        # Empty until the address is read, which may name another family.
        status = gr.HTML(elem_classes="status", min_height=38)
    notice = gr.HTML(visible=False)
    with gr.Row(elem_classes="view", equal_height=True, visible=first is not None) as controls:
        ways = panes.ways(first.attempts if first else ())
        against = gr.Radio(ways, value="nothing", label="Show", container=False)
        show_reference = gr.Checkbox(label="Show the reference", container=False, scale=0, min_width=190)
    moved = gr.HTML(visible=False, elem_classes="moved-on")
    grid = gr.HTML(_panes(lab, first), elem_id="panes", js_on_load=_PICK_FORMAT)
    file = gr.DownloadButton(visible="hidden", elem_id="compare-file")
    news = gr.HTML(elem_classes="sr", elem_id="news", js_on_load=_ANNOUNCE, padding=False)
    return Output(
        generate, stop, status, notice, controls, show_reference, against, moved, grid, file, news, gr.State()
    )  # fmt: skip


def wire(lab: Lab, form: Form, out: Output) -> None:
    """Let the buttons start and stop comparisons, and the controls change how one is shown."""

    def generate(*values: Any) -> Iterator[Updates]:
        *asked, place, source, show_reference, against, before = values
        comparison = None
        try:
            comparison = Comparison(read_view(lab.settings, *asked), show_reference, against)
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

    started = gr.on(
        [out.generate.click, form.task.instruction.submit],
        generate,
        [*form.inputs, form.task.place, form.task.source, out.show_reference, out.against, out.comparison],
        out.all,
        show_progress="hidden",
        trigger_mode="once",
        api_visibility="private",
        **IN_LINE,
    )
    # A busy page draws only the last of several steps, and the visitor's controls may have changed since.
    started.then(lambda comparison: _panes(lab, comparison), out.comparison, out.grid, **QUIET)

    def stop(comparison: Comparison | None) -> None:
        # Not Gradio's ``cancels``: the engine ends the answers itself, so that they are kept and marked.
        if comparison:
            comparison.leaving.set()

    def show(comparison: Comparison | None, show_reference: bool, against: panes.Against) -> str:
        if comparison:
            comparison.show_reference, comparison.against = show_reference, against
        return _panes(lab, comparison)

    downloads = Downloads()

    def export_answers(comparison: Comparison | None, event: gr.EventData) -> str:
        if comparison is None or event.ending not in FORMATS.values():
            raise LabError("There are no answers to export yet. Try again in a moment.")
        return write_file(lab, downloads, comparison, event.ending)

    out.grid.click(export_answers, out.comparison, out.file, **QUIET).success(
        None, js=start_download("compare-file")
    )
    # Stop is then disabled, and a disabled button would lose the place of the keyboard.
    out.stop.click(stop, out.comparison, None, js=_FOCUS_WRITE, **QUIET)
    shown = [out.comparison, out.show_reference, out.against]
    gr.on([out.show_reference.input, out.against.input], show, shown, out.grid, **QUIET)


def follow(
    lab: Lab,
    out: Output,
    view: View,
    comparison: Comparison | None,
    show_reference: bool,
    against: panes.Against,
) -> Updates:
    """The form has changed: show the stored answers to it.

    Live answers stay, with a word that the form has moved on, where none are stored, and while they are
    written.
    """
    same = comparison is not None and comparison.attempts and comparison.view == view
    stored = None if same else stored_comparison(lab, view, show_reference, against)
    live = comparison is not None and not comparison.runs
    if comparison and (same or comparison.running or (live and not stored)):
        comparison.follow(view)
        return {out.moved: moved(comparison)}
    if stored is None:
        return {
            out.comparison: None,
            out.moved: moved(None),
            out.grid: panes.EMPTY,
            out.controls: gr.Row(visible=False),
        }
    return {
        out.comparison: stored,
        out.moved: moved(stored),
        out.grid: stored.draw(lab),
        **_controls(out, stored),
    }


def standing(lab: Lab, out: Output, family: str, comparison: Comparison | None) -> Updates:
    """How a family's model stands; a running comparison says that itself."""
    if comparison and comparison.running:
        return {}
    return {out.status: pieces.status(*lab.status(get_family(lab.settings, family)))}


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
    columns = choose_columns(lab.settings, family, view.columns)
    sampling = check_sampling(view.sampling or family.sampling)
    variants = [column.variant for column in columns]
    if place:
        for message in task.dataset(lab, view.family, variants, again=True).wait():
            yield Stage(message, ())
            if comparison.leaving.is_set():
                return
    if place and not view.sample:
        *_, sample = task.show_place(lab, view.family, variants, place)
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
    return {**updates, **_controls(out, comparison), out.grid: comparison.draw(lab)}


def _ended(lab: Lab, out: Output, comparison: Comparison | None) -> Updates:
    """No comparison runs any more, and this one is shown."""
    updates = {
        out.comparison: comparison,
        out.stop: gr.Button("Stop", interactive=False),
        out.moved: moved(comparison),
        out.grid: _panes(lab, comparison),
    }
    if comparison is None:
        return updates
    family = comparison.view.family
    return {**updates, **_controls(out, comparison), **standing(lab, out, family, comparison)}


def moved(comparison: Comparison | None) -> gr.HTML:
    """A word where the form has moved on; the style sheet then greys the answers below."""
    message = comparison.moved_message() if comparison else ""
    return gr.HTML(pieces.waiting(message), visible=bool(message))


def _panes(lab: Lab, comparison: Comparison | None) -> str:
    return comparison.draw(lab) if comparison else panes.EMPTY


def _controls(out: Output, comparison: Comparison) -> Updates:
    """The ways of showing these answers."""
    ways = panes.ways(comparison.attempts)
    if comparison.against not in dict(ways).values():
        comparison.against = "nothing"
    has_reference = comparison.attempts[0].task.reference is not None
    return {
        out.controls: gr.Row(visible=len(ways) > 1 or has_reference),
        out.against: gr.Radio(ways, value=comparison.against, visible=len(ways) > 1),
        out.show_reference: gr.Checkbox(visible=has_reference),
    }
