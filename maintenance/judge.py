"""Judge runs that are stored: ``python -m maintenance.judge``. Nothing is generated.

What was judged before is not judged again, so a command that was stopped goes on where it was.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.judge_runs import judge_runs
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import is_packed, load_config, load_run, pack_run
from pipeline.models.families import get_family
from pipeline.scoring.judge.config import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE, Method
from pipeline.scoring.judge.open_judge import check_judge
from pipeline.settings import Settings
from training.evaluate import warn_of_self_judging
from training.jobs.arguments import JudgeTokens, Temperature, Votes, judge_config
from training.jobs.progress import Reporter


def judge(
    datasets: str | None = None,
    judge: Method = "naive",
    judge_model: str = "qwen2.5-coder-1.5b",
    votes: Votes = 1,
    judge_temperature: Temperature = DEFAULT_TEMPERATURE,
    judge_max_tokens: JudgeTokens = DEFAULT_MAX_TOKENS,
    runs: Path | None = None,
) -> dict[str, Any]:
    """Judge the answers of stored runs that this judge has not judged, those of all runs together.

    Args:
        datasets: names of datasets with commas between them, such as humaneval,packages-exec, instead of all
        judge: CodeJudge method
        judge_model: model that judges; a family of ours needs no key
        votes: how often each answer is judged, an odd number
        judge_temperature: of the judge
        judge_max_tokens: most tokens of one answer of the judge
        runs: folder of runs, packed or not, instead of the shipped ones

    Returns:
        The judge's name, and how many answers each run has with a verdict and without one.

    Raises:
        LabError: the judge or a run cannot be used.
    """
    arguments = dict(locals())
    settings = Settings.from_env()
    config = judge_config(settings, arguments)
    assert config is not None
    report = Reporter()
    check_judge(settings, config, lambda fraction, message: report(0.0, message))
    root = runs or settings.assets / "results"
    folders = runs_on(root, datasets)
    for name in sorted({load_config(folder).family for folder in folders}):
        warn_of_self_judging(config, get_family(settings, name))
    judge_runs(settings, config, folders, report)
    for folder in folders:
        if is_packed(folder):
            pack_run(folder, root)
    return {
        "judge": config.name,
        "runs": {each.name: _counts(load_run(each), config.name) for each in folders},
    }


def runs_on(root: Path, datasets: str | None) -> list[Path]:
    """The folders of the runs on these datasets, whose names have commas between them; of all without any."""
    wanted = {name.strip() for name in (datasets or "").split(",") if name.strip()}
    folders = (each for each in sorted(root.iterdir()) if each.is_dir() and not each.name.startswith("."))
    return [each for each in folders if not wanted or load_config(each).dataset in wanted]


def _counts(run: Run, metric: str) -> dict[str, int]:
    scores = run.scores(metric)
    judged = sum(score.value is not None for score in scores)
    return {"judged": judged, "unscored": len(scores) - judged}


if __name__ == "__main__":
    sys.exit(run_verb(judge))
