"""The endpoints ``/samples``, ``/datasets`` and ``/checkpoints``: what can be asked for.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

from typing import Any, TypedDict

import gradio as gr

from pipeline.data.dataset import BUILT_IN
from pipeline.data.own.store import list_own
from pipeline.evaluation.limits import check_number
from pipeline.models.checkpoints import columns as list_columns
from pipeline.models.checkpoints import list_checkpoints
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import FieldError, PromptVariant, Sample
from ui.api.endpoint import endpoint, publish
from ui.lab import Lab

_MOST_SAMPLES = 200


class SampleRow(TypedDict):
    """A test sample without its file."""

    id: str
    prompt: str
    function: str
    function_name: str
    repo: str
    file: str


class SamplePage(TypedDict):
    """One page of the samples that a search finds; ``total`` counts all of them."""

    total: int
    samples: list[SampleRow]


class DatasetRow(TypedDict):
    """A dataset; the sizes of the built-in ones are known once they are loaded, and are null here."""

    name: str
    title: str
    own: bool
    train: int | None
    test: int | None
    fingerprint: str
    notes: list[str]


class CheckpointRow(TypedDict):
    """A checkpoint, and the keys of the columns that it can answer in; ``problem`` says why it cannot.

    ``subset_size`` is 0 for the baseline and null if unknown; ``recipe`` has what is known of its training.
    """

    name: str
    subset_size: int | None
    fingerprint: str
    origin: str
    recipe: dict[str, Any]
    here: bool
    columns: list[str]
    problem: str


class ListingsApi:
    """The endpoints' functions."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab

    @endpoint
    def samples(
        self,
        query: str = "",
        limit: int = 20,
        offset: int = 0,
        variant: PromptVariant = "regular",
        family: str = DEFAULT_FAMILY,
        dataset: str = "",
    ) -> SamplePage:
        """Test samples of a dataset, a page at a time.

        Args:
            query: words to look for in name, instruction and origin; empty for every sample
            limit: at most this many, from 1 to 200
            offset: how many to skip
            variant: the prompt variant whose test split is meant
            family: model family
            dataset: its name, where it is not the family's own (see /datasets)
        """
        limit = int(check_number("limit", limit, 1, _MOST_SAMPLES, whole=True))
        if offset < 0:
            raise FieldError("offset", "must be 0 or more.")
        chosen = get_family(self.lab.settings, family, dataset)
        data = self.lab.dataset(chosen, variant, again=True).result()
        samples = data.search(query, limit, offset)
        return {"total": len(data.matches(query)), "samples": [_sample_row(sample) for sample in samples]}

    @endpoint
    def datasets(self) -> list[DatasetRow]:
        """The datasets that checkpoints can be trained and evaluated on, those of one's own included."""
        built_in: list[DatasetRow] = [
            DatasetRow(name=name, title=name, own=False, train=None, test=None, fingerprint="", notes=[])
            for name in BUILT_IN
        ]
        return built_in + [
            {
                "name": own.name,
                "title": own.title,
                "own": True,
                "train": own.train,
                "test": own.test,
                "fingerprint": own.fingerprint,
                "notes": list(own.notes),
            }
            for own in list_own(self.lab.settings)
        ]

    @endpoint
    def checkpoints(self, family: str = DEFAULT_FAMILY) -> list[CheckpointRow]:
        """A family's checkpoints as they are now.

        Args:
            family: model family
        """
        chosen = get_family(self.lab.settings, family)
        columns = list_columns(self.lab.settings, chosen)
        return [
            {
                "name": checkpoint.name,
                "subset_size": checkpoint.subset_size,
                "fingerprint": checkpoint.fingerprint,
                "origin": checkpoint.origin,
                "recipe": dict(checkpoint.recipe),
                "here": checkpoint.is_baseline or checkpoint.path is not None,
                "columns": [key for key, column in columns.items() if column.checkpoint == checkpoint],
                "problem": checkpoint.problem,
            }
            for checkpoint in list_checkpoints(self.lab.settings, chosen)
        ]


def add(lab: Lab, page: gr.Blocks) -> None:
    """Publish the endpoints of this module."""
    api = ListingsApi(lab)
    publish(page, api.samples)
    publish(page, api.datasets)
    publish(page, api.checkpoints)


def _sample_row(sample: Sample) -> SampleRow:
    return {
        "id": sample.id,
        "prompt": sample.prompt,
        "function": sample.function,
        "function_name": sample.function_name,
        "repo": sample.repo,
        "file": sample.file,
    }
