"""One comparison, live or stored, and what the panes show of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from threading import Event

from pipeline.models.families import get_family
from pipeline.schema import Attempt, Column, SamplingParams
from ui import panes
from ui.lab import Lab
from ui.labels import sampling_label, task_label
from ui.markup import escape
from ui.panes import Against
from ui.stored_answers import find_stored
from ui.views import View

FORMATS = {"Markdown": "md", "JSON": "json", "HTML": "html"}
"""What a comparison can be exported as: the button, and the ending of the file."""
_EXPORT = (
    '<span class="export" role="group" aria-label="Export">Export'
    + "".join(
        f'<button type="button" class="copy" data-format="{ending}">{name}</button>'
        for name, ending in FORMATS.items()
    )
    + "</span>"
)


@dataclass
class Comparison:
    """What the panes show. The visitor's controls change it while it runs.

    Attributes:
        view: what the form asked for.
        attempts: empty while it waits.
        metrics: names of the scores that the attempts get.
        running: whether it waits, writes or scores.
        leaving: set by Stop, and by Leave.
        moved_on: what the form asks for now, where that is another view.
        runs: for stored answers, a sentence on the run of each; empty if they are live.
    """

    view: View
    show_reference: bool = False
    against: Against = "nothing"
    attempts: tuple[Attempt, ...] = ()
    metrics: Sequence[str] = ()
    running: bool = True
    leaving: Event = field(default_factory=Event)
    moved_on: View | None = None
    runs: Mapping[Column, str] = field(default_factory=dict)

    def sampling(self, lab: Lab) -> SamplingParams:
        """How the answers were written."""
        return self.view.sampling or get_family(lab.settings, self.view.family).sampling

    def draw(self, lab: Lab) -> str:
        """The name of the task and all panes, as HTML; without attempts, what to do to get some."""
        if not self.attempts:
            return panes.EMPTY
        asked = self.attempts[0].task
        how = sampling_label(self.sampling(lab))
        kind = "Stored" if self.runs else "Live"
        heading = (
            f'<header class="answers-to"><h2>{kind} answers to <code>{escape(task_label(asked))}</code></h2>'
            f"<span>{escape(how)}</span>{'' if self.running else _EXPORT}</header>"
        )
        return heading + panes.grid(
            self.attempts,
            self.show_reference,
            self.against,
            self.runs,
            stored=bool(self.runs),
            awaited=self.metrics if self.running else (),
        )

    def follow(self, view: View) -> None:
        """Remember whether the form has moved on."""
        self.moved_on = None if view == self.view else view

    def moved_message(self) -> str:
        """Say what has changed in the form since; empty where nothing has."""
        if self.moved_on is None or not self.attempts:
            return ""
        names = {
            "family": "another model family",
            "columns": "other checkpoints or prompts",
            "sample": "another task",
            "instruction": "another task",
            "context": "another task",
            "sampling": "other sampling settings",
        }
        changed = dict.fromkeys(
            name for key, name in names.items() if getattr(self.moved_on, key) != getattr(self.view, key)
        )
        return (
            f"The form has changed since these answers were written: it has {', '.join(changed)}. "
            "Press Write live for new answers."
        )


def stored_comparison(
    lab: Lab, view: View, show_reference: bool = False, against: Against = "nothing"
) -> Comparison | None:
    """The comparison that stored runs hold of a view; None if they hold no answer."""
    found = find_stored(lab, view)
    if found is None:
        return None
    return Comparison(view, show_reference, against, found.attempts, running=False, runs=found.runs)
