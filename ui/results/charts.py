"""The charts: numbers on hover, and colors, markers and dashes that color-blind readers can distinguish.

Backgrounds are transparent, and the page's style sheet gives the text its theme's color.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import plotly.graph_objects as go

from pipeline.analysis import Analysis, Point
from pipeline.analysis.reported import Reported
from pipeline.schema import PromptVariant
from pipeline.scoring import Metric
from ui.labels import axis_title, condition_label, place_name, size_label
from ui.markup import escape
from ui.numbers import mean_score

# Okabe and Ito's palette (jfly.uni-koeln.de/color).
LOOK: dict[str, tuple[str, str, str]] = {
    "regular": ("#0072B2", "circle", "solid"),
    "augmented": ("#D55E00", "square", "dash"),
    "chat": ("#56B4E9", "triangle-up", "longdash"),
    "CodeJudge": ("#009E73", "diamond", "dot"),
    "CodeBERTScore": ("#CC79A7", "cross", "dashdot"),
}
_FONT = '"IBM Plex Sans", system-ui, sans-serif'  # the page's
_NEUTRAL, _GRID, _CLEAR = "#7a8594", "rgba(128,138,152,0.28)", "rgba(0,0,0,0)"
_NO_BUTTONS = ("zoom", "pan", "select", "lasso", "zoomin", "zoomout", "autoscale", "resetscale")
SIDE_BY_SIDE: dict[PromptVariant, float] = {"regular": 0.98, "augmented": 1.02, "chat": 1.06}
"""Keeps the intervals of the variants apart on the log axis."""
_BESIDE = 0.09  # single seeds stand right of their mean, whose figures could not be pointed at otherwise


def curve(analysis: Analysis, published: Sequence[Reported] = ()) -> go.Figure:
    """Score along the axis with intervals and fits, and published figures of the same metric by size."""
    figure = go.Figure()
    if analysis.axis != "subset_size":
        published = ()
    axis = axis_of(analysis, [n for each in published for n, _ in each.points])
    for variant in analysis.variants:
        _add_points(figure, analysis, variant, axis)
        _add_fit(figure, analysis, variant)
    for each in published:
        _add_published(figure, each, axis, f"{each.metric}, published")
    direction = "" if analysis.metric.higher_is_better else " (lower is better)"
    figure = _finish(figure, axis, escape(f"{analysis.metric.name}{direction}"))
    if analysis.metric.places > 1:
        figure.update_yaxes(tickformat=".2f")  # else .7 stands above .65
    return figure


def reported_curve(published: Sequence[Reported]) -> go.Figure:
    """The published series alone, for a metric that they cannot be compared with."""
    figure = go.Figure()
    axis = SizeAxis([size for each in published for size, _ in each.points])
    for each in published:
        _add_published(figure, each, axis, each.metric)
    title = f"<b>Reported, not measured here</b><br>{escape(published[0].title).replace('; ', '<br>')}"
    legend = {"text": title, "side": "top", "font": {"size": 13}}
    return _finish(figure, axis, "Score").update_layout(legend_title=legend)


class ChartAxis:
    """A log axis with the baseline at a place of its own, left of a break.

    Args:
        names: of the values, by value; 0 is the baseline.
        title: of the axis.
    """

    def __init__(self, names: Mapping[float, str], title: str) -> None:
        self.values = sorted(value for value in names if value)
        self.baseline = self.values[0] / 3 if self.values else 1.0
        self.has_baseline = 0 in names
        self._names, self._title = names, title

    def place(self, value: float, variant: PromptVariant | None = None) -> float:
        """Where a value stands on the axis; the variants stand a little apart."""
        return (value or self.baseline) * (SIDE_BY_SIDE[variant] if variant else 1.0)

    def beside(self, place: float) -> float:
        """Right of a place, where single seeds stand."""
        return place * (1 + _BESIDE)

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and names of the ticks."""
        values = [0, *self.values] if self.has_baseline else self.values
        return [self.place(value) for value in values], [self._names[value] for value in values]

    def apply(self, figure: go.Figure) -> None:
        """Give the figure this axis, with a line where it breaks."""
        places, names = self.ticks()
        figure.update_xaxes(type="log", tickvals=places, ticktext=names, title_text=self._title)
        if self.has_baseline and self.values:
            at = (self.baseline * self.values[0]) ** 0.5
            figure.add_vline(at, line={"dash": "dot", "color": _GRID})
            # Of a log axis, Plotly takes the logarithm for an annotation, and the value for a line.
            figure.add_annotation(
                text="log scale →", x=math.log10(at), y=1, yref="paper", showarrow=False,
                xanchor="left", yanchor="top", font={"size": 11},
            )  # fmt: skip


