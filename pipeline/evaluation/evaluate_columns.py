"""Evaluate columns on the test samples: generate, score and judge, into stored runs."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.data.dataset import BUILT_IN, Dataset
from pipeline.evaluation.attempts import add_scores, generate, has_values, render
from pipeline.evaluation.datasets import load_dataset
from pipeline.evaluation.judge_runs import judge_runs
from pipeline.evaluation.runs import Run, RunConfig, repeat_command
from pipeline.evaluation.store import append_attempts, create_run, has_run, load_run
from pipeline.evaluation.tasks import task_from_sample
from pipeline.generation import Engine, open_engine
from pipeline.models.families import Family
from pipeline.models.hub import fetch
from pipeline.schema import (
    Attempt,
    Column,
    LabError,
    Progress,
    Sample,
    SamplingParams,
    counted,
)
from pipeline.scoring import Scorer, offline_scorers
from pipeline.scoring.execution.spec import Suite
from pipeline.scoring.execution.suites.metric import Execution
from pipeline.scoring.execution.suites.suite import load_suite
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.likelihood import BITS_PER_BYTE, Likelihood
from pipeline.settings import Settings
from pipeline.versions import package_versions

LEAST_TOGETHER = 32  # answers that are scored and stored together, until the last ones
MOST_TOGETHER = 256  # where answers end faster than they are scored, many together take less time


@dataclass(frozen=True)
class EvaluationPlan:
    """What an evaluation does, for all of its columns.

    Attributes:
        samples: number of test samples; a suite or a dataset of the user's that has fewer is taken whole.
        judge: None for no judge.
        resume: whether to continue stored runs instead of replacing them.
        root: the folder that contains the runs' folders.
        suite: a test suite to evaluate on instead of the family's dataset; its samples are executed.
    """

    samples: int
    sampling: SamplingParams
    judge: JudgeConfig | None
    resume: bool
    root: Path
    suite: Suite | None = None


@dataclass(frozen=True)
class _Row:
    """An attempt and the folder of its run."""

    folder: Path
    attempt: Attempt


def evaluate_columns(
    settings: Settings,
    family: Family,
    columns: Sequence[Column],
    plan: EvaluationPlan,
    report: Progress,
    engine: Engine | None = None,
) -> list[Run]:
    """Evaluate columns of one prompt variant together. Each batch is stored before the next one starts.

    Raises:
        LabError: there are too few samples, the dataset, the model or a checkpoint cannot be used, or the
            judge refuses.
    """
    if plan.samples < 1:
        raise LabError("At least one test sample is needed.")
    report(0.0, "reading the dataset")
    if not settings.engine_url:
        columns = [replace(each, checkpoint=fetch(settings, family, each.checkpoint)) for each in columns]
    suite = load_suite(settings, plan.suite) if plan.suite else None
    dataset = suite.dataset if suite else load_dataset(settings, family.dataset, columns[0].variant)
    for note in dataset.notes:
        report(0.01, note)
    fixed = dataset.name in BUILT_IN  # of the protocol: fewer test samples would be another test
    samples = dataset.evaluation(plan.samples if fixed else min(plan.samples, len(dataset.test)))
    configs = [run_config(family, column, dataset, samples, plan) for column in columns]
    folders = [plan.root / config.id for config in configs]
    rows = _rows(columns, folders, samples, plan.resume)
    scorers = offline_scorers()
    if suite:
        scorers.append(Execution(suite, unsafe=settings.unsafe_execution))
    metrics = [BITS_PER_BYTE, *(metric for scorer in scorers for metric in scorer.metrics)]
    rows = [row for row in rows if not has_values(row.attempt, metrics)]
    if engine is None and any(not has_values(row.attempt, [BITS_PER_BYTE]) for row in rows):
        run = ", ".join(config.id for config in configs)
        engine = open_engine(settings, family, lambda fraction, message: report(0.01, message), run)
    for folder, config in zip(folders, configs, strict=True):
        if not plan.resume:
            shutil.rmtree(folder, ignore_errors=True)  # not before the model is loaded
        _create(plan.root, replace(config, engine=engine.describe() if engine else ""))
    if engine:
        scorers.append(Likelihood(engine))
        rows = _rendered(rows, engine, plan.sampling, report)
    _complete(rows, engine, scorers, plan, report)
    if plan.judge:
        engine, scorers = None, []  # a judge of ours needs their memory
        judge_runs(settings, plan.judge, folders, lambda done, message: report(0.92 + 0.08 * done, message))
    report(1.0, "done")
    return [load_run(folder) for folder in folders]


def summarize(run: Run) -> dict[str, Any]:
    """Return the run's id, its folder, and each metric's mean, scored and unscored samples."""
    values: dict[str, list[float | None]] = {}
    for attempt in run.attempts.values():
        for name, score in attempt.scores.items():
            values.setdefault(name, []).append(score.value)
    scores = {}
    for name, of_metric in values.items():
        scored = [value for value in of_metric if value is not None]
        mean = sum(scored) / len(scored) if scored else None
        scores[name] = {"mean": mean, "n": len(scored), "unscored": len(of_metric) - len(scored)}
    finished = [a.completion.finish_reason for a in run.attempts.values() if a.completion]
    return {
        "run": run.config.id,
        "path": str(run.path),
        "column": run.config.column,
        "fingerprint": run.config.fingerprint,
        "samples": len(run.attempts),
        "dataset_notes": list(run.config.dataset_notes),
        "truncated": finished.count("length"),
        "scores": scores,
    }


def run_config(
    family: Family, column: Column, dataset: Dataset, samples: Sequence[Sample], plan: EvaluationPlan
) -> RunConfig:
    """Return the run's config. The same evaluation always has the same id, so that it can be resumed."""
    ids = tuple(sample.id for sample in samples)
    what = {
        "fingerprint": column.checkpoint.fingerprint,
        "dataset": dataset.fingerprint,
        "samples": ids,
        "decoding": asdict(plan.sampling) | {"temperature": float(plan.sampling.temperature)},  # 0 is 0.0
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    sampling, checkpoint = plan.sampling, column.checkpoint
    style = "greedy" if sampling.temperature == 0 else f"t{sampling.temperature:g}"
    config = RunConfig(
        id=f"{family.name}_{column.key.replace('/', '-')}_{style}_{digest}",
        family=family.name,
        checkpoint=checkpoint.name,
        column=column.key,
        fingerprint=checkpoint.fingerprint,
        subset_size=checkpoint.subset_size,
        variant=column.variant,
        training_seed=checkpoint.seed,
        dataset=dataset.name,
        dataset_fingerprint=dataset.fingerprint,
        sample_ids=ids,
        decoding=sampling,
        recipe=checkpoint.recipe,
        dataset_notes=dataset.notes,
        versions=package_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    return replace(config, command=repeat_command(config))


def _create(root: Path, config: RunConfig) -> None:
    try:
        create_run(root, config)
    except OSError as error:
        raise LabError(f"The run cannot be stored in {root}: {error}") from error


def _rows(
    columns: Sequence[Column], folders: Sequence[Path], samples: Sequence[Sample], resume: bool
) -> list[_Row]:
    """Return an attempt for each sample and column, the columns of a sample next to each other.

    With ``resume`` an attempt has what its run stored of it.
    """
    stored = [load_run(folder).attempts if resume and has_run(folder) else {} for folder in folders]
    rows = []
    for sample in samples:
        task = task_from_sample(sample)
        for column, folder, attempts in zip(columns, folders, stored, strict=True):
            known = attempts.get(sample.id)
            # An attempt that failed is made again.
            whole = known if known and known.written else Attempt(task, column)
            rows.append(_Row(folder, replace(whole, task=task, column=column)))
    return rows


def _rendered(rows: Sequence[_Row], engine: Engine, sampling: SamplingParams, report: Progress) -> list[_Row]:
    rendered = [replace(row, attempt=render(engine, row.attempt, sampling)) for row in rows]
    if errors := [row.attempt.error for row in rendered if row.attempt.error]:
        stay = "stays" if len(errors) == 1 else "stay"
        prompts = counted(len(rendered), "prompt")
        report(0.02, f"{len(errors)} of {prompts} {stay} unscored. The first reason: {errors[0]}")
    return rendered


def _complete(
    rows: Sequence[_Row],
    engine: Engine | None,
    scorers: Sequence[Scorer],
    plan: EvaluationPlan,
    report: Progress,
) -> None:
    """Generate and score; what is whole is scored and stored, a few rows at a time, beside the generation."""
    left = list(range(len(rows)))  # neither scored nor stored
    attempts = [row.attempt for row in rows]
    for latest in generate(engine, attempts, plan.sampling) if engine else [attempts]:
        whole = [index for index in left if latest[index].written or latest[index].error]
        while len(whole) >= LEAST_TOGETHER or (whole and len(whole) == len(left)):
            done = len(rows) - len(left)
            report(0.02 + 0.9 * done / len(rows), f"{done} of {len(rows)} generated and scored")
            batch, whole = whole[:MOST_TOGETHER], whole[MOST_TOGETHER:]
            scored = add_scores(scorers, [latest[index] for index in batch])
            _store([_Row(rows[i].folder, attempt) for i, attempt in zip(batch, scored, strict=True)])
            left = [index for index in left if index not in batch]


def _store(rows: Sequence[_Row]) -> None:
    for folder in dict.fromkeys(row.folder for row in rows):
        append_attempts(folder, [row.attempt for row in rows if row.folder == folder])
