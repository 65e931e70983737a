"""The work behind ``training.evaluate``, for one column or many in the same batches."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipeline.data.load import load_dataset
from pipeline.evaluation.store import Item, Run, RunConfig, append_items, create_run, load_run
from pipeline.generation import Engine, Request, open_engine
from pipeline.generation.prompts import Context, Prompt
from pipeline.models.families import Family
from pipeline.models.hub import fetch
from pipeline.schema import Column, LabError, Sample, SamplingParams, Score
from pipeline.scoring import Candidate, Scorer, offline_scorers, score_all
from pipeline.scoring.extract import extract_code
from pipeline.scoring.judge.client import JudgeClient
from pipeline.scoring.judge.codejudge import CodeJudge, estimate
from pipeline.scoring.judge.config import JudgeConfig, self_judging_warning
from pipeline.scoring.likelihood import BITS_PER_BYTE, Likelihood
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.progress import Reporter

_SCORE_ROWS = 64  # where nothing is left to generate


@dataclass(frozen=True)
class Plan:
    """What an evaluation does, the same for every column."""

    samples: int
    decoding: SamplingParams
    judge: JudgeConfig | None
    resume: bool
    root: Path


@dataclass(frozen=True)
class _Task:
    """One sample of one column's run, with what is stored of it."""

    column: Column
    folder: Path
    sample: Sample
    item: Item | None


def evaluate_columns(
    settings: Settings,
    family: Family,
    columns: Sequence[Column],
    plan: Plan,
    report: Reporter,
    engine: Engine | None = None,
) -> list[Run]:
    """Evaluate columns of one prompt variant side by side; every batch is stored before the next starts.

    Raises:
        LabError: see ``training.evaluate``.
    """
    if plan.samples < 1:
        raise LabError("At least one test sample is needed.")
    report(0.0, "reading the dataset")
    if not settings.engine_url:
        columns = [replace(each, checkpoint=fetch(settings, family, each.checkpoint)) for each in columns]
    dataset = load_dataset(settings, family.dataset, columns[0].variant)
    samples = dataset.evaluation(plan.samples)
    configs = [_config(family, column, dataset, samples, plan) for column in columns]
    folders = [plan.root / config.id for config in configs]
    if not plan.resume:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    scorers = offline_scorers()
    metrics = [BITS_PER_BYTE, *(metric for scorer in scorers for metric in scorer.metrics)]
    tasks = _tasks(columns, folders, samples)
    tasks = [task for task in tasks if task.item is None or _lacks(task.item, metrics)]
    if engine is None and any(task.item is None or _lacks(task.item, [BITS_PER_BYTE]) for task in tasks):
        engine = open_engine(settings, family, lambda fraction, message: report(0.01, message))
    if engine:
        scorers.append(Likelihood(engine))
    for config in configs:
        _create(plan.root, replace(config, engine=engine.describe() if engine else ""))
    rows = engine.batch_rows if engine else _SCORE_ROWS
    for start in range(0, len(tasks), rows):
        batch = tasks[start : start + rows]
        report(0.02 + 0.9 * start / len(tasks), f"{start} of {len(tasks)} generated and scored")
        items = _score(_complete(batch, engine, plan.decoding), batch, engine, scorers, plan.decoding)
        for folder in folders:
            append_items(
                folder, [item for item, task in zip(items, batch, strict=True) if task.folder == folder]
            )
    if plan.judge:
        _warn_of_self_judging(plan.judge, family)
        _judge(settings, plan.judge, _tasks(columns, folders, samples), report)
    report(1.0, "done")
    return [load_run(folder) for folder in folders]


def summarize(run: Run) -> dict[str, Any]:
    """The run's id, folder and each metric's mean over its scored samples, with both counts."""
    values: dict[str, list[float | None]] = {}
    for item in run.items.values():
        for name, score in item.scores.items():
            values.setdefault(name, []).append(score.value)
    scores = {}
    for name, found in values.items():
        scored = [value for value in found if value is not None]
        mean = sum(scored) / len(scored) if scored else None
        scores[name] = {"mean": mean, "n": len(scored), "unscored": len(found) - len(scored)}
    finished = [item.completion.finish_reason for item in run.items.values()]
    return {
        "run": run.config.id,
        "path": str(run.path),
        "column": run.config.column,
        "fingerprint": run.config.fingerprint,
        "samples": len(run.items),
        "truncated": finished.count("length"),
        "scores": scores,
    }


