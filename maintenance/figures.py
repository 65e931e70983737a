"""Figures in files: the same bytes for the same numbers, readable on light and dark pages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY = "#7a8594"
_GREY_PARTS = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")


@contextmanager
def figure(file: Path, panels: int, size: tuple[float, float], font_size: int) -> Iterator[Sequence[Axes]]:
    """Give panels side by side to draw on, then write them to the file.

    Args:
        file: an .svg or .png file.
        panels: how many.
        size: width and height of each, in inches.
        font_size: in points.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # The salt names the parts of an SVG, which are random without it.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": file.stem, "font.size": font_size}
    with pyplot.rc_context(style | dict.fromkeys(_GREY_PARTS, _GREY)):
        drawn, axes = pyplot.subplots(
            1, panels, figsize=(size[0] * panels, size[1]), squeeze=False, layout="constrained"
        )
        yield axes[0]
        for panel in axes[0]:
            panel.grid(alpha=0.3)
            panel.spines[["top", "right"]].set_visible(False)
        drawn.savefig(file, transparent=True, metadata={"Date": None} if file.suffix == ".svg" else None)
        pyplot.close(drawn)
