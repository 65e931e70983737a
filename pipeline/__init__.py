"""The library: data, prompts, generation, scores, statistics. It never imports gradio."""

import os

__version__ = "0.2.0"

# OpenMP's threads spin while they wait for each other. Beside a busy job on the same two cores that took
# generation from 37 tokens a second to 2; spinning less keeps about 10 there, and 33 when alone. It is read
# when torch is first loaded, so it stands here, before everything that loads it.
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
