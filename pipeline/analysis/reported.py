"""Scores that others reported, to compare ours with."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass

from pipeline.settings import Settings


@dataclass(frozen=True)
class Reported:
    """Scores that others reported for one metric.

    Attributes:
        title: model, training and judge.
        metric: the metric's name in that report.
        like: first words of the names of our metrics that can be compared with it.
        points: (training-set size, score), 0 for the baseline.
    """

    title: str
    metric: str
    like: tuple[str, ...]
    points: tuple[tuple[int, float], ...]


def load_reported(settings: Settings) -> list[Reported]:
    """Load the scores of ``assets/reported.toml``."""
    raw = tomllib.loads((settings.assets / "reported.toml").read_text(encoding="utf-8"))
    return [
        Reported(raw["title"], name, tuple(row["like"]), tuple(zip(raw["sizes"], row["scores"], strict=True)))
        for name, row in raw["metrics"].items()
    ]
