"""Names for people: of checkpoints, columns, set-ups and sampling."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline.evaluation.runs import RunConfig
from pipeline.generation.line import PlaceInLine
from pipeline.models.families import Family
from pipeline.models.recipes import short
from pipeline.schema import DEFAULT_SEED, SIZE_NAME, Checkpoint, Column, SamplingParams, Task, counted
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.scoring.execution.suites.suite import DATASETS
from training.jobs.progress import duration

if TYPE_CHECKING:  # scipy comes with it, and the page does not wait for that
    from pipeline.analysis import Pair, Point, Setup
    from pipeline.analysis.setups import Axis, Condition

_DEFINED = re.compile(r"^\s*(?:async\s+def|def|class)\s+(\w+)", re.MULTILINE)
AXIS_WORDS: Mapping[Axis, str] = {
    "subset_size": "training samples",
    "learning_rate": "learning rate",
    "lora_r": "LoRA rank",
    "lora_alpha": "LoRA alpha",
    "epochs": "epochs",
    "checkpoint": "checkpoint",
}


def size_label(size: int) -> str:
    """``baseline``, ``1,000``."""
    return f"{size:,}" if size else "baseline"


def size_text(size: object) -> str:
    """``1,000`` for a job's argument ``1000``; another text stays as it is."""
    text = str(size)
    return f"{int(text):,}" if text.isascii() and text.isdigit() else text


def axis_title(axis: Axis) -> str:
    """``Training samples``, ``LoRA rank``."""
    return AXIS_WORDS[axis][:1].upper() + AXIS_WORDS[axis][1:]


def axis_choices(axes: Iterable[Axis] = tuple(AXIS_WORDS)) -> list[tuple[str, str]]:
    """Axes as choices: title and name."""
    return [(axis_title(axis), axis) for axis in axes]


def place_name(condition: Condition | Point) -> str:
    """Its place on the axis: ``baseline``, ``1,000``, ``1e-4``, ``my-adapter``."""
    if not condition.x or condition.axis == "subset_size":
        return size_label(int(condition.x))
    return condition.checkpoint if condition.axis == "checkpoint" else short(condition.x)


def place_text(condition: Condition | Point) -> str:
    """The same with its unit: ``baseline``, ``1,000 samples``, ``learning rate 1e-4``, ``my-adapter``."""
    if not condition.x or condition.axis == "checkpoint":
        return place_name(condition)
    if condition.axis == "subset_size":
        return counted(int(condition.x), "sample")
    if condition.axis == "epochs":
        return counted(int(condition.x), "epoch")
    return f"{AXIS_WORDS[condition.axis]} {short(condition.x)}"


def condition_label(condition: Condition | Point) -> str:
    """``1,000 · regular``."""
    return f"{place_name(condition)} · {condition.variant}"


def step_label(pair: Pair) -> str:
    """``200 to 1,000``."""
    return f"{place_name(pair.first)} to {place_name(pair.second)}"


def change_label(pair: Pair) -> str:
    """``200 to 1,000 samples``, ``learning rate 1e-4 to learning rate 2e-4``."""
    first = place_name(pair.first) if pair.first.axis == "subset_size" else place_text(pair.first)
    return f"{first} to {place_text(pair.second)}"


def checkpoint_label(checkpoint: Checkpoint) -> str:
    """``Baseline``, ``1,000 samples (seed 43)``; its name if that tells something else."""
    if checkpoint.is_baseline:
        return "Baseline"
    if checkpoint.subset_size is None or not SIZE_NAME.match(checkpoint.name):
        return checkpoint.name
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
    """A short name: the sample's function or id, or the first words of the instruction."""
    _, inside, name = (task.sample_id or "").rpartition("::")
    if inside:
        return name
    if defined := _DEFINED.search(task.reference or ""):
        return defined[1]
    if name and not name.isdigit():
        return name
    first = task.instruction.partition("\n")[0]
    return textwrap.shorten(first, 80, placeholder=" …") or first[:80]


def family_label(family: Family) -> str:
    """Its title, without what stands in brackets behind it."""
    return family.title.partition(" (")[0]


def setup_label(setup: Setup) -> str:
    """Family, dataset or test suite, number of samples, sampling, and the dataset's fingerprint."""
    kind = "test suite" if setup.dataset in DATASETS else "dataset"
    return f"{_setup(setup, setup.family, f'{kind} {setup.dataset}')} · {_version(setup)}"


def setup_title(setup: Setup, families: Mapping[str, Family]) -> str:
    """The same with the titles of family and test suite, where these are known, and without a fingerprint."""
    family = families.get(setup.family)
    suite = DATASETS.get(setup.dataset)
    what = EXECUTION[suite] if suite else f"dataset {setup.dataset}"
    return _setup(setup, family_label(family) if family else setup.family, what)


def setup_titles(setups: Sequence[Setup], families: Mapping[str, Family]) -> list[str]:
    """The titles to choose from; those that differ in nothing else have the fingerprint."""
    titles = [setup_title(each, families) for each in setups]
    return [
        title if titles.count(title) == 1 else f"{title} · {_version(each)}"
        for title, each in zip(titles, setups, strict=True)
    ]


def _setup(setup: Setup, family: str, what: str) -> str:
    return f"{family} · {what} · {setup.samples:,} samples · {sampling_label(setup.decoding)}"


def _version(setup: Setup) -> str:
    return f"version {' and '.join(sorted({run.config.dataset_fingerprint for run in setup.runs}))}"
