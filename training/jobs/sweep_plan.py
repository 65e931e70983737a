"""A sweep: sizes × prompt variants × seeds, each fine-tune followed by its evaluation, if still missing."""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from pipeline.data.own.store import find_own
from pipeline.evaluation.datasets import dataset_version
from pipeline.evaluation.runs import Run, RunConfig
from pipeline.evaluation.store import list_runs, load_config, load_run
from pipeline.models.checkpoints import RECORD, checkpoint_name, get_column, list_checkpoints
from pipeline.models.families import Family, get_family
from pipeline.schema import BASELINE, DEFAULT_SEED, Checkpoint, LabError, Recipe
from pipeline.settings import Settings
from training.jobs.admission import MAX_ACTIVE
from training.jobs.arguments import (
    evaluated_column,
    evaluated_dataset,
    evaluated_samples,
    evaluation_sampling,
    judge_config,
    parse_prompts,
    parse_seeds,
    parse_sizes,
)
from training.jobs.recipe import other_recipe, read_settings, training_recipe
from training.jobs.records import Records

NOTHING_MISSING = "nothing was missing"
_SCORING = ("samples", "judge", "judge_model", "votes", "judge_temperature", "judge_max_tokens")
"""Arguments that a sweep gives to its evaluations."""


@dataclass(frozen=True, slots=True)
class Step:
    """One job of a sweep; ``after`` is the index of the step that must succeed before it."""

    kind: str
    arguments: Mapping[str, Any]
    after: int | None = None


def plan_sweep(settings: Settings, arguments: Mapping[str, Any]) -> list[Step]:
    """The jobs of a sweep that are still missing, in the order in which they are queued.

    Every step resumes, so one that was interrupted before goes on and repeats nothing.

    Args:
        settings: where checkpoints and runs are.
        arguments: of the sweep, validated.

    Raises:
        LabError: there is no such family, or the combinations are too many.
    """
    family = get_family(settings, arguments["family"])
    sizes, seeds = parse_sizes(arguments["sizes"]), parse_seeds(arguments["seeds"])
    prompts = parse_prompts(arguments["prompts"])
    combinations = len(sizes) * len(seeds) * len(prompts)
    if combinations > MAX_ACTIVE:  # no queue could hold them; checked before any of them is looked up
        raise LabError(
            f"A sweep of {len(sizes):,} sizes, {len(prompts)} prompt variants and {len(seeds):,} seeds has "
            f"{combinations:,} combinations; at most {MAX_ACTIVE} may be asked for at once."
        )
    dataset = arguments.get("dataset")
    version = dataset_version(settings, dataset or family.dataset)
    training = {name: arguments[name] for name in ("epochs", "max_steps")}
    recipe = training_recipe(family, training)
    scoring = {name: arguments[name] for name in _SCORING}
    known = {checkpoint.name: checkpoint for checkpoint in list_checkpoints(settings, family)}
    configs = _configs(settings, family)
    steps: list[Step] = []
    for size, seed, prompt in product(sizes, seeds, prompts):
        if size == 0 and seed != seeds[0]:
            continue  # the baseline has no training seed
        if size and prompt == "chat":
            continue  # which no checkpoint is trained with
        common = {"family": family.name, "prompt": prompt, "dataset": dataset, "resume": True}
        name = checkpoint_name(size, prompt, seed, recipe, family.recipe, dataset) if size else BASELINE
        checkpoint = known.get(name)
        trained = None
        if size and not _trained(checkpoint, recipe, version):
            trained = len(steps)
            tuned = {**common, "subset_size": size, "seed": seed, **training, "replace": arguments["replace"]}
            steps.append(Step("finetune", tuned))
        wanted = {
            **common,
            "subset_size": str(size or BASELINE),
            "training_seed": seed if size else DEFAULT_SEED,
            "checkpoint": None if recipe == family.recipe or not size else name,
            **scoring,
        }
        if (
            trained is not None
            or checkpoint is None
            or not _evaluated(settings, configs, family, checkpoint, wanted)
        ):
            steps.append(Step("evaluate", wanted, trained))
    return steps


