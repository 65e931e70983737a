"""One comparison, live or stored, and what the panes show of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from typing import Any

from pipeline.evaluation.votes import Ballot
from pipeline.models.families import get_family
from pipeline.schema import Attempt, Column, LabError, SamplingParams, listed
from ui import panes, pieces
from ui.compare import blind
from ui.compare.against_stored import other_scores
from ui.lab import Lab
from ui.labels import sampling_label, task_label
from ui.markup import escape
from ui.panes import Against
from ui.stored_answers import StoredAnswers, find_stored
from ui.views import View, fits_address, to_query

FORMATS = {"Markdown": "md", "JSON": "json", "HTML": "html"}
"""What a comparison can be exported as: the button, and the ending of the file."""
_WRITTEN_ANEW = "A link to this task and its settings. It holds no live answers: they are written anew."
_TOO_LONG = "The instruction and its code are too long for a link: export the answers instead."


@dataclass(frozen=True)
class Display:
    """How answers are shown, by the controls above them."""

    show_reference: bool = False
    against: Against = "nothing"
    blind: bool = False


@dataclass
class Comparison:
    """What the panes show. The visitor's controls change it while it runs.

    Attributes:
        view: what the form asked for.
        display: how the answers are shown.
        attempts: empty while it waits.
        metrics: names of the scores that the attempts get.
        running: whether it waits, writes or scores.
        leaving: set by Stop, and by Leave.
        moved_on: what the form asks for now, where that is another view.
        runs: for stored answers, a sentence on the run of each; empty if they are live.
        shuffle: fixes the order of a blind comparison.
        ballot: the visitor's vote; it ends the blindness.
    """

    view: View
    display: Display = Display()
    attempts: tuple[Attempt, ...] = ()
    metrics: Sequence[str] = ()
    running: bool = True
    leaving: Event = field(default_factory=Event)
    moved_on: View | None = None
    runs: Mapping[Column, str] = field(default_factory=dict)
    shuffle: int = field(default_factory=blind.new_shuffle)
    ballot: Ballot | None = None

    @property
    def candidates(self) -> list[list[Attempt]]:
        """The answers as a blind comparison shows them."""
        return blind.candidates(self.attempts, self.shuffle, self.running)

    @property
    def is_blind(self) -> bool:
        """Whether names and scores are hidden: until the vote, where there is something to vote on."""
        return self.display.blind and self.ballot is None and (self.running or len(self.candidates) > 1)

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
        live = not self.runs and not self.running and not self.is_blind
        stored = find_stored(lab, self.view) if live else None
        sharing = "" if self.running or self.is_blind else self._sharing(lab, stored)
        heading = (
            f'<header class="answers-to"><h2>{kind} answers to <code>{escape(task_label(asked))}</code></h2>'
            f"<span>{escape(how)}</span>{sharing}</header>"
        )
        return heading + (self._draw_blind() if self.is_blind else self._draw_named(stored))

    def _draw_blind(self) -> str:
        groups = self.candidates
        answers = {f"Answer {blind.letter(at)}": group[0] for at, group in enumerate(groups)}
        bar = "" if self.running else blind.ballot_html(len(groups))
        return bar + panes.blind_grid(answers, self.display.show_reference, self.display.against)

    def _draw_named(self, stored: StoredAnswers | None) -> str:
        said, notes = "", other_scores(self.attempts, stored.attempts if stored else ())
        if self.ballot:
            groups = self.candidates
            said = blind.revealed(self.ballot, blind.shown_names(groups))
            places = {each.column: at for at, group in enumerate(groups) for each in group}
            notes = {
                column: f"Shown as {blind.letter(at)}. {notes.get(column, '')}".strip()
                for column, at in places.items()
            }
        elif self.display.blind:
            said = pieces.note(blind.NOTHING_TO_VOTE_ON)
        return said + panes.grid(
            self.attempts,
            self.display.show_reference,
            self.display.against,
            notes,
            stored=bool(self.runs),
            runs=self.runs,
            awaited=self.metrics if self.running else (),
        )

    def vote(self, lab: Lab, voter: str, kind: Any, place: Any, ranks: Any) -> None:
        """Store the visitor's vote, and end the blindness.

        Raises:
            LabError: there is nothing to vote on, or the vote cannot be stored.
        """
        if self.running or not self.is_blind:
            raise LabError(
                "There is nothing to vote on. Switch Blind vote on, and show two complete answers."
            )
        sampling = self.sampling(lab)
        ballot = blind.cast(voter, self.candidates, sampling, bool(self.runs), kind, place, ranks)
        lab.votes.add(ballot)
        self.ballot = ballot

    def _sharing(self, lab: Lab, stored: StoredAnswers | None) -> str:
        """Buttons that copy a link to this comparison and export it. The link names the sampling, too."""
        view = replace(self.view, sampling=self.sampling(lab))
        where = f'data-link="?{escape(to_query(view))}"'
        hint = "" if self.runs else f' title="{_WRITTEN_ANEW}"'
        link = f"{where}{hint}" if fits_address(view) else f'disabled title="{_TOO_LONG}"'
        formats = "".join(
            f'<button type="button" class="copy" data-format="{ending}">{name}</button>'
            for name, ending in FORMATS.items()
        )
        back = ""
        if stored:
            back = '<button type="button" class="copy" data-stored>Show the stored answers</button>'
        return (
            f'<span class="export">{back}<button type="button" class="copy" {link}>Copy link</button>'
            f'<span role="group" aria-label="Export">Export{formats}</span></span>'
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
            "dataset": "another task",
            "sample": "another task",
            "instruction": "another task",
            "context": "another task",
            "sampling": "other sampling settings",
        }
        changed = dict.fromkeys(
            name for key, name in names.items() if getattr(self.moved_on, key) != getattr(self.view, key)
        )
        now = listed(list(changed))
        if self.running:
            return (
                f"You have changed the form since you pressed Write live: it has {now}. These "
                "answers are still to what it was; press Stop to end them."
            )
        return (
            f"The form has changed since these answers were written: it has {now}. "
            "Press Write live for new answers."
        )


def stored_comparison(lab: Lab, view: View, display: Display = Display()) -> Comparison | None:
    """The comparison that stored runs hold of a view; None if they hold no answer."""
    found = find_stored(lab, view)
    if found is None:
        return None
    return Comparison(view, display, found.attempts, running=False, runs=found.runs)
