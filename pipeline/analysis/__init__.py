"""From stored runs to tables and sentences."""

from pipeline.analysis.analyze import Analysis, analyze
from pipeline.analysis.pairs import Pair
from pipeline.analysis.points import Point
from pipeline.analysis.setups import Setup, find_setups

__all__ = ["Analysis", "Pair", "Point", "Setup", "analyze", "find_setups"]