def settle(records: Records, sweep_id: str) -> None:
    """Update a sweep's record from its members."""
    sweep, members = records.get(sweep_id), records.list(sweep=sweep_id)
    if sweep is None or not members:
        return
    states = Counter(job.state for job in members)
    done = len(members) - states["queued"] - states["running"]
    counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    changes: dict[str, Any] = {
        "progress": sum(job.progress if job.active else 1.0 for job in members) / len(members),
        "message": f"{done} of {len(members)} done ({counts})",
        "reason": None,
    }
    bad = [state for state in ("failed", "interrupted", "cancelled") if states[state]]
    if done < len(members):
        changes["state"] = "running" if states["running"] or done else "queued"
    else:
        changes["state"] = bad[0] if bad else "succeeded"
        changes["reason"] = f"Of {len(members)} jobs: {counts}." if bad else None
    if all(getattr(sweep, name) == value for name, value in changes.items()):
        return
    changes["started"] = min((job.started for job in members if job.started), default=None)
    changes["finished"] = time.time() if done == len(members) else None
    with suppress(sqlite3.IntegrityError):  # the same sweep was asked for again meanwhile: that one shows it
        records.update(sweep, **changes)


def _trained(checkpoint: Checkpoint | None, recipe: Recipe, version: str) -> bool:
    """Whether the checkpoint can be used and was trained by this recipe.

    Args:
        checkpoint: None if there is none of its name.
        recipe: the wanted one.
        version: of the dataset, if that is one of the user's, who can import it again; else empty.
    """
    if checkpoint is None or checkpoint.problem or checkpoint.path is None:
        return False
    if version and read_settings(checkpoint.path / RECORD).get("dataset_fingerprint") != version:
        return False
    return not other_recipe(checkpoint, recipe)


def evaluated(settings: Settings, arguments: Mapping[str, Any]) -> bool:
    """Whether a complete run of the same evaluation exists."""
    family = get_family(settings, arguments["family"])
    column = get_column(settings, family, evaluated_column(arguments))
    return _evaluated(settings, _configs(settings, family), family, column.checkpoint, arguments)


def _configs(settings: Settings, family: Family) -> dict[Path, RunConfig]:
    """The configs of the family's runs by folder. Their many attempts are not read here."""
    configs = {}
    for folder in list_runs(settings):
        with suppress(LabError):  # one that cannot be read does not count as there
            configs[folder] = load_config(folder)
    return {folder: config for folder, config in configs.items() if config.family == family.name}


def _evaluated(
    settings: Settings,
    configs: Mapping[Path, RunConfig],
    family: Family,
    checkpoint: Checkpoint,
    wanted: Mapping[str, Any],
) -> bool:
    """Whether one of the runs is complete, of the same weights, and made with the same settings."""
    judge = judge_config(settings, wanted)
    sampling = evaluation_sampling(family, wanted)
    dataset = evaluated_dataset(family, wanted)
    own = find_own(settings, dataset)
    samples = evaluated_samples(settings, dataset, wanted)
    asked = (evaluated_column(wanted), checkpoint.fingerprint, dataset, samples, sampling)
    for folder, config in configs.items():
        found = (config.column, config.fingerprint, config.dataset, len(config.sample_ids), config.decoding)
        if found == asked and (own is None or config.dataset_fingerprint == own.fingerprint):
            with suppress(LabError):  # a damaged one is made again
                run = load_run(folder)
                if run.complete and (judge is None or _judged(run, judge.name)):
                    return True
    return False


def _judged(run: Run, metric: str) -> bool:
    """Whether the judge judged every sample; without any verdict it could not be reached."""
    verdicts = run.scores(metric)
    return len(verdicts) == len(run.attempts) and any(verdict.value is not None for verdict in verdicts)
