"""The test sample that Compare shows: where it is in the dataset, its card, and the ways to another one."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.models.families import get_family
from pipeline.schema import LabError, PromptVariant, Sample
from pipeline.settings import Settings
from ui import pieces
from ui.compare.examples import read_examples
from ui.lab import Lab, Loading
from ui.markup import escape

if TYPE_CHECKING:
    from pipeline.data.dataset import Dataset

SampleView = tuple[str, "SamplePlace", str]
"""Values for ``TaskForm.sample_view``."""
MOVES: dict[str, Callable[[int, int], int]] = {
    "Previous": lambda at, _: at - 1,
    "Next": lambda at, _: at + 1,
    "Random": lambda _, most: random.randrange(most),
}
"""Buttons that go to another sample: from a position to one that is brought into range.

Random stays below the second number.
"""


@dataclass(frozen=True)
class SamplePlace:
    """Where one is among the test samples: a search, and the position in what it finds.

    Without a search, ``sample`` can stand for the position: the id of a sample to go to once the dataset is
    loaded.
    """

    query: str = ""
    offset: int = 0
    sample: str = ""


def first_place(settings: Settings, family: str, name: str) -> SamplePlace:
    """An example of the family, or the first sample of a dataset that has none."""
    examples = [] if name else read_examples(settings, family)
    return SamplePlace(sample=next((each.sample for each in examples), ""))


def dataset(
    lab: Lab, family: str, name: str, variants: Sequence[str], again: bool = False
) -> Loading[Dataset]:
    """A dataset as the prompt variants see it: the narrower view as soon as one needs it.

    Args:
        lab: the lab.
        family: whose dataset, where ``name`` is empty.
        name: of another dataset.
        variants: the chosen prompt variants.
        again: whether to try once more where loading it failed.
    """
    variant: PromptVariant = "augmented" if "augmented" in variants else "regular"
    return lab.dataset(get_family(lab.settings, family, name), variant, again)


def move(
    lab: Lab, family: str, name: str, variants: Sequence[str], place: SamplePlace, step: str
) -> SamplePlace:
    """The place that one of the buttons leads to; Random prefers samples with stored answers."""
    if place.sample:  # its position was not known before the dataset was loaded
        _, place, _ = show_place(lab, family, name, variants, place)
    data, _ = _samples(lab, family, name, variants)
    most = 0
    if data:
        found, stored = _listed(lab, family, data, place.query)
        most = stored or len(found)
    return SamplePlace(place.query, MOVES[step](place.offset, max(1, most)))


def _samples(lab: Lab, family: str, name: str, variants: Sequence[str]) -> tuple[Dataset | None, str]:
    """The dataset, and why these variants do not have it: what another one has loaded stays in view."""
    loading = dataset(lab, family, name, variants)
    if loading.state == "ready":
        return loading.result(), ""
    other = None if loading.state == "loading" else lab.loaded_dataset(get_family(lab.settings, family, name))
    return other, loading.message


def _listed(lab: Lab, family: str, data: Dataset, query: str) -> tuple[list[int], int]:
    """Indices of the samples that a search finds, those with stored answers first, and how many these are."""
    ids, answered = data.test.ids, lab.stored.sample_ids(family)
    found = sorted(data.matches(query), key=lambda index: ids[index] not in answered)
    return found, sum(ids[index] in answered for index in found)


def show_place(
    lab: Lab, family: str, name: str, variants: Sequence[str], place: SamplePlace, again: bool = False
) -> SampleView:
    """The sample at a place: as a card, the place in range, and its id, empty where there is no sample.

    ``again`` tries once more to load a dataset that could not be loaded.
    """
    loading = dataset(lab, family, name, variants, again)
    if loading.state != "ready" and (card := stored_card(lab, family, place)):
        return card, place, place.sample
    if loading.state == "loading":
        return pieces.waiting(loading.message), place, ""
    data, why = _samples(lab, family, name, variants)
    problem = pieces.problem(why) if why else ""
    if data is None:
        return problem, SamplePlace(place.query, place.offset), ""
    found, _ = _listed(lab, family, data, place.query)
    try:
        offset = found.index(data.test_place(place.sample)) if place.sample else place.offset
    except LabError as error:
        return pieces.problem(str(error)), SamplePlace(place.query, place.offset), ""
    if not found:
        return f'<p class="note">No test sample matches “{escape(place.query)}”.</p>', place, ""
    place = SamplePlace(place.query, offset % len(found))
    sample = data.test[found[place.offset]]
    card = pieces.sample_card(sample, f"{place.offset + 1:,} of {len(found):,}")
    return f"{problem}{card}", place, sample.id


def stored_card(lab: Lab, family: str, place: SamplePlace) -> str:
    """The card of a sample that stored runs hold, for as long as the dataset is not loaded; else empty."""
    asked = lab.stored.task(family, place.sample) if place.sample else None
    if asked is None or asked.problem:
        return ""
    path, _, name = place.sample.rpartition("::")
    file = path.removeprefix(f"{asked.repo}/")
    return pieces.sample_card(
        Sample(place.sample, asked.instruction, asked.reference or "", name, "", 0, asked.repo, file)
    )
