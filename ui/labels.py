"""Names for people: of checkpoints, columns, set-ups and sampling."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pipeline.evaluation.runs import RunConfig
from pipeline.generation.line import PlaceInLine
from pipeline.schema import DEFAULT_SEED, Checkpoint, Column, SamplingParams, Task, counted
from training.jobs.progress import duration

if TYPE_CHECKING:  # scipy comes with it, and the page does not wait for that
    from pipeline.analysis import Pair, Point, Setup
    from pipeline.analysis.setups import Condition


def size_label(size: int) -> str:
    """``baseline``, ``1,000``."""
    return f"{size:,}" if size else "baseline"


def size_text(size: object) -> str:
    """``1,000`` for a job's argument ``1000``; another text stays as it is."""
    text = str(size)
    return f"{int(text):,}" if text.isascii() and text.isdigit() else text


def condition_label(condition: Condition | Point) -> str:
    """``1,000 · regular``."""
    return f"{size_label(condition.size)} · {condition.variant}"


def step_label(pair: Pair) -> str:
    """``200 to 1,000``."""
    return f"{size_label(pair.first.size)} to {size_label(pair.second.size)}"


def checkpoint_label(checkpoint: Checkpoint) -> str:
    """``Baseline``, ``1,000 samples (seed 43)``."""
    if checkpoint.is_baseline:
        return "Baseline"
    extra = f" (seed {checkpoint.seed})" if checkpoint.seed not in (None, DEFAULT_SEED) else ""
    return f"{counted(checkpoint.subset_size, 'sample')}{extra}"


def column_label(column: Column) -> str:
    """``Baseline · regular``, ``1,000 samples (seed 43) · augmented``."""
    return f"{checkpoint_label(column.checkpoint)} · {column.variant}"


def sampling_label(sampling: SamplingParams) -> str:
    """``greedy, at most 256 tokens``, ``temperature 0.1, min-p 0.1, seed 42, at most 256 tokens``."""
    how = (
        "greedy"
        if sampling.temperature == 0
        else f"temperature {sampling.temperature:g}, min-p {sampling.min_p:g}, seed {sampling.seed}"
    )
    return f"{how}, at most {counted(sampling.max_new_tokens, 'token')}"


def run_label(config: RunConfig) -> str:
    """From its id and its date: ``Stored run smollm2-135m_200-regular_… of 2026-11-24``."""
    return f"Stored run {config.id} of {config.created[:10]}."


def place_label(place: PlaceInLine) -> str:
    """``2nd in line, about 30 s``."""
    number = place.number
    ending = "th" if 10 < number % 100 < 14 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    wait = "" if place.seconds is None else f", about {duration(place.seconds)}"
    return f"{number:,}{ending} in line{wait}"


def task_label(task: Task) -> str:
    """A short name: the sample's function, else the first words of the instruction."""
    name = (task.sample_id or "").rpartition("::")[2]
    if name and not name.isdigit():
        return name
    first = task.instruction.partition("\n")[0]
    return textwrap.shorten(first, 80, placeholder=" …") or first[:80]


def setup_label(setup: Setup) -> str:
    """Family, dataset with its fingerprint, number of samples, and sampling."""
    versions = sorted({run.config.dataset_fingerprint for run in setup.runs})
    return (
        f"{setup.family} · {setup.dataset} {' and '.join(versions)} · {setup.samples:,} samples · "
        f"{sampling_label(setup.decoding)}"
    )
