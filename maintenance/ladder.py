"""Retrain and re-evaluate every checkpoint that ships: one command, for a GPU machine."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from maintenance.cards import cards
from pipeline.command_line.signature import command
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.evaluate_columns import EvaluationPlan, evaluate_columns
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import pack_run, runs_dir
from pipeline.generation import open_engine
from pipeline.models.checkpoints import checkpoint_name, checkpoints_dir, columns
from pipeline.models.families import DEFAULT_FAMILY, Family, get_family
from pipeline.schema import DEFAULT_SEED, TRAINED_VARIANTS, VARIANTS, LabError, PromptVariant, SamplingParams
from pipeline.settings import Settings
from training.finetune import finetune
from training.jobs.progress import Reporter


def ladder(
    family: str = DEFAULT_FAMILY,
    sizes: str = "200,500,1000,5000,10000",
    extra_seeds: str = "200:43,200:44,1000:43,1000:44,5000:43",
    workers: int = 3,
    samples: int = 200,
    ship: bool = False,
) -> dict[str, Any]:
    """Train every size under both prompt variants, some with a second seed, then evaluate all of them.

    Trainings run side by side as processes of ``training.finetune``, the longest first; evaluations run
    here, all columns of a variant stacked in one batch, greedy and with the protocol's sampling. Existing
    checkpoints and runs are kept, so an interrupted ladder resumes.

    Args:
        family: model family
        sizes: training sizes, separated by commas
        extra_seeds: size:seed pairs that are trained too, to tell training noise from evaluation noise
        workers: trainings at a time; an augmented one takes about 20 GB of a GPU
        samples: number of test samples
        ship: put the protocol seed's checkpoints and all packed runs into assets/, where they are part of
            the app, and write the model cards

    Returns:
        Counts of checkpoints and runs, and the seconds that each part took.

    Raises:
        LabError: a training failed; the message has the end of its log.
    """
    settings = Settings.from_env()
    chosen = get_family(settings, family)
    report = Reporter()
    plan = [(size, variant, DEFAULT_SEED) for size in _numbers(sizes) for variant in TRAINED_VARIANTS]
    for pair in extra_seeds.split(","):
        size, _, seed = pair.partition(":")
        plan += [(_numbers(size)[0], variant, _numbers(seed)[0]) for variant in TRAINED_VARIANTS]
    plan.sort(key=lambda work: (-work[0], work[1]))
    started = time.time()
    with ThreadPoolExecutor(workers) as pool:
        trained = list(pool.map(lambda work: _train(settings, chosen, work, report), plan))
    training_seconds = round(time.time() - started)
    engine = open_engine(settings, chosen)
    all_columns = columns(settings, chosen).values()
    stored: list[Run] = []
    for temperature in (0.0, 0.1):
        for variant in VARIANTS:
            sampling = SamplingParams(temperature, max_new_tokens=chosen.max_new_tokens)
            evaluation = EvaluationPlan(samples, sampling, None, resume=True, root=runs_dir(settings))
            group = [column for column in all_columns if column.variant == variant]
            stored += evaluate_columns(settings, chosen, group, evaluation, report, engine)
    if ship:
        _ship(settings, chosen, trained, stored)
    return {
        "checkpoints": len(trained),
        "runs": len(stored),
        "training_seconds": training_seconds,
        "evaluation_seconds": round(time.time() - started) - training_seconds,
    }


def _ship(settings: Settings, family: Family, checkpoints: list[Path], runs: list[Run]) -> None:
    """Copy checkpoints and runs into assets/; of other seeds only the runs, which show the training noise."""
    for folder in checkpoints:
        if "-seed" not in folder.name:
            target = settings.assets / "checkpoints" / family.name / folder.name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(folder, target)
    for run in runs:
        pack_run(run.path, settings.assets / "results")
    cards(family.name)


def _numbers(text: str) -> list[int]:
    try:
        return [int(word) for word in text.split(",") if word]
    except ValueError:
        raise LabError(f"Sizes are numbers separated by commas, not {text!r}.") from None


def _train(
    settings: Settings, family: Family, work: tuple[int, PromptVariant, int], report: Reporter
) -> Path:
    size, variant, seed = work
    name = checkpoint_name(size, variant, seed)
    folder = checkpoints_dir(settings, family) / name
    if folder.is_dir():
        return folder
    arguments = {"family": family.name, "subset_size": size, "prompt": variant, "seed": seed}
    began = time.time()
    resumed = command(finetune, arguments | {"resume": True, "replace": True})
    done = subprocess.run(resumed, capture_output=True, text=True)
    if done.returncode:
        raise LabError(f"Training {name} failed: {done.stderr.strip()[-1000:]}")
    report(0.0, f"{name} trained in {time.time() - began:.0f} s")
    return folder


if __name__ == "__main__":
    sys.exit(run_verb(ladder))
