"""Runs with made-up outputs and scores, written through the real store. For tests only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.evaluation.runs import Run, RunConfig
from pipeline.evaluation.store import append_attempts, create_run, load_run, runs_dir
from pipeline.models.checkpoints import checkpoint_name
from pipeline.schema import (
    Attempt,
    Checkpoint,
    Column,
    Completion,
    PromptVariant,
    SamplingParams,
    Score,
    Task,
)
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.settings import ASSETS, Settings

SIZES = (0, 200, 500, 1000, 5000)
BERT, JUDGE, CHRF, BITS = "BERTScore F1 (MiniLM-L6)", "CodeJudge naive (gpt-4o)", "chrF", "bits per byte"
EXECUTION = "execution (HumanEval)"
GREEDY = SamplingParams(0.0, 0.0, 256, 42)
HOSTILE = '<script>document.title="owned"</script><img src=x onerror="document.title=\'owned\'">'


def bare_settings(folder: Path) -> Settings:
    """Settings with every shipped asset but the runs."""
    assets = folder / "assets"
    assets.mkdir(parents=True)
    for file in ASSETS.iterdir():
        if file.name != "results":
            (assets / file.name).symlink_to(file)
    return Settings(data_dir=folder / "data", assets=assets)


def make_run(
    settings: Settings,
    size: int,
    variant: PromptVariant = "regular",
    samples: int = 60,
    seed: int = 42,
    repos: int = 6,
    per_file: int = 1,
    items: int | None = None,
    decoding: SamplingParams = GREEDY,
    fingerprint: str = "feedc0ffee00",
    created: str = "2026-01-02T03:04:05+00:00",
    dataset: str = "packages",
    values: Mapping[str, Sequence[float | None]] | None = None,
    name: str = "",
    recipe: Mapping[str, Any] | None = None,
) -> Run:
    """One run. Its scores are ``values``, or rise with the size and vary with sample and seed.

    ``items`` of its ``samples`` are there, all of them for None. ``name`` is the checkpoint's, if it does not
    tell its size.
    """
    samples = len(next(iter(values.values()))) if values else samples
    ids = tuple(f"pkg{i // per_file % repos}/module_{i // per_file}.py::function_{i}" for i in range(samples))
    checkpoint = name or (checkpoint_name(size, variant, seed) if size else "baseline")
    key = Column(Checkpoint("", checkpoint), variant).key
    how = f"{dataset}_{fingerprint}_{decoding.max_new_tokens}_{decoding.seed}"
    run_id = f"made-up_{key.replace('/', '-')}_{samples}_{how}_{created[:10]}"
    config = RunConfig(
        id=run_id,
        family="smollm2-135m",
        checkpoint=checkpoint,
        column=key,
        fingerprint="abc123" if size else "",
        subset_size=size,
        variant=variant,
        training_seed=seed if size else None,
        dataset=dataset,
        dataset_fingerprint=fingerprint,
        sample_ids=ids,
        decoding=decoding,
        recipe=recipe or {},
        judges={JUDGE: asdict(JudgeConfig())},
        versions={"torch": "2.13.0"},
        engine="made up for a test",
        created=created,
        command=f"python -m training.evaluate --subset-size {size or 'baseline'}",
    )
    folder = create_run(runs_dir(settings), config)
    difficulty = np.random.default_rng(1).normal(0, 1, samples)
    noise = np.random.default_rng([size, seed, len(variant)]).normal(0, 0.5, samples)
    skill = 0.09 * np.log1p(size) + (0.25 if variant == "augmented" and size else 0)
    quality = 1 / (1 + np.exp(-difficulty - skill - noise))
    made = []
    for i in range(samples if items is None else items):
        good = float(quality[i])
        scores = (
            [
                Score(metric, row[i], None if row[i] is not None else "made up")
                for metric, row in values.items()
            ]
            if values
            else _scores(i, good)
        )
        made.append(_attempt(config, i, good, scores))
    append_attempts(folder, made)
    return load_run(folder)


def make_ladder(
    settings: Settings,
    variants: Sequence[PromptVariant] = ("regular", "augmented"),
    samples: int = 60,
    repos: int = 6,
) -> list[Run]:
    """A run of every size under each variant."""
    return [make_run(settings, size, each, samples, repos=repos) for each in variants for size in SIZES]


def _scores(i: int, good: float) -> list[Score]:
    f1 = round(0.3 + 0.6 * good, 4)
    parses = float(good > 0.35)
    verb = "equals" if good > 0.6 else "differs from"
    said = f"The candidate {verb} the reference. {HOSTILE if i == 3 else ''}"
    vote = {"value": float(good > 0.6), "reason": None, "words": [said]}
    judged = Score(JUDGE, vote["value"], details={"votes": [vote], "flipped": False, "agreement": 1.0})
    return [
        Score(BERT, f1, details={"precision": 0.5, "recall": 0.6, "windows": 1 + (i % 7 == 0)}),
        Score(CHRF, round(60 * good, 3)),
        Score("parses", parses, details={} if parses else {"error": "invalid syntax"}),
        Score(BITS, round(1.2 - 0.7 * good, 4)),
        judged if i % 20 != 7 else Score(JUDGE, None, "the judge gave no verdict"),
    ]


def _attempt(config: RunConfig, i: int, good: float, scores: Sequence[Score]) -> Attempt:
    body = "\n".join(f"    total += values[{j}]" for j in range(2 + i % 5))
    reference = f"def function_{i}(values):\n    total = 0\n{body}\n    return total"
    code = reference if good > 0.75 else reference.replace("+=", "-=")
    hostile = HOSTILE if i == 3 else ""
    task = Task(
        instruction=f"Write function_{i}, which adds up {2 + i % 5} values. {hostile}",
        reference=reference,
        sample_id=config.sample_ids[i],
        repo=config.sample_ids[i].partition("/")[0],
    )
    return Attempt(
        task,
        config.as_column,
        completion=Completion(
            fingerprint=config.fingerprint,
            text=f"```python\n{code}\n```\n{hostile}",
            tokens=40 + i,
            finish_reason="length" if good < 0.3 else "stop",
            seconds=1.5,
        ),
        code=code,
        scores={score.metric: score for score in scores},
    )