class SizeAxis(ChartAxis):
    """The axis of training-set sizes."""

    def __init__(self, sizes: Iterable[float]) -> None:
        super().__init__({size: size_label(int(size)) for size in sizes}, axis_title("subset_size"))


class ListAxis(ChartAxis):
    """Checkpoints in a row, by their places in the list."""

    def place(self, value: float, variant: PromptVariant | None = None) -> float:
        """Where a checkpoint stands; the variants of the baseline stand a little apart."""
        return value + (3 * (SIDE_BY_SIDE[variant] - 1) if variant else 0.0)

    def beside(self, place: float) -> float:
        """Right of a place, where single seeds stand."""
        return place + _BESIDE

    def apply(self, figure: go.Figure) -> None:
        """Give the figure this axis."""
        places, names = self.ticks()
        figure.update_xaxes(tickvals=places, ticktext=names, title_text=self._title)


def axis_of(analysis: Analysis, more_sizes: Iterable[int] = ()) -> ChartAxis:
    """The axis that the analysis runs along; ``more_sizes`` are those of published figures."""
    if analysis.axis == "subset_size":
        return SizeAxis([*(point.x for point in analysis.points), *more_sizes])
    kind = ListAxis if analysis.axis == "checkpoint" else ChartAxis
    names = {point.x: escape(place_name(point)) for point in analysis.points}
    return kind(names, axis_title(analysis.axis))


def _add_points(figure: go.Figure, analysis: Analysis, variant: PromptVariant, axis: ChartAxis) -> None:
    color, symbol, dash = LOOK[variant]
    points = [point for point in analysis.curve(variant) if point.n]
    beside = variant if len(analysis.variants) > 1 else None
    figure.add_scatter(
        x=[axis.place(point.x, beside) for point in points],
        y=[point.value for point in points],
        error_y={
            "type": "data",
            "array": [point.high - point.value for point in points],
            "arrayminus": [point.value - point.low for point in points],
            "thickness": 1.4,
            "width": 5,
        },
        mode="markers" if analysis.axis == "checkpoint" else "lines+markers",
        name=escape(f"{variant.capitalize()} prompt"),
        legendgroup=variant,
        line={"color": color, "dash": dash, "width": 2},
        marker={"symbol": symbol, "size": 9},
        customdata=[_hover(point, analysis.metric) for point in points],
        hovertemplate="%{customdata}<extra></extra>",
    )
    seeds = [
        (point, seed, value) for point in points if len(point.by_seed) > 1 for seed, value in point.by_seed
    ]
    if seeds:
        figure.add_scatter(
            x=[axis.beside(axis.place(point.x, beside)) for point, _, _ in seeds],
            y=[value for _, _, value in seeds],
            mode="markers",
            name=escape(f"Training seeds, {variant}"),
            legendgroup=variant,
            marker={"symbol": f"{symbol}-open", "size": 6, "color": color},
            customdata=[
                _lines(f"{condition_label(point)}, training seed {seed}", mean_score(value, analysis.metric))
                for point, seed, value in seeds
            ],
            hovertemplate="%{customdata}<extra></extra>",
        )


