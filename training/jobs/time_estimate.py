"""Estimate how long a job takes, and name the basis of the estimate."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.models.families import get_family
from pipeline.settings import Settings
from training.jobs.arguments import evaluated_dataset, evaluated_samples
from training.jobs.recipe import training_recipe
from training.jobs.records import Job
from training.jobs.runner import Runner
from training.jobs.sweep_plan import Step

_ROUGH = {("finetune", "smollm2-135m"): (31.0, 17.5), ("evaluate", "smollm2-135m"): (6.0, 3.1)}
"""Seconds to get ready and to measure the held-out loss, and seconds an optimizer step (16 samples) or a test
sample (without a judge), as measured on 2 CPU cores."""
_READY = 0.015  # the fraction from which on a verb does its real work, not getting ready
_SEEN = 0.25  # of the work that the reports of a job must cover: a job of one step has only its end


@dataclass(frozen=True, slots=True)
class TimeEstimate:
    """Seconds, or None if they cannot be estimated, and the basis of the estimate in words."""

    seconds: float | None
    basis: str


def estimate(runner: Runner, kind: str, arguments: Mapping[str, Any]) -> TimeEstimate:
    """Estimate from past jobs of the same kind and family; without such jobs from a rough figure."""
    past = [job for job in runner.list(("succeeded",)) if _is_comparable(job, kind, arguments, runner)][:5]
    paces = [pace for job in past if (pace := _pace(runner, job)) is not None]
    amount = units(runner.settings, kind, arguments)
    if paces:
        ready, each = (statistics.median(part) for part in zip(*paces, strict=True))
        jobs = f"the last {len(paces)} jobs" if len(paces) > 1 else "the last job"
        return TimeEstimate(ready + each * amount, f"from {jobs} of this kind here")
    missing = (
        "the last job of this kind was too short to measure" if past else "no such job has finished here yet"
    )
    rough = _ROUGH.get((kind, str(arguments.get("family"))))
    if rough is None or runner.backend.name != "local":
        return TimeEstimate(None, missing)
    return TimeEstimate(rough[0] + rough[1] * amount, f"a rough figure for 2 CPU cores; {missing}")


def estimate_steps(runner: Runner, steps: Sequence[Step]) -> TimeEstimate:
    """The time of a sweep: the sum over its jobs, divided by the number that run at the same time."""
    each = [estimate(runner, step.kind, step.arguments) for step in steps]
    if not each or any(one.seconds is None for one in each):
        unknown = (one.basis for one in each if one.seconds is None)
        return TimeEstimate(None, next(unknown, "nothing is missing"))
    bases = sorted({one.basis for one in each})
    places = len(runner.backend.slots) if None not in runner.backend.slots else 1
    return TimeEstimate(sum(one.seconds or 0 for one in each) / places, "; ".join(bases))


def units(settings: Settings, kind: str, arguments: Mapping[str, Any]) -> int:
    """Optimizer steps of a fine-tune, test samples of an evaluation, 1 of anything else."""
    if kind == "evaluate":
        dataset = evaluated_dataset(get_family(settings, str(arguments["family"])), arguments)
        return evaluated_samples(settings, dataset, arguments)
    if kind != "finetune":
        return 1
    recipe = training_recipe(get_family(settings, str(arguments["family"])), arguments)
    return recipe.max_steps or -(-int(arguments["subset_size"]) // recipe.batch_size) * recipe.epochs


def _is_comparable(job: Job, kind: str, arguments: Mapping[str, Any], runner: Runner) -> bool:
    same = [name for name in ("family", "judge", "judge_model", "backend") if name in arguments]
    # A resumed job did only a part of its work.
    whole = job.attempt == 1 and job.backend == runner.backend.name
    return whole and job.kind == kind and all(job.arguments.get(n) == arguments[n] for n in same)


def _pace(runner: Runner, job: Job) -> tuple[float, float] | None:
    """Seconds until the work began, and seconds for each unit, from the job's reports."""
    reports = [one for one in runner.progress(job.id) if one["fraction"] > _READY]
    if len(reports) < 2 or job.started is None or job.finished is None:
        return None
    first, last = reports[0], reports[-1]
    share = last["fraction"] - first["fraction"]
    if share < _SEEN or not last["time"] > first["time"]:
        return None
    work = (last["time"] - first["time"]) / share
    amount = units(runner.settings, job.kind, job.arguments)
    return max(0.0, job.finished - job.started - work), work / amount
