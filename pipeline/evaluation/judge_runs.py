"""Judge stored runs: nothing is generated, and each verdict is stored as soon as there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.evaluation.attempts import has_values
from pipeline.evaluation.store import add_judge, append_attempts, load_run
from pipeline.evaluation.texts import with_texts
from pipeline.schema import Attempt, LabError, Progress, Score
from pipeline.scoring.judge.codejudge import CodeJudge, estimate_cost
from pipeline.scoring.judge.config import JudgeConfig
from pipeline.scoring.judge.open_judge import open_judge
from pipeline.settings import Settings
from pipeline.spending import price_of


@dataclass(frozen=True)
class _Row:
    """An attempt and the folder of its run."""

    folder: Path
    attempt: Attempt


def judge_runs(settings: Settings, config: JudgeConfig, folders: Sequence[Path], report: Progress) -> None:
    """Judge the answers without a verdict, those of all runs together.

    Raises:
        LabError: the judge cannot be used, instruction and reference of an answer cannot be read here, or a
            judge of the same name and other settings has judged a part of a run.
    """
    rows = [row for folder in folders for row in _waiting(folder, config)]
    if not rows:
        return
    attempts = [row.attempt for row in rows]
    price = price_of(settings, config.model, config.base_url)
    report(0.0, f"judging: {estimate_cost(config, [(each.task, each.code) for each in attempts], price)}")
    judged = 0

    def store(index: int, score: Score) -> None:
        nonlocal judged
        append_attempts(rows[index].folder, [replace(attempts[index], scores={score.metric: score})])
        judged += 1
        report(judged / len(rows), f"judged {judged} of {len(rows)}")

    run = ", ".join(folder.name for folder in folders)
    model = open_judge(settings, config, lambda fraction, message: report(0.0, message), run)
    CodeJudge(model).score(attempts, on_result=store)


def _waiting(folder: Path, config: JudgeConfig) -> list[_Row]:
    """The run's answers without a verdict; where there is no answer, that is stored as the reason."""
    add_judge(folder, config)
    run = load_run(folder)
    if failed := [attempt for attempt in run.attempts.values() if attempt.error]:
        append_attempts(folder, [_unjudged(attempt, config.name) for attempt in failed])
    return [
        _Row(folder, _with_texts(run.config.dataset, attempt))
        for attempt in run.attempts.values()
        if attempt.written and not has_values(attempt, [config.name])
    ]


def _unjudged(attempt: Attempt, metric: str) -> Attempt:
    return replace(attempt, scores={metric: Score(metric, None, attempt.error)})


def _with_texts(dataset: str, attempt: Attempt) -> Attempt:
    task = with_texts(dataset, attempt.task)
    if task.problem:
        raise LabError(f"{task.sample_id} cannot be judged. {task.problem}")
    return replace(attempt, task=task)