def _hover(point: Point, metric: Metric) -> str:
    lines = [
        f"{condition_label(point)}",
        f"{mean_score(point.value, metric)} (95% interval {mean_score(point.low, metric)} "
        f"to {mean_score(point.high, metric)})",
        f"{point.n:,} samples, {point.unscored:,} outputs unscored",
        f"{point.truncated:.0%} of the outputs cut off at the token limit",
    ]
    if len(point.by_seed) > 1:
        lines.append(f"mean of {len(point.by_seed)} training seeds")
    return _lines(*lines, bold=True)


def _lines(*lines: str, bold: bool = False) -> str:
    """Text on several lines for Plotly, which renders some HTML; the first line in bold where asked for."""
    first, *others = map(escape, lines)
    return "<br>".join([f"<b>{first}</b>" if bold else first, *others])


def _add_fit(figure: go.Figure, analysis: Analysis, variant: PromptVariant) -> None:
    fit = analysis.fits.get(variant)
    if fit is None:
        return
    color = LOOK[variant][0]
    shown = fit.sizes > 0
    x, low, high = fit.sizes[shown], fit.low[shown], fit.high[shown]
    noise = "all noise" if fit.training_noise else "evaluation noise"
    figure.add_scatter(
        x=[*x, *x[::-1]],
        y=[*high, *low[::-1]],
        fill="toself",
        fillcolor=f"rgba({int(color[1:3], 16)},{int(color[3:5], 16)},{int(color[5:], 16)},0.13)",
        line={"width": 0},
        mode="lines",
        name=escape(f"Fit, {variant} ({noise})"),
        legendgroup=variant,
        legendrank=2_000,  # behind what was measured
        hoverinfo="skip",
    )
    figure.add_scatter(
        x=x,
        y=fit.curve[shown],
        mode="lines",
        line={"color": color, "width": 1, "dash": "dot"},
        legendgroup=variant,
        showlegend=False,
        customdata=[
            _lines(
                f"Power law, {variant}, {size:,.0f} samples",
                f"{mean_score(y, analysis.metric)} "
                f"({mean_score(a, analysis.metric)} to {mean_score(b, analysis.metric)})",
            )
            for size, y, a, b in zip(x, fit.curve[shown], low, high, strict=True)
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _add_published(figure: go.Figure, published: Reported, axis: ChartAxis, name: str) -> None:
    color, symbol, dash = LOOK[published.metric]
    figure.add_scatter(
        x=[axis.place(size) for size, _ in published.points],
        y=[score for _, score in published.points],
        mode="lines+markers",
        name=escape(name),
        line={"color": color, "dash": dash, "width": 2},
        marker={"symbol": f"{symbol}-open", "size": 9, "line": {"width": 2}},
        customdata=[
            _lines(
                f"{size_label(size)} · published",
                f"{published.metric} {score:g}",
                published.title,
                bold=True,
            )
            for size, score in published.points
        ],
        hovertemplate="%{customdata}<extra></extra>",
    )


def _finish(figure: go.Figure, axis: ChartAxis, y_title: str) -> go.Figure:
    axis.apply(figure)
    figure.update_layout(
        template="none",
        paper_bgcolor=_CLEAR,
        plot_bgcolor=_CLEAR,
        font={"family": _FONT, "color": _NEUTRAL, "size": 13},
        margin={"l": 60, "r": 16, "t": 16, "b": 60},
        height=430,
        hovermode="closest",
        hoverlabel={"align": "left"},
        showlegend=True,
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
        dragmode=False,  # a finger that moves the page zooms nothing
        # What is left is the download as a picture; the page's style sheet places it.
        modebar={"remove": [*_NO_BUTTONS], "bgcolor": _CLEAR, "color": _NEUTRAL, "activecolor": _NEUTRAL},
    )
    figure.update_xaxes(
        gridcolor=_GRID,
        linecolor=_NEUTRAL,
        ticks="outside",
        tickcolor=_NEUTRAL,
        zeroline=False,
        automargin=True,
    )
    figure.update_layout(xaxis_title_font_size=13, yaxis_title_font_size=13)
    figure.update_yaxes(title_text=y_title, gridcolor=_GRID, zeroline=False, automargin=True)
    return figure
