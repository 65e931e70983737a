"""The right side of the Compare tab: the buttons, the status, and the answers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from pipeline.evaluation.votes import is_voter, new_voter
from pipeline.models.families import get_family
from pipeline.schema import LabError, counted
from ui import panes, pieces
from ui.callbacks import QUIET
from ui.compare.answers_file import write_file
from ui.compare.blind import VOTE
from ui.compare.comparison import FORMATS, Comparison, Display, stored_comparison
from ui.downloads import Downloads, start_download
from ui.gate import MAX_VOTES_EACH, Allowance
from ui.lab import Lab
from ui.navigation import Updates
from ui.views import View

# A screen reader says what changes in a region that was there before.
_ANNOUNCE = 'element.setAttribute("role", "status");'
_PICK_FORMAT = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-format]");
  if (button) trigger("click", { ending: button.dataset.format });
  if (event.target.closest("[data-stored]")) trigger("input");
});
"""
_PICK_FAMILY = """
element.addEventListener("click", (event) => {
  const button = event.target.closest("[data-family]");
  if (button) trigger("click", { family: button.dataset.family });
});
"""


@dataclass(frozen=True)
class Output:
    """Its components. Only ``notice`` says why a comparison cannot be made.

    ``running`` is what Stop ends. It is apart from ``comparison``, which a late answer to a change of the
    form may replace while the next comparison already waits.
    """

    generate: gr.Button
    stop: gr.Button
    status: gr.HTML
    notice: gr.HTML
    controls: gr.Row
    show_reference: gr.Checkbox
    against: gr.Radio
    blind: gr.Checkbox
    moved: gr.HTML
    grid: gr.HTML
    file: gr.DownloadButton
    news: gr.HTML
    comparison: gr.State
    running: gr.State

    @property
    def all(self) -> list[Any]:
        """All but the button that starts a comparison."""
        return [self.stop, self.status, self.notice, self.running, *self.shown]

    @property
    def display(self) -> list[Any]:
        """The fields of ``Display``."""
        return [self.show_reference, self.against, self.blind]

    @property
    def shown(self) -> list[Any]:
        """What ``follow`` changes."""
        return [self.comparison, self.moved, self.grid, self.news, self.controls, *self.display]


def build(lab: Lab, view: View) -> Output:
    """Lay the components out, with the stored answers to the view that the page opens with."""
    first = stored_comparison(lab, view)
    with gr.Row(elem_classes="actions", equal_height=True):
        # Not before the address is read, which may ask for something else.
        generate = gr.Button(
            "Write live",
            variant="primary",
            scale=0,
            min_width=150,
            elem_id="write-live",
            interactive=False,
        )
        stop = gr.Button("Stop", scale=0, min_width=90, elem_id="stop", interactive=False)
        # Empty until the address is read, which may name another family.
        status = gr.HTML(elem_classes="status", min_height=38, js_on_load=_PICK_FAMILY)
    notice = gr.HTML(visible=False, elem_id="notice")
    with gr.Row(elem_classes="view", equal_height=True, visible=first is not None) as controls:
        ways = panes.ways(first.attempts if first else ())
        against = gr.Radio(ways, value="nothing", label="Show", container=False)
        show_reference = gr.Checkbox(label="Show the reference", container=False, scale=0, min_width=0)
        blind = gr.Checkbox(label="Blind vote", container=False, scale=0, min_width=105)
    moved = gr.HTML(visible=False, elem_classes="moved-on")
    grid = gr.HTML(draw_panes(lab, first), elem_id="panes", js_on_load=_PICK_FORMAT + VOTE)
    file = gr.DownloadButton(visible="hidden", elem_id="compare-file")
    news = gr.HTML(elem_classes="sr", elem_id="news", js_on_load=_ANNOUNCE, padding=False)
    return Output(
        generate, stop, status, notice, controls, show_reference, against, blind, moved, grid, file, news,
        gr.State(), gr.State(),
    )  # fmt: skip


def wire(lab: Lab, out: Output, voter_state: gr.BrowserState) -> None:
    """Let the controls change how a comparison is shown, the buttons export it, and people vote on it."""
    _wire_display(lab, out)
    _wire_export(lab, out)
    _wire_vote(lab, out, voter_state)


