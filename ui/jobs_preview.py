"""What a form would do, before it is done: the command, how long it takes, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from html import escape
from typing import Any

from pipeline.families import get_family
from pipeline.schema import LabError
from pipeline.scoring import Candidate
from training.jobs import Runner, in_time
from training.jobs.estimate import Estimate, estimate, estimate_steps
from training.jobs.local import gpu_memory_in_use
from training.jobs.sweeps import Step, plan
from training.jobs.verbs import command
from ui import jobs_view
from ui.lab import Lab


def preview(lab: Lab, runner: Runner, kind: str, given: Mapping[str, Any]) -> str:
    """The exact command with an estimate of time and money, or what is wrong with the form, in words."""
    try:
        arguments = runner.prepare(kind, given).arguments
        steps = plan(lab.settings, arguments) if kind == "sweep" else [Step(kind, arguments)]
    except LabError as error:
        return f'<p class="problem" role="status">{escape(str(error))}</p>'
    if kind == "sweep":
        notes = [_counted(steps), _time(estimate_steps(runner, steps)) if steps else ""]
    else:
        notes = [_time(estimate(runner, kind, arguments))]
    notes += [_money(lab, steps), *_warnings(runner)]
    lines = "".join(f'<p class="note">{escape(note)}</p>' for note in notes if note)
    return jobs_view.command(command(kind, arguments, runner.verbs)) + lines


def _counted(steps: list[Step]) -> str:
    if not steps:
        return "Every checkpoint and run of this sweep is there already; nothing is missing."
    kinds = Counter(step.kind for step in steps)
    parts = [f"{kinds['finetune']} fine-tunes"] if kinds["finetune"] else []
    parts += [f"{kinds['evaluate']} evaluations"] if kinds["evaluate"] else []
    return f"{len(steps)} jobs: {' and '.join(parts)}. What is there already is left out."


def _time(found: Estimate) -> str:
    if found.seconds is None:
        return f"No estimate of the time: {found.basis}."
    return f"About {in_time(max(1.0, found.seconds))} ({found.basis})."


def _money(lab: Lab, steps: list[Step]) -> str:
    """The most that judging costs; the references stand for the answers that are not written yet."""
    judged = [step.arguments for step in steps if step.arguments.get("judge", "none") != "none"]
    if not judged:
        return ""
    from pipeline.scoring.codejudge import estimate as judging
    from pipeline.scoring.judge_config import JudgeConfig

    first = judged[0]
    loading = lab.dataset(get_family(lab.settings, str(first["family"])), first["prompt"])
    if loading.state == "loading":
        return "What the judge will cost is shown once the dataset is ready: change anything to look again."
    try:
        samples = loading.result().evaluation(int(first["samples"]))
        config = JudgeConfig(first["judge"], str(first["judge_model"]), votes=int(first.get("votes") or 1))
    except LabError as error:
        return str(error)
    found = judging(
        config, [Candidate(one.prompt, one.function, one.function, one.function) for one in samples]
    )
    times = f", for each of {len(judged)} evaluations" if len(judged) > 1 else ""
    return f"The judge: {found}{times}."


def _warnings(runner: Runner) -> list[str]:
    """Two that share a GPU's memory, the comparison's model and a job, may both run out of it."""
    used = gpu_memory_in_use() if runner.backend.name == "local" else []
    return (
        [f"{'; '.join(used)}, by this page's model or others. A job there may run out of memory."]
        if used
        else []
    )
