"""Benchmarks: each module measures one thing side by side and ends with one JSON line, ``{"bench": …}``."""