def _wire_display(lab: Lab, out: Output) -> None:
    def show(comparison: Comparison | None, *display: Any) -> Updates:
        if comparison is None:
            return {}
        comparison.display = Display(*display)
        return {**show_controls(out, comparison), out.grid: comparison.draw(lab)}

    def show_stored(comparison: Comparison | None) -> Updates:
        if comparison is None:
            return {}
        return follow(lab, out, comparison.view, None, comparison.display)

    changes, drawn = [each.input for each in out.display], [out.grid, out.controls, *out.display]
    gr.on(changes, show, [out.comparison, *out.display], drawn, **QUIET)
    out.grid.input(show_stored, out.comparison, out.shown, **QUIET)


def _wire_export(lab: Lab, out: Output) -> None:
    downloads = Downloads()

    def export_answers(comparison: Comparison | None, event: gr.EventData) -> str:
        if comparison is None or event.ending not in FORMATS.values():
            raise LabError("There are no answers to export yet. Try again in a moment.")
        return write_file(lab, downloads, comparison, event.ending)

    exported = out.grid.click(export_answers, out.comparison, out.file, **QUIET)
    exported.success(None, js=start_download("compare-file"))


def _wire_vote(lab: Lab, out: Output, voter_state: gr.BrowserState) -> None:
    allowance = Allowance(lab.settings, MAX_VOTES_EACH, "votes")

    def vote(comparison: Comparison | None, voter: str | None, event: gr.EventData) -> Updates:
        allowance.use()
        if comparison is None:
            raise LabError("There are no answers to vote on yet. Try again in a moment.")
        known = voter if voter and is_voter(voter) else new_voter()
        comparison.vote(lab, known, event.kind, event.place, event.ranks)
        return {voter_state: known, **show_controls(out, comparison), out.grid: comparison.draw(lab)}

    drawn = [voter_state, out.grid, out.controls, *out.display]
    out.grid.submit(vote, [out.comparison, voter_state], drawn, **QUIET)


def follow(
    lab: Lab,
    out: Output,
    view: View,
    comparison: Comparison | None,
    display: Display,
) -> Updates:
    """The form has changed: show the stored answers to it.

    Live answers stay, with a word that the form has moved on, where none are stored, and while they are
    written.
    """
    same = comparison is not None and comparison.attempts and comparison.view == view
    stored = None if same else stored_comparison(lab, view, display)
    live = comparison is not None and not comparison.runs
    if comparison and (same or comparison.running or (live and not stored)):
        comparison.follow(view)
        return {out.moved: moved(comparison)}
    if stored is None:
        return {
            out.comparison: None,
            out.moved: moved(None),
            out.grid: panes.EMPTY,
            out.news: "No answers are stored for this.",
            out.controls: gr.Row(visible=False),
        }
    return {
        out.comparison: stored,
        out.moved: moved(stored),
        out.grid: stored.draw(lab),
        out.news: f"{counted(sum(1 for each in stored.attempts if each.completion), 'stored answer')} shown.",
        **show_controls(out, stored),
    }


def standing(lab: Lab, out: Output, family: str, comparison: Comparison | None) -> Updates:
    """How a family's model stands; a running comparison says that itself."""
    if comparison and comparison.running:
        return {}
    chosen = get_family(lab.settings, family)
    return {out.status: pieces.status(*lab.status(chosen), lab.ready_family(chosen))}


def moved(comparison: Comparison | None) -> gr.HTML:
    """A word where the form has moved on; the style sheet then greys the answers below."""
    message = comparison.moved_message() if comparison else ""
    return gr.HTML(pieces.waiting(message), visible=bool(message))


def draw_panes(lab: Lab, comparison: Comparison | None) -> str:
    """The panes; what to do to get some where there is no comparison."""
    return comparison.draw(lab) if comparison else panes.EMPTY


def show_controls(out: Output, comparison: Comparison) -> Updates:
    """The ways of showing these answers; a difference from the baseline would tell which one that is."""
    ways = panes.ways(comparison.attempts)
    if comparison.is_blind:
        ways = [(label, way) for label, way in ways if way in ("nothing", "the reference")]
    display = comparison.display
    if display.against not in dict(ways).values():
        display = comparison.display = replace(display, against="nothing")
    has_reference, several = comparison.attempts[0].task.reference is not None, len(comparison.attempts) > 1
    return {
        out.controls: gr.Row(visible=len(ways) > 1 or has_reference or several),
        out.against: gr.Radio(ways, value=display.against, visible=len(ways) > 1),
        out.show_reference: gr.Checkbox(visible=has_reference),
        out.blind: gr.Checkbox(visible=several),
    }
