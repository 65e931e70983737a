"""The Results tab's fields for its choices: what they offer, and what they show at first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gradio as gr

from pipeline.analysis import Setup
from pipeline.analysis.setups import Axis
from pipeline.scoring.likelihood import BITS_PER_BYTE
from ui.labels import AXIS_WORDS


def field(choices: Sequence[Any], given: str | None, value: str | None, **more: Any) -> gr.Dropdown:
    """A field that shows a value, which is set only if another one was given.

    Else an answer that comes late would take back what was chosen meanwhile.
    """
    shown: dict[str, Any] = {} if value == given else {"value": value}
    return gr.Dropdown(choices, **shown, **more)


def chosen(metric: str, metrics: Sequence[str]) -> Any:
    """A metric's field set to one that a view names; left as it is without one that there is."""
    return gr.Dropdown(metrics, value=metric) if metric in metrics else gr.skip()


def metric_of_setup(metric: str | None, setup: Setup) -> str:
    """The metric, or the first one of a set-up that does not have it: the set-up may be chosen just now."""
    return metric if metric in setup.metrics else setup.metrics[0]


def said_instead(asked: str | None, metric: str, asked_axis: str, axis: Axis) -> str:
    """What is shown in place of a chosen metric or axis that the set-up lacks; empty if both are there."""
    said = []
    if asked and asked != metric:
        said.append(f"No run of this set-up has {asked[:80]}: {metric} is shown.")
    if asked_axis and asked_axis != axis:
        along = AXIS_WORDS[axis]
        said.append(f"Its checkpoints do not differ in {_axis_words(asked_axis)}: they stand along {along}.")
    return " ".join(said)


def _axis_words(name: str) -> str:
    return next((words for axis, words in AXIS_WORDS.items() if axis == name), name[:80])


def axis_of(name: str, setup: Setup) -> Axis:
    """An axis by name; the training-set size where the checkpoints of the set-up do not differ along it."""
    return next((axis for axis in setup.axes if axis == name), "subset_size")


def other_kind(metric: str, metrics: list[str]) -> str:
    """The metric to compare with at first: (Code)BERTScore for a judge, else a judge or chrF.

    Not the reference's likelihood where there is a choice, which says nothing of the output.
    """
    others = [name for name in metrics if name.split()[0] != metric.split()[0]]
    written = [name for name in others if name != BITS_PER_BYTE]
    return next(iter(written or others or metrics))
