"""The curve of a metric as an SVG image: for pages that are to be small and need no scripts."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from pipeline.analysis import Analysis, Point
from ui.labels import axis_title, condition_label
from ui.markup import escape
from ui.numbers import mean_score
from ui.results.charts import LOOK, ChartAxis, ListAxis, axis_of

_WIDTH, _HEIGHT = 760, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
_TICKS = 5
_DASHES = {"solid": "", "dash": "8 5", "longdash": "14 6"}


def curve(analysis: Analysis) -> str:
    """Score along the axis with 95% intervals, a line for each prompt variant."""
    points = [point for point in analysis.points if point.n]
    if not points:
        return ""
    axis = axis_of(analysis)
    scale = _Scale(axis, points)
    marks = scale.grid(analysis)
    for at, variant in enumerate(analysis.variants):
        own = [point for point in points if point.variant == variant]
        if own:
            marks += scale.line(analysis, own, at)
    title = f"{analysis.metric.name}: {axis_title(analysis.axis)}"
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}" '
        f'style="width: 100%; max-width: {_WIDTH}px; font: 12px system-ui, sans-serif">{marks}</svg>'
    )


class _Scale:
    """From sizes and scores to places on the image."""

    def __init__(self, axis: ChartAxis, points: Sequence[Point]) -> None:
        self.axis = axis
        places, _ = axis.ticks()
        self._first, self._last = min(places), max(places) * 1.1 + 0.1
        low, high = min(point.low for point in points), max(point.high for point in points)
        room = (high - low or 1) * 0.06
        self.low, self.high = low - room, high + room

    def x(self, place: float) -> float:
        """Of a place on the axis."""
        if isinstance(self.axis, ListAxis):
            share = (place - self._first) / (self._last - self._first)
        else:
            share = log(place / self._first) / log(self._last / self._first)
        return round(_LEFT + 12 + share * (_WIDTH - _LEFT - _RIGHT - 24), 1)

    def y(self, score: float) -> float:
        """Of a score."""
        share = (score - self.low) / (self.high - self.low)
        return round(_HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM), 1)

    def grid(self, analysis: Analysis) -> str:
        """Lines with numbers, and the sizes below."""
        marks = ""
        for tick in range(_TICKS):
            score = self.low + (self.high - self.low) * tick / (_TICKS - 1)
            y = self.y(score)
            marks += (
                f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#dfe4ea"/>'
                f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end" fill="currentColor">'
                f"{mean_score(score, analysis.metric)}</text>"
            )
        for place, name in zip(*self.axis.ticks(), strict=True):
            marks += (
                f'<text x="{self.x(place)}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle" '
                f'fill="currentColor">{name}</text>'
            )
        middle = (_LEFT + _WIDTH - _RIGHT) / 2
        return marks + (
            f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle" fill="currentColor">'
            f"{escape(axis_title(analysis.axis))}</text>"
        )

    def line(self, analysis: Analysis, points: Sequence[Point], at: int) -> str:
        """A prompt variant's points with intervals, and its name in the legend."""
        variant = points[0].variant
        color, _, dash = LOOK[variant]
        style = f'stroke="{color}" stroke-width="2" fill="none" stroke-dasharray="{_DASHES[dash]}"'
        beside = variant if len(analysis.variants) > 1 else None
        xs = [self.x(self.axis.place(point.x, beside)) for point in points]
        path = " ".join(f"{x},{self.y(point.value)}" for x, point in zip(xs, points, strict=True))
        start = _LEFT + 12 + at * 150
        marks = (
            f'<polyline points="{path}" {style}/>'
            f'<line x1="{start}" x2="{start + 26}" y1="14" y2="14" {style}/>'
            f'<text x="{start + 32}" y="18" fill="currentColor">{escape(variant.capitalize())} prompt</text>'
        )
        for x, point in zip(xs, points, strict=True):
            said = (
                f"{condition_label(point)}: {mean_score(point.value, analysis.metric)} "
                f"({mean_score(point.low, analysis.metric)} to {mean_score(point.high, analysis.metric)})"
            )
            marks += (
                f'<line x1="{x}" x2="{x}" y1="{self.y(point.low)}" y2="{self.y(point.high)}" '
                f'stroke="{color}" stroke-width="1.4"/><circle cx="{x}" cy="{self.y(point.value)}" r="4.5" '
                f'fill="{color}"><title>{escape(said)}</title></circle>'
            )
        return marks
