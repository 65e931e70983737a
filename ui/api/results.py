"""The endpoint ``/results``.

No ``from __future__ import annotations`` here: Gradio reads the types as they stand.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypedDict

import gradio as gr

from ui.api.endpoint import endpoint, publish

if TYPE_CHECKING:
    from ui.results.presenter import Presenter


class SetupRow(TypedDict):
    """An evaluation set-up with its metrics, the axes of its curve, and the keys of its columns."""

    key: str
    label: str
    metrics: list[str]
    axes: list[str]
    columns: list[str]


class Results(TypedDict):
    """One metric in one set-up, and a list of all set-ups; null stands where there is no number.

    Attributes:
        points: each training-set size, or value of the axis, with its score and 95% interval.
        pairs: every tested pair, with p after Holm's correction.
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
    def results(setup: str = "", metric: str = "", left_out: list[str] = [], axis: str = "") -> Results:  # noqa: B006
        """Results of the stored runs: scores by training-set size, tested pairs, and sentences about them.

        Args:
            setup: key of an evaluation set-up; empty for the one with the most runs
            metric: a metric of that set-up; empty for its first
            left_out: ids of samples to leave out of every figure
            axis: one of the set-up's axes, such as learning_rate or checkpoint; empty for subset_size
        """
        return presenter().results(setup, metric, left_out, axis)  # type: ignore[return-value]

    publish(page, results)
