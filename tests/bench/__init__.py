"""Benchmarks: each module measures one thing side by side and ends with one JSON line, ``{"bench": …}``."""

import pipeline  # noqa: F401 (sets what torch reads when it is loaded, as everywhere else)
