"""Choose the learning rate on the training split alone: bits per byte on samples that no size uses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from pipeline.command_line.commands import command_text
from pipeline.command_line.signature import command
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.attempts import render
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.tasks import task_from_sample
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import SIZES, checkpoint_name
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.schema import (
    DEFAULT_SEED,
    Attempt,
    Checkpoint,
    Column,
    LabError,
    Progress,
    Sample,
    SamplingParams,
    TrainedVariant,
    counted,
)
from pipeline.scoring.likelihood import Likelihood
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.finetune import finetune
from training.jobs.progress import Reporter


def learning_rate(
    learning_rates: str = "5e-4,1e-3,2e-3,4e-3",
    sizes: str = "200,1000,5000",
    prompt: TrainedVariant = "regular",
    family: str = DEFAULT_FAMILY,
    held_out: int = 200,
    workers: int = 4,
) -> dict[str, Any]:
    """Train each size with each learning rate and print the held-out bits per byte of all of them.

    The held-out samples are the last of the training split; the test split is never looked at.

    Args:
        learning_rates: candidates, separated by commas
        sizes: training sizes to try them on, separated by commas
        prompt: prompt variant
        family: model family
        held_out: number of held-out training samples
        workers: trainings at a time

    Returns:
        Bits per byte by size and learning rate, the best by the mean over sizes, and how it was measured.

    Raises:
        LabError: a training failed, or the training split has no samples to spare.
    """
    arguments = dict(locals())
    settings, report = Settings.from_env(), Reporter()
    chosen = get_family(settings, family)
    dataset = load_dataset(settings, chosen.dataset, prompt)
    order = dataset.subset(len(dataset.train))
    if len(order) - held_out < max(SIZES):
        raise LabError("The training split is too small to hold samples out beside the largest subset.")
    rates, counts = learning_rates.split(","), [int(size) for size in sizes.split(",")]
    with tempfile.TemporaryDirectory() as root:
        work = [(size, rate) for size in sorted(counts, reverse=True) for rate in rates]
        with ThreadPoolExecutor(workers) as pool:
            train = partial(_train, Path(root), family, prompt, report)
            folders = list(pool.map(train, *zip(*work, strict=True)))
        engine = load_engine(settings, chosen)
        table: dict[str, dict[str, float]] = {rate: {} for rate in rates}
        for (size, rate), folder in zip(work, folders, strict=True):
            checkpoint = Checkpoint(
                family, f"{size}-{rate}", size, prompt, DEFAULT_SEED, folder, None, fingerprint(folder)
            )
            bits = _bits_per_byte(engine, Column(checkpoint, prompt), order[-held_out:])
            table[rate][str(size)] = round(bits, 4)
    best = min(table, key=lambda rate: sum(table[rate].values()))
    return {
        "bits_per_byte": table,
        "best": float(best),
        "family": family,
        "prompt": prompt,
        "held_out": held_out,
        "dataset_fingerprint": dataset.fingerprint,
        "versions": package_versions(),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_text(command(learning_rate, arguments)),
    }


def _train(root: Path, family: str, prompt: TrainedVariant, report: Progress, size: int, rate: str) -> Path:
    """Train in a process of its own; returns the checkpoint's folder."""
    folder = root / rate
    arguments = {"family": family, "subset_size": size, "prompt": prompt, "learning_rate": rate}
    done = subprocess.run(command(finetune, arguments | {"output": folder}), capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"Training with {rate} failed: {done.stderr.strip()[-1000:]}")
    report(0.0, f"trained {size} with {rate}")
    return folder / checkpoint_name(size, prompt, DEFAULT_SEED)


def _bits_per_byte(engine: TorchEngine, column: Column, samples: Sequence[Sample]) -> float:
    """The mean over the samples, given their rendered prompts."""
    sampling = SamplingParams(max_new_tokens=engine.family.max_new_tokens)
    attempts = [render(engine, Attempt(task_from_sample(sample), column), sampling) for sample in samples]
    scores = [score for (score,) in Likelihood(engine).score(attempts)]
    values = [score.value for score in scores if score.value is not None]
    if len(values) < len(scores):
        reason = next(score.reason for score in scores if score.value is None)
        unscored = counted(len(scores) - len(values), "held-out sample")
        raise LabError(f"{unscored} cannot be scored. The first reason: {reason}")
    return mean(values)


if __name__ == "__main__":
    sys.exit(run_verb(learning_rate))
