"""Choose the learning rate on the training split alone: bits per byte on samples that no size uses."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.evaluation.datasets import load_dataset
from pipeline.generation import Request
from pipeline.generation.prompts import context_around
from pipeline.generation.torch_engine import TorchEngine, load_engine
from pipeline.models.checkpoints import SIZES, checkpoint_name
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.models.fingerprints import fingerprint
from pipeline.schema import DEFAULT_SEED, Checkpoint, Column, LabError, Sample, SamplingParams, TrainedVariant
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.command_line import run_verb
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
    settings, report = Settings.from_env(), Reporter()
    chosen = get_family(settings, family)
    dataset = load_dataset(settings, chosen.dataset, prompt)
    order = dataset.subset(len(dataset.train))
    held = order[-held_out:]
    if len(order) - held_out < max(SIZES):
        raise LabError("The training split is too small to hold samples out beside the largest subset.")
    rates, counts = learning_rates.split(","), [int(size) for size in sizes.split(",")]
    with tempfile.TemporaryDirectory() as root:
        work = [(size, rate) for size in sorted(counts, reverse=True) for rate in rates]

        def train(size: int, rate: str) -> Path:
            folder = Path(root) / rate
            command = [sys.executable, "-m", "training.finetune", "--family", family, "--prompt", prompt]
            command += ["--subset-size", str(size), "--learning-rate", rate, "--output", str(folder)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise LabError(f"Training with {rate} failed: {done.stderr.strip()[-1000:]}")
            report(0.0, f"trained {size} with {rate}")
            return folder / checkpoint_name(size, prompt, DEFAULT_SEED)

        with ThreadPoolExecutor(workers) as pool:
            folders = list(pool.map(lambda pair: train(*pair), work))
        engine = load_engine(settings, chosen)
        table: dict[str, dict[str, float]] = {rate: {} for rate in rates}
        for (size, rate), folder in zip(work, folders, strict=True):
            checkpoint = Checkpoint(
                family, f"{size}-{rate}", size, prompt, DEFAULT_SEED, folder, None, fingerprint(folder)
            )
            table[rate][str(size)] = round(_bits(engine, Column(checkpoint, prompt), held), 4)
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
        "command": f"python -m maintenance.learning_rate --learning-rates {learning_rates} --sizes {sizes} "
        f"--prompt {prompt} --held-out {held_out}",
    }


def _bits(engine: TorchEngine, column: Column, samples: Sequence[Sample]) -> float:
    sampling = SamplingParams(max_new_tokens=engine.family.max_new_tokens)
    prompts = [
        engine.render(s.prompt, column.variant, context_around(s.full_code, s.function), sampling)
        for s in samples
    ]
    requests = [Request(column.checkpoint, prompt.text, seed_key="") for prompt in prompts]
    bits = engine.bits_per_byte(requests, [sample.function for sample in samples])
    return sum(bits) / len(bits)


if __name__ == "__main__":
    sys.exit(run_verb(learning_rate))
