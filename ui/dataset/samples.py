"""Test samples of a dataset as HTML: a page of them, one of them whole, and the stored answers to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.data.dataset import Dataset
from pipeline.generation.prompts import context_around
from pipeline.models.families import get_family
from pipeline.schema import PromptVariant, Sample
from ui import markup, panes, pieces
from ui.choices import first_columns
from ui.lab import Lab
from ui.markup import escape
from ui.stored_answers import find_stored
from ui.views import View

PAGE = 10
"""Samples of a page."""
_AROUND = 15  # lines of the file shown on each side of the function


@dataclass(frozen=True)
class ListPage:
    """A page of the samples that a search finds.

    Attributes:
        html: a list of buttons.
        offset: place of its first sample among what is found.
        before: whether there is a page before it.
        after: whether there is one after it.
    """

    html: str
    offset: int = 0
    before: bool = False
    after: bool = False


def list_page(data: Dataset, matches: Sequence[int], at: int = 0, opened: str = "") -> ListPage:
    """The page with the place ``at`` among the matches, or the nearest one; the open sample is marked."""
    if not matches:
        return ListPage(pieces.note("No test sample matches this search."))
    offset = min(max(0, at), len(matches) - 1) // PAGE * PAGE
    end = min(offset + PAGE, len(matches))
    count = f"{offset + 1:,} to {end:,} of {len(matches):,} test samples"
    items = "".join(_row(data.test[index], opened) for index in matches[offset:end])
    html = f'{pieces.note(count)}{_notes(data.notes)}<ul class="rows">{items}</ul>'
    return ListPage(html, offset, offset > 0, end < len(matches))


def _notes(notes: Sequence[str]) -> str:
    """What a reader should know of the dataset, folded where it is much."""
    texts = "".join(map(pieces.note, notes))
    if len(notes) < 3:
        return texts
    return f"<details><summary>{len(notes)} notes on this dataset</summary>{texts}</details>"


def _row(sample: Sample, opened: str) -> str:
    current = ' aria-current="true"' if sample.id == opened else ""
    return (
        f'<li><button type="button" data-id="{escape(sample.id)}"{current}>'
        f"<b>{escape(sample.function_name)}</b><span>{markup.prose(sample.prompt)}</span></button></li>"
    )


def show_sample(sample: Sample) -> str:
    """A sample whole: what is asked, the function, and the file around it, where there is one."""
    return (
        pieces.sample_card(sample, f"{len(sample.function):,} characters")
        + '<h4 class="part">Function</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(sample.function)}</pre>'
        + (_in_its_file(sample) if sample.full_code != sample.function else "")
    )


def _in_its_file(sample: Sample) -> str:
    context = context_around(sample.full_code, sample.function)
    before, after = context.before.splitlines(), context.after.splitlines()
    left_out = max(0, len(before) - _AROUND) + max(0, len(after) - _AROUND)
    note = f" ({left_out:,} lines further away are not shown)" if left_out else ""
    return (
        f'<h4 class="part">Its file{note}</h4>'
        + f'<pre class="code" tabindex="0">{markup.python(chr(10).join(before[-_AROUND:]))}'
        + '<mark class="hole">the function stands here</mark>'
        + f"{markup.python(chr(10).join(after[:_AROUND]))}</pre>"
    )


def stored_answers(lab: Lab, dataset: str, family: str, variant: PromptVariant, sample: str) -> str:
    """What stored runs have of a sample, as panes; a note where they have nothing."""
    chosen = get_family(lab.settings, family)
    view = View("compare", family, dataset, first_columns(lab.settings, chosen, variant), sample)
    found = find_stored(lab, view)
    if found is None:
        return pieces.note("No stored run has answers to this sample. Compare has them written live.")
    heading = f'<h4 class="part">Stored answers of {escape(chosen.title)}</h4>'
    return heading + panes.grid(found.attempts, runs=found.runs, stored=True)
