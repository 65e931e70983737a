"""The curve of an open job: its loss by step, or the mean score of what it has scored so far."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import gradio as gr
import pandas as pd

_HEIGHT = 220  # pixels


@dataclass(frozen=True, slots=True)
class Curve:
    """Points to draw; ``x`` and ``y`` name the axes."""

    x: str
    y: str
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float | None:
        """The newest value, None before there is one."""
        return self.points[-1][1] if self.points else None


def curve_of(reports: Sequence[Mapping[str, Any]]) -> Curve:
    """What a job's reports draw: losses if there are any, else scores; without values that are no numbers."""
    name = "loss" if any("loss" in report for report in reports) else "score"
    steps = any("step" in report for report in reports)
    places = [report.get("step") if steps else 100 * report["fraction"] for report in reports]
    points = [
        (float(place), float(report[name]))
        for place, report in zip(places, reports, strict=True)
        if _is_number(place) and _is_number(report.get(name))
    ]
    return Curve("Step" if steps else "Percent done", name.capitalize(), tuple(points))


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def plot(curve: Curve | None = None) -> gr.LinePlot:
    """The component, or an update of it; hidden before there are two points."""
    if curve is None or len(curve.points) < 2:
        return gr.LinePlot(visible=False, elem_id="jobs-curve")
    frame = pd.DataFrame(curve.points, columns=[curve.x, curve.y])
    return gr.LinePlot(
        frame,
        x=curve.x,
        y=curve.y,
        height=_HEIGHT,
        visible=True,
        show_label=False,
        elem_id="jobs-curve",
    )