def _config(family: Family, column: Column, dataset: Any, samples: Sequence[Sample], plan: Plan) -> RunConfig:
    ids = tuple(sample.id for sample in samples)
    what = {
        "fingerprint": column.checkpoint.fingerprint,
        "dataset": dataset.fingerprint,
        "samples": ids,
        "decoding": asdict(plan.decoding),
    }
    digest = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:8]
    decoding, checkpoint = plan.decoding, column.checkpoint
    style = "greedy" if decoding.temperature == 0 else f"t{decoding.temperature:g}"
    command = (
        f"python -m training.evaluate --family {family.name} "
        f"--subset-size {checkpoint.subset_size or 'baseline'} --prompt {column.variant} "
        f"--samples {len(ids)} --temperature {decoding.temperature:g} "
        f"--max-new-tokens {decoding.max_new_tokens} --seed {decoding.seed}"
    )
    if checkpoint.seed not in (None, 42):
        command += f" --training-seed {checkpoint.seed}"
    return RunConfig(
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
        decoding=decoding,
        versions=package_versions(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command,
    )


def _create(root: Path, config: RunConfig) -> None:
    try:
        create_run(root, config)
    except OSError as error:
        raise LabError(f"The run cannot be stored in {root}: {error}") from error


def _tasks(columns: Sequence[Column], folders: Sequence[Path], samples: Sequence[Sample]) -> list[_Task]:
    """Every sample of every column; a sample's columns stand together, so that they share a batch."""
    done = [load_run(folder).items if folder.exists() else {} for folder in folders]
    return [
        _Task(column, folder, sample, items.get(sample.id))
        for sample in samples
        for column, folder, items in zip(columns, folders, done, strict=True)
    ]


def _lacks(item: Item, metrics: Sequence[str]) -> bool:
    """Whether a metric has no value yet; what went unscored is tried again at the next resume."""
    return any(name not in item.scores or item.scores[name].value is None for name in metrics)


def _complete(batch: Sequence[_Task], engine: Engine | None, decoding: SamplingParams) -> list[Item]:
    """Each task's item; those that have no completion yet are generated, all in one batch."""
    new = [task for task in batch if task.item is None]
    items = {id(task): task.item for task in batch if task.item}
    if new and engine:
        prompts = [_prompt(engine, task, decoding) for task in new]
        requests = [Request(task.column, prompt.text) for task, prompt in zip(new, prompts, strict=True)]
        *_, completions = engine.stream(requests, decoding)
        for task, prompt, completion in zip(new, prompts, completions, strict=True):
            items[id(task)] = Item(
                sample_id=task.sample.id,
                instruction=task.sample.prompt,
                reference=task.sample.function,
                repo=task.sample.repo,
                completion=completion,
                code=extract_code(completion.text),
                trimmed=prompt.trimmed,
            )
    return [items[id(task)] for task in batch]


def _score(
    items: Sequence[Item],
    batch: Sequence[_Task],
    engine: Engine | None,
    scorers: Sequence[Scorer],
    decoding: SamplingParams,
) -> list[Item]:
    candidates = [
        Candidate(
            instruction=item.instruction,
            text=item.completion.text,
            code=item.code,
            reference=item.reference,
            prompt=_prompt(engine, task, decoding).text if engine else "",
            column=task.column,
        )
        for item, task in zip(items, batch, strict=True)
    ]
    wanted = [scorer for scorer in scorers if any(_lacks(item, scorer.metrics) for item in items)]
    scored = []
    for item, found in zip(items, score_all(candidates, wanted), strict=True):
        # A value that is there stays: computed among other rows, it would be rounded otherwise.
        new = {name: score for name, score in found.items() if _lacks(item, [name])}
        scored.append(replace(item, scores={**item.scores, **new}))
    return scored


def _prompt(engine: Engine, task: _Task, decoding: SamplingParams) -> Prompt:
    context = Context.around(task.sample.full_code, task.sample.function)
    return engine.render(task.sample.prompt, task.column.variant, context, decoding)


def _warn_of_self_judging(config: JudgeConfig, family: Family) -> None:
    generator = family.base if isinstance(family.base, str) else family.base.hub_id
    if warning := self_judging_warning(config.model, generator):
        print(f"warning: {warning}", file=sys.stderr)


def _judge(settings: Settings, config: JudgeConfig, tasks: Sequence[_Task], report: Reporter) -> None:
    """Judge what is not judged yet; each verdict is stored as it comes, and each vote cached before that."""
    waiting = [(task.folder, task.item) for task in tasks if task.item and _lacks(task.item, (config.name,))]
    if not waiting:
        return
    candidates = [
        Candidate(item.instruction, item.completion.text, item.code, item.reference) for _, item in waiting
    ]
    report(0.92, f"judging: {estimate(config, candidates)}")
    client = JudgeClient(config, os.environ.get("OPENAI_API_KEY", ""), settings.data_dir / "judge-cache")
    judged = 0

    def store(index: int, score: Score) -> None:
        nonlocal judged
        folder, item = waiting[index]
        append_items(folder, [replace(item, scores={score.metric: score})])
        judged += 1
        report(0.92 + 0.08 * judged / len(waiting), f"judged {judged} of {len(waiting)}")

    CodeJudge(client).score(candidates, on_result=store)
