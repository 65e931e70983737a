"""Writes what an evaluation writes: a run's folder, with one made-up answer a sample."""

from __future__ import annotations

import sys
from typing import Any, Literal

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.runs import RunConfig
from pipeline.evaluation.store import add_judge, append_attempts, create_run, runs_dir
from pipeline.models.checkpoints import get_column
from pipeline.models.families import DEFAULT_FAMILY, get_family
from pipeline.schema import Attempt, Completion, PromptVariant, Score, Task
from pipeline.settings import Settings
from training.jobs.arguments import CheckpointName, Size, evaluated_column, judge_config
from training.jobs.progress import Reporter


def evaluate(
    subset_size: Size = "baseline",
    prompt: PromptVariant = "regular",
    family: str = DEFAULT_FAMILY,
    samples: int = 200,
    judge: Literal["none", "naive"] = "none",
    judge_model: str = "gpt-4o",
    votes: int = 1,
    temperature: float | None = None,
    max_new_tokens: int | None = None,
    seed: int = 42,
    training_seed: int = 42,
    suite: Literal["none", "humaneval"] = "none",
    resume: bool = False,
    judge_temperature: float = 0.5,
    judge_max_tokens: int = 512,
    checkpoint: CheckpointName | None = None,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Write a run of the checkpoint; raises LabError where there is none."""
    arguments = dict(locals())
    settings, report = Settings.from_env(), Reporter()
    chosen = get_family(settings, family, dataset)
    column = get_column(settings, chosen, evaluated_column(arguments))
    ids = tuple(f"sample-{number}" for number in range(samples))
    config = RunConfig(
        id=f"{family}_{column.key.replace('/', '-')}",
        family=family,
        checkpoint=column.checkpoint.name,
        column=column.key,
        fingerprint=column.checkpoint.fingerprint,
        subset_size=column.checkpoint.subset_size,
        variant=prompt,
        training_seed=column.checkpoint.seed,
        dataset=chosen.dataset if suite == "none" else suite,
        dataset_fingerprint="none",
        sample_ids=ids,
        decoding=chosen.sampling,
        recipe=column.checkpoint.recipe,
    )
    folder = create_run(runs_dir(settings), config)
    done = Completion(config.fingerprint, "pass", 1, "stop", 0.1)
    scores = {"chrF": Score("chrF", 0.5)}
    if chosen_judge := judge_config(settings, arguments):
        add_judge(folder, chosen_judge)
        scores[chosen_judge.name] = Score(chosen_judge.name, 1.0)
    tasks = [Task("do", reference="pass", sample_id=one, repo="repo") for one in ids]
    append_attempts(
        folder, [Attempt(task, column, completion=done, code="pass", scores=scores) for task in tasks]
    )
    report(1.0, "done", score=0.5)
    return {"run": config.id, "path": str(folder), "column": column.key}


if __name__ == "__main__":
    sys.exit(run_verb(evaluate))
