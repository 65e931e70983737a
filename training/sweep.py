"""Fine-tune and evaluate every combination of sizes, prompt variants and seeds that is still missing."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

from pipeline.command_line.signature import Verb
from pipeline.command_line.verbs import run_verb
from pipeline.models.families import DEFAULT_FAMILY
from pipeline.schema import DEFAULT_SEED, LabError
from pipeline.scoring.judge.config import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE
from pipeline.settings import Settings
from training.add_base_model import add_base_model
from training.evaluate import evaluate
from training.finetune import finetune
from training.jobs import Job, Runner, open_runner
from training.jobs.arguments import (
    Epochs,
    JudgeChoice,
    JudgeTokens,
    Prompts,
    Samples,
    Seeds,
    Sizes,
    Steps,
    Temperature,
    Votes,
)
from training.jobs.progress import Reporter

_LOOK_EVERY = 1.0  # seconds


def sweep(
    sizes: Sizes,
    prompts: Prompts = "regular,augmented",
    seeds: Seeds = str(DEFAULT_SEED),
    family: str = DEFAULT_FAMILY,
    epochs: Epochs = 3,
    max_steps: Steps | None = None,
    samples: Samples = 200,
    judge: JudgeChoice = "none",
    judge_model: str = "gpt-4o",
    *,
    replace: bool = False,
    votes: Votes = 1,
    judge_temperature: Temperature = DEFAULT_TEMPERATURE,
    judge_max_tokens: JudgeTokens = DEFAULT_MAX_TOKENS,
    dataset: str | None = None,
) -> dict[str, Any]:
    """Fine-tune and evaluate every combination of sizes, prompt variants and seeds that is still missing.

    The members are jobs in the queue that the app shows. When this command is killed, those that run go on,
    and an app or another sweep on the same data folder starts the rest. Ctrl-C cancels them.

    Args:
        sizes: training-set sizes with commas between them; baseline evaluates the base model too
        prompts: prompt variants with commas between them
        seeds: training seeds with commas between them; several show how much results vary by chance
        family: model family
        epochs: passes over each subset
        max_steps: stop each training after this many steps, for a trial
        samples: number of test samples of each evaluation
        judge: CodeJudge method; the key comes from OPENAI_API_KEY
        judge_model: model that judges; a family of ours, such as qwen2.5-coder-1.5b, needs no key
        replace: train existing checkpoints again if their settings differ, and replace them
        votes: how often each answer is judged, an odd number
        judge_temperature: of the judge; some reasoning models take 1 only
        judge_max_tokens: most tokens of one answer of the judge; a reasoning model needs thousands
        dataset: one of yours to train and evaluate on, instead of the family's own

    Returns:
        The sweep's id, its number of jobs, and the result of each of them.

    Raises:
        LabError: there is no such family, or a member did not succeed.
    """
    arguments = dict(locals())
    settings = Settings.from_env()
    runner = open_runner(settings, VERBS)
    # The key stays with this process: its jobs are started from here, not by an app that has none.
    local = judge != "none" and runner.backend.name == "local"
    job = runner.submit("sweep", arguments, secrets={"OPENAI_API_KEY": settings.judge_key} if local else None)
    runner.start()
    try:
        job = _wait(runner, job, Reporter())
    except KeyboardInterrupt:
        runner.cancel(job.id)
        raise
    finally:
        runner.close()
    members = runner.list(sweep=job.id)
    if job.state != "succeeded":
        reasons = [
            f"{' '.join(one.command[2:])}: {one.reason}" for one in members if one.state != "succeeded"
        ]
        raise LabError("\n".join([job.reason or "The sweep did not succeed.", *reasons[:20]]))
    return {
        "sweep": job.id,
        "jobs": len(members),
        "results": [dict(one.result or {}) for one in reversed(members)],
    }


def _wait(runner: Runner, job: Job, report: Reporter) -> Job:
    """Report each change until the sweep has ended."""
    reported: tuple[float, str] | None = None
    while (job := runner.status(job.id)).active:
        if (job.progress, job.message) != reported:
            report(job.progress, job.message or "queued")
            reported = (job.progress, job.message)
        time.sleep(_LOOK_EVERY)
    report(1.0, job.message)
    return job


VERBS: Mapping[str, Verb] = {
    "finetune": finetune,
    "evaluate": evaluate,
    "sweep": sweep,
    "add_base_model": add_base_model,
}
"""Every verb by its kind of job."""


if __name__ == "__main__":
    sys.exit(run_verb(sweep))
