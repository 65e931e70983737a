"""Compare what the engines of a CPU write and compute with what transformers does.

Run it with ``python -m maintenance.precision_study``. Each engine is loaded by itself, and answers the same
test samples greedily.
"""

from __future__ import annotations

import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.command_line.commands import command_text
from pipeline.command_line.signature import command
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.attempts import add_scores, generate, render
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.tasks import task_from_sample
from pipeline.files import write_atomically
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.memory import release_freed_memory
from pipeline.models.checkpoints import get_column
from pipeline.models.families import get_family
from pipeline.models.weights import best_dtype
from pipeline.schema import Attempt, Column, Sample, SamplingParams
from pipeline.scoring.likelihood import BITS_PER_BYTE, Likelihood
from pipeline.scoring.text import CHRF, PARSES, Parses, TextSimilarity
from pipeline.settings import ASSETS, Settings
from pipeline.versions import package_versions
from training.jobs.progress import Reporter

FIRST = 64
"""Tokens of an answer that are compared."""


def precision_study(
    family: str = "qwen2.5-coder-1.5b",
    columns: tuple[str, ...] = ("baseline/regular", "1000/regular"),
    samples: int = 200,
    max_new_tokens: int = 256,
    output: Path = ASSETS / "studies" / "precision.json",
) -> dict[str, Any]:
    """Answer test samples with each engine, and write how far the answers and the scores are apart.

    Args:
        family: model family
        columns: checkpoints with their prompts
        samples: test samples
        max_new_tokens: length limit of an answer
        output: file for the results

    Returns:
        What was written.

    Raises:
        LabError: the model, a checkpoint or the dataset cannot be used.
    """
    arguments = {
        "family": family,
        "columns": columns,
        "samples": samples,
        "max_new_tokens": max_new_tokens,
    }
    settings, report = Settings.from_env(), Reporter()
    chosen = get_family(settings, family)
    found = [get_column(settings, chosen, column) for column in columns]
    taken = [
        load_dataset(settings, chosen.dataset, column.variant).evaluation(max(200, samples))[:samples]
        for column in found
    ]
    sampling = SamplingParams(temperature=0, max_new_tokens=max_new_tokens)
    dtype = best_dtype()
    ways: list[Callable[[], TorchEngine]] = [
        lambda: load_engine(settings, chosen, dtype=dtype, plain="to compare with"),
        lambda: load_engine(settings, chosen, dtype=dtype),
        lambda: load_engine(settings, chosen),
    ]
    engines: dict[str, list[_Answer]] = {}
    for number, load in enumerate(ways):
        report(number / len(ways), f"Engine {number + 1} of {len(ways)}")
        engine = load()
        if engine.describe() not in engines:
            engines[engine.describe()] = _answers(engine, found, taken, sampling)
        del engine
        gc.collect()
        release_freed_memory()
    reference, *others = engines
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command_text(command(precision_study, arguments)),
        "versions": {**package_versions(), "openvino": version("openvino")},
        "cores": os.cpu_count(),
        **arguments,
        "compared_tokens": FIRST,
        "reference": {"engine": reference, **_summary(engines[reference])},
        "engines": [
            {"engine": name, **_summary(engines[name]), **_differences(engines[reference], engines[name])}
            for name in others
        ],
    }
    write_atomically(output, json.dumps(record, indent=1) + "\n")
    return record


class _Answer:
    """The first tokens of an answer, and its scores by metric."""

    def __init__(self, engine: TorchEngine, attempt: Attempt) -> None:
        text = attempt.completion.text if attempt.completion else ""
        self.tokens: list[int] = engine.tokenizer(text, add_special_tokens=False)["input_ids"][:FIRST]
        self.scores = {name: attempt.scores[name].value for name in (BITS_PER_BYTE, CHRF, PARSES)}


def _answers(
    engine: TorchEngine,
    columns: Sequence[Column],
    samples: Sequence[Sequence[Sample]],
    sampling: SamplingParams,
) -> list[_Answer]:
    """Of all columns to all of their samples."""
    rendered = [
        render(engine, Attempt(task_from_sample(sample), column), sampling)
        for column, own in zip(columns, samples, strict=True)
        for sample in own
    ]
    *_, written = generate(engine, rendered, sampling)
    scored = add_scores([TextSimilarity(), Parses(), Likelihood(engine)], written)
    return [_Answer(engine, attempt) for attempt in scored]


def _summary(answers: Sequence[_Answer]) -> dict[str, float]:
    """The mean of each score, over the answers that have it."""
    values = {name: [each.scores[name] for each in answers] for name in answers[0].scores}
    return {
        name: round(mean(value for value in each if value is not None), 4) for name, each in values.items()
    }


def _differences(reference: Sequence[_Answer], answers: Sequence[_Answer]) -> dict[str, Any]:
    pairs = list(zip(reference, answers, strict=True))
    both = [(one.scores[BITS_PER_BYTE], other.scores[BITS_PER_BYTE]) for one, other in pairs]
    bits: list[float] = [other - one for one, other in both if one is not None and other is not None]
    return {
        "share_with_equal_tokens": round(mean(one.tokens == other.tokens for one, other in pairs), 4),
        "mean_equal_tokens": round(mean(_equal(one.tokens, other.tokens) for one, other in pairs), 1),
        "bits_per_byte_difference": {
            "mean": round(mean(bits), 5),
            "mean_absolute": round(mean(map(abs, bits)), 5),
            "largest": round(max(map(abs, bits)), 5),
        },
    }


def _equal(right: Sequence[int], tokens: Sequence[int]) -> int:
    """How many tokens are equal before the first that is not."""
    pairs = zip(right, tokens, strict=False)
    return next((at for at, (one, other) in enumerate(pairs) if one != other), min(len(right), len(tokens)))


if __name__ == "__main__":
    sys.exit(run_verb(precision_study))
