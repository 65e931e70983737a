"""Extract and score shipped answers again: ``python -m maintenance.rescore``, after a change of the rule.

Only answers whose extracted code changes are scored again, and those to the samples that ``--samples`` names,
after a change of a metric. Completions are not changed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from pipeline.command_line.progress import ProgressBar
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.attempts import extract_and_score, with_code
from pipeline.evaluation.runs import Run
from pipeline.evaluation.store import append_attempts, load_run, pack_run
from pipeline.evaluation.texts import with_texts
from pipeline.schema import Attempt, LabError, Score
from pipeline.scoring import Scorer, offline_scorers
from pipeline.scoring.execution.suites.metric import executions
from pipeline.settings import Settings


def rescore(runs: Path | None = None, samples: tuple[str, ...] = ()) -> dict[str, Any]:
    """Extract the code of stored answers again, and score those whose code has changed.

    Args:
        runs: folder of packed runs, instead of the shipped ones
        samples: ids of samples whose answers are scored again in any case

    Returns:
        How many answers were scored again, by run.

    Raises:
        LabError: a run, or the instruction and the reference of one of these answers, cannot be read here.
    """
    settings = Settings.from_env()
    root = runs or settings.assets / "results"
    counts: dict[str, int] = {}
    folders = sorted(each for each in root.iterdir() if each.is_dir())
    with closing(ProgressBar()) as progress:
        for number, folder in enumerate(folders):
            progress(number / len(folders), f"reading run {number + 1} of {len(folders)}", folder.name)
            run = load_run(folder)
            if again := _to_score(run, samples):
                progress(number / len(folders), f"scoring {len(again)} answers", folder.name)
                scorers = [*offline_scorers(), *executions(settings, run.config.dataset)]
                append_attempts(folder, score_again(run, again, scorers))
                pack_run(folder, root)
                counts[folder.name] = len(again)
    return {"changed": counts}


def _to_score(run: Run, samples: Sequence[str]) -> list[Attempt]:
    changed = with_other_code(run)
    others = {each.task.sample_id for each in changed}
    named = [
        run.attempts[sample]
        for sample in samples
        if sample in run.attempts and run.attempts[sample].written and sample not in others
    ]
    return [_with_reference(run, attempt) for attempt in (*changed, *named)]


def with_other_code(run: Run) -> list[Attempt]:
    """The attempts of a run from which the present rule extracts other code, with that code."""
    extracted = (with_code(attempt) for attempt in run.attempts.values() if attempt.written)
    return [each for each in extracted if each.code != run.attempts[each.task.sample_id or ""].code]


def _with_reference(run: Run, attempt: Attempt) -> Attempt:
    task = with_texts(run.config.dataset, attempt.task)
    if task.problem:
        raise LabError(f"{task.sample_id} cannot be scored again. {task.problem}")
    return replace(attempt, task=task)


def score_again(run: Run, attempts: Sequence[Attempt], scorers: Sequence[Scorer]) -> list[Attempt]:
    """Score attempts with the metrics that the run has; its judges' scores go with the code."""
    unjudged = {
        name: Score(name, None, "its code was extracted again after it was judged") for name in run.judges
    }
    known = {name for attempt in run.attempts.values() for name in attempt.scores}

    def scores(attempt: Attempt) -> dict[str, Score]:
        is_same = attempt.code == run.attempts[attempt.task.sample_id or ""].code
        found = {name: score for name, score in attempt.scores.items() if name in known}
        return found if is_same else unjudged | found

    return [replace(each, scores=scores(each)) for each in extract_and_score(scorers, attempts)]


if __name__ == "__main__":
    sys.exit(run_verb(rescore))
