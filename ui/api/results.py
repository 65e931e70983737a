"""The ``/results`` endpoint.

No ``from __future__ import annotations``: Gradio reads the types as they stand.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

import gradio as gr

from ui.api.endpoint import endpoint, publish

if TYPE_CHECKING:
    from ui.results.presenter import Presenter


class SetupRow(TypedDict):
    """An evaluation set-up: its key, what it is, the metrics and checkpoints that it has."""

    key: str
    label: str
    metrics: list[str]
    columns: list[str]


class Results(TypedDict):
    """One metric in one set-up, and which other set-ups there are; null stands for a figure not to be had.

    points: each training-set size with its score and 95% interval. pairs: every tested pair, p after Holm.
    """

    setups: list[SetupRow]
    setup: str
    label: str
    metric: str
    higher_is_better: bool
    headline: str
    steps: list[str]
    caveats: list[str]
    points: list[dict[str, Any]]
    pairs: list[dict[str, Any]]
    fits: dict[str, Any]
    published: list[dict[str, Any]]


def add(presenter: "Callable[[], Presenter]", page: gr.Blocks) -> None:
    """Publish the endpoint."""

    @endpoint
    def results(setup: str = "", metric: str = "", left_out: list[str] = []) -> Results:  # noqa: B006
        """What the stored runs say: scores by training-set size, tested pairs, and plain sentences.

        Args:
            setup: key of an evaluation set-up; empty for the one with the most runs
            metric: a metric of that set-up; empty for its first
            left_out: ids of samples to leave out of every figure
        """
        return presenter().results(setup, metric, left_out)  # type: ignore[return-value]

    publish(page, results)
