"""Fine-tune and evaluate every combination of sizes, prompt variants and seeds that is still missing."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

from pipeline.models.families import DEFAULT_FAMILY
from pipeline.schema import LabError
from pipeline.settings import Settings
from training import command_line as cli
from training.progress import Reporter


def sweep(
    sizes: str,
    prompts: str = "regular,augmented",
    seeds: str = "42",
    family: str = DEFAULT_FAMILY,
    epochs: int = 3,
    max_steps: int | None = None,
    samples: int = 200,
    judge: Literal["none", "naive", "analyze", "taxonomy"] = "none",
    judge_model: str = "gpt-4o",
) -> dict[str, Any]:
    """Fine-tune and evaluate every combination of sizes, prompt variants and seeds that is still missing.

    The members are jobs in the queue that the app shows. When this command is killed, those that run go on,
    and an app or another sweep on the same data folder starts the rest. Ctrl-C cancels them.

    Args:
        sizes: training-set sizes with commas between them; baseline evaluates the base model too
        prompts: prompt variants with commas between them
        seeds: training seeds with commas between them; several show how much chance there is in training
        family: model family
        epochs: passes over each subset
        max_steps: stop each training after this many steps, for a trial
        samples: number of test samples of each evaluation
        judge: CodeJudge method; the key comes from OPENAI_API_KEY
        judge_model: model that judges

    Returns:
        The sweep's id, how many jobs it took, and what each of them found.

    Raises:
        LabError: arguments make no sense, or a member did not succeed.
    """
    arguments = dict(locals())
    from training.jobs import open_runner

    settings = Settings.from_env()
    runner = open_runner(settings)
    report = Reporter()
    # The key stays with this process: its jobs are started from here, not by an app that has none.
    local = judge != "none" and runner.backend.name == "local"
    job = runner.submit("sweep", arguments, secrets={"OPENAI_API_KEY": settings.judge_key} if local else None)
    runner.start()
    told: tuple[float, str] | None = None
    try:
        while (job := runner.status(job.id)).active:
            if (job.progress, job.message) != told:
                report(job.progress, job.message or "queued")
                told = (job.progress, job.message)
            time.sleep(1)
    except KeyboardInterrupt:
        runner.cancel(job.id)
        raise
    finally:
        runner.close()
    members = runner.list(sweep=job.id)
    report(1.0, job.message)
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


if __name__ == "__main__":
    sys.exit(cli.run(sweep))
