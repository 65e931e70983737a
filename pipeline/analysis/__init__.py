"""Statistics of stored runs: numbers only, no text for people."""

from pipeline.analysis.metric_analysis import Analysis, analyze
from pipeline.analysis.pairs import Pair
from pipeline.analysis.points import Point
from pipeline.analysis.setups import Setup, find_setups

__all__ = ["Analysis", "Pair", "Point", "Setup", "analyze", "find_setups"]
