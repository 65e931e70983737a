"""A preview of a form's job: the command, how long it takes, and what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipeline.command_line.signature import command
from pipeline.evaluation.tasks import task_from_sample
from pipeline.models.families import get_family
from pipeline.schema import LabError, counted
from pipeline.settings import Settings
from pipeline.spending import price_of
from training.jobs import Runner, duration
from training.jobs.admission import trained_checkpoint
from training.jobs.arguments import judge_config
from training.jobs.gpus import gpu_memory_in_use, visible_gpus
from training.jobs.sweep_plan import Step, evaluated, plan_sweep
from training.jobs.time_estimate import TimeEstimate, estimate, estimate_steps, units
from ui.jobs import job_html
from ui.jobs.forms import labelled
from ui.lab import Lab
from ui.markup import escape

_WORDS = {"finetune": "fine-tune", "evaluate": "evaluation"}


def preview(
    lab: Lab, runner: Runner, kind: str, values: Mapping[str, Any], secrets: Mapping[str, str] | None = None
) -> str:
    """The exact command with an estimate of time and money, or what is wrong with the form, in words."""
    try:
        with labelled(kind):
            return _preview(lab, runner, kind, values, secrets or {})
    except LabError as error:
        return f'<p class="problem" role="status">{escape(error)}</p>'


def _preview(
    lab: Lab, runner: Runner, kind: str, values: Mapping[str, Any], secrets: Mapping[str, str]
) -> str:
    job = runner.prepare(kind, values)
    arguments = job.arguments
    steps = plan_sweep(lab.settings, arguments) if kind == "sweep" else [Step(kind, arguments)]
    for step in steps:
        runner.backend.check(replace(job, kind=step.kind, arguments=step.arguments), secrets)
    if kind == "sweep":
        notes = [_plan_in_words(steps), _time(estimate_steps(runner, steps)) if steps else ""]
    else:
        notes = [_time(estimate(runner, kind, arguments), units(lab.settings, kind, arguments), kind)]
    notes.append(_money(lab, steps))
    lines = "".join(f'<p class="note">{escape(note)}</p>' for note in notes if note)
    warnings = [*_there_already(lab.settings, kind, arguments), *_about_gpus(runner, steps)]
    lines += "".join(f'<p class="note warning">{escape(warning)}</p>' for warning in warnings)
    return job_html.command(command(runner.verb(kind), arguments)) + lines


def _plan_in_words(steps: list[Step]) -> str:
    if not steps:
        return "Every checkpoint and run of this sweep is there already; nothing is missing."
    kinds = Counter(step.kind for step in steps)
    parts = [counted(kinds[kind], word) for kind, word in _WORDS.items() if kinds[kind]]
    return f"{counted(len(steps), 'job')}: {' and '.join(parts)}. What is there already is left out."


def _time(time: TimeEstimate, amount: int = 0, kind: str = "") -> str:
    unit = {"finetune": "training step", "evaluate": "test sample"}.get(kind)
    work = f" for {counted(amount, unit)}" if unit else ""
    if time.seconds is None:
        return f"No estimate of the time{work}: {time.basis}."
    return f"About {duration(max(1.0, time.seconds))}{work} ({time.basis})."


def _money(lab: Lab, steps: list[Step]) -> str:
    """The most that judging costs; the references stand for the answers that are not written yet."""
    wanted = [(step.arguments, judge_config(lab.settings, step.arguments)) for step in steps]
    judged = [(arguments, config) for arguments, config in wanted if config]
    if not judged:
        return ""
    from pipeline.scoring.judge.codejudge import estimate_cost

    first, config = judged[0]
    loading = lab.dataset(get_family(lab.settings, str(first["family"])), first["prompt"])
    if loading.state == "loading":
        return "What the judge will cost is shown once the dataset is ready: change anything to look again."
    try:
        samples = loading.result().evaluation(int(first["samples"]))
    except LabError as error:
        return str(error)
    price = price_of(lab.settings, config.model, config.base_url)
    answers = [(task_from_sample(sample), sample.function) for sample in samples]
    cost = estimate_cost(config, answers, price)
    times = f", for each of {len(judged)} evaluations" if len(judged) > 1 else ""
    return f"The judge: {cost}{times}."


def _there_already(settings: Settings, kind: str, arguments: Mapping[str, Any]) -> list[str]:
    """Name the checkpoint or run that this job would replace."""
    if kind == "finetune" and (there := trained_checkpoint(settings, arguments)):
        also = "Another seed adds one."
        return [f"There is a checkpoint {there.name} already; this one takes its place. {also}"]
    if kind == "evaluate" and evaluated(settings, arguments):
        return ["Results has a complete run of just this already; it would be made again."]
    return []


def _about_gpus(runner: Runner, steps: list[Step]) -> list[str]:
    """A GPU that is missing, or whose memory a job would have to share with the comparison's model."""
    if runner.backend.name != "local":
        return []
    named = [str(step.arguments["family"]) for step in steps if "family" in step.arguments]
    families = [get_family(runner.settings, name) for name in named]
    served = runner.settings.engine_url is not None and all(step.kind == "evaluate" for step in steps)
    if not visible_gpus(runner.settings):
        needed = any(not family.embedded for family in families) and not served
        return (
            ["This model needs a GPU, and this machine shows none: the job will fail here."] if needed else []
        )
    used = gpu_memory_in_use()
    where = "; ".join(used)
    return [f"{where}, by this page's model or others. A job there may run out of memory."] if used else []
