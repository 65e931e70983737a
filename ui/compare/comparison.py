"""One comparison of a visitor's: what it shows, and its steps from the click to the scores."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from threading import Event

from pipeline.evaluation.limits import check_sampling, choose_columns
from pipeline.models.families import get_family
from pipeline.schema import Attempt, LabError
from ui import panes
from ui.callbacks import visitor
from ui.compare import task
from ui.compare.form import default_sampling
from ui.compare.task import Place
from ui.lab import Lab, Stage
from ui.labels import sampling_label, task_label
from ui.markup import escape
from ui.panes import Against
from ui.views import View

_REDRAW_SECONDS = 0.15  # drawing every pane at every token would take the time that tokens need


@dataclass
class Comparison:
    """What the panes show. The visitor's controls change it while it runs.

    Attributes:
        view: what the form asked for.
        attempts: empty while it waits.
        running: whether it waits, writes or scores.
        leaving: set by Stop, and by Leave.
        moved_on: what the form asks for now, where that is another view.
    """

    view: View
    show_reference: bool = False
    against: Against = "nothing"
    attempts: tuple[Attempt, ...] = ()
    running: bool = True
    leaving: Event = field(default_factory=Event)
    moved_on: View | None = None

    def draw(self, lab: Lab) -> str:
        """The name of the task and all panes, as HTML; without attempts, what to do to get some."""
        if not self.attempts:
            return panes.EMPTY
        asked = self.attempts[0].task
        sampling = self.view.sampling or default_sampling(get_family(lab.settings, self.view.family))
        heading = (
            f'<header class="answers-to"><h2>Answers to <code>{escape(task_label(asked))}</code></h2>'
            f"<span>{escape(sampling_label(sampling))}</span></header>"
        )
        return heading + panes.grid(self.attempts, self.show_reference, self.against)

    def follow(self, view: View) -> None:
        """Remember whether the form has moved on."""
        self.moved_on = None if view == self.view else view

    def moved_message(self) -> str:
        """Say what has changed in the form since; empty where nothing has."""
        if self.moved_on is None or not self.attempts:
            return ""
        names = {
            "family": "model family",
            "columns": "checkpoints or prompts",
            "sample": "sample",
            "instruction": "instruction",
            "context": "code around it",
            "sampling": "decoding settings",
        }
        changed = [
            name for key, name in names.items() if getattr(self.moved_on, key) != getattr(self.view, key)
        ]
        return (
            f"The form has changed since these answers were written ({', '.join(changed)}). "
            "Press Generate to get new ones."
        )


def run(lab: Lab, comparison: Comparison, place: Place | None) -> Iterator[Stage]:
    """Take a comparison from the click to the scores; keeps its attempts up to date.

    Args:
        lab: the lab.
        comparison: a new one.
        place: where to find the sample that the view lacks because the dataset was still loading; None for
            an own instruction.

    Raises:
        LabError: the form asks for something impossible, or no column can attempt the task.
    """
    view = comparison.view
    family = get_family(lab.settings, view.family)
    columns = choose_columns(lab.settings, family, view.columns)
    sampling = check_sampling(view.sampling or default_sampling(family))
    if place and not view.sample:
        variants = [column.variant for column in columns]
        for message in task.dataset(lab, view.family, variants, again=True).wait():
            yield Stage(message, ())
            if comparison.leaving.is_set():
                return
        *_, sample = task.show_place(lab, view.family, variants, place)
        if not sample:
            raise LabError("There is no sample to compare on. Choose one, or write an own instruction.")
        view = comparison.view = replace(view, sample=sample)
    asked = task.read_task(lab, view)
    for stage in _paced(lab.compare(visitor(), family, columns, asked, sampling, comparison.leaving)):
        if any(attempt.prompt or attempt.error for attempt in stage.attempts):
            comparison.attempts = stage.attempts
        yield stage


def _paced(stages: Iterator[Stage]) -> Iterator[Stage]:
    """As many of the stages as there is time to draw, and each one in which all answers are complete."""
    drawn = 0.0
    for stage in stages:
        whole = all(attempt.error or attempt.written for attempt in stage.attempts)
        if whole or time.monotonic() - drawn > _REDRAW_SECONDS:
            yield stage
            drawn = time.monotonic()
