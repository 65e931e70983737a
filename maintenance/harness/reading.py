"""Answers of models, and faults that no test noticed, for somebody to read; and what readers found.

``python -m maintenance.harness.reading --suite metrics --output FILE`` writes answers that are to be read.
What was found stands in ``assets/studies/execution_labels.json``.
"""

from __future__ import annotations

import json
import random
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.store import list_runs, load_run
from pipeline.evaluation.texts import with_texts
from pipeline.json_files import parse_object
from pipeline.schema import LabError
from pipeline.scoring.execution.spec import EXECUTION, Suite
from pipeline.settings import ASSETS, Settings
from pipeline.stats.intervals import wilson

LABELS = ASSETS / "studies" / "execution_labels.json"


@dataclass(frozen=True, slots=True)
class Label:
    """What a reader found about one answer.

    Attributes:
        suite: of the sample.
        run: id of the run.
        sample: id of the sample.
        executed: what execution says.
        correct: whether the answer does what the instruction and the reference ask for.
        note: why, in a few words.
    """

    suite: Suite
    run: str
    sample: str
    executed: Literal["passed", "failed"]
    correct: bool
    note: str = ""


@dataclass(frozen=True, slots=True)
class FaultLabel:
    """What a reader found about one fault that no test noticed.

    Attributes:
        suite: of the sample.
        sample: its id.
        fault: first 12 hex digits of the SHA-256 of the code with the fault.
        observable: whether some call gives something else than the reference.
    """

    suite: Suite
    sample: str
    fault: str
    observable: bool


def read_labels() -> tuple[list[Label], list[FaultLabel]]:
    """The stored labels of answers and of faults; none where nobody has read any."""
    if not LABELS.exists():
        return [], []
    stored = parse_object(LABELS.read_bytes())
    return [Label(**each) for each in stored["answers"]], [FaultLabel(**each) for each in stored["faults"]]


def count_answers(labels: Sequence[Label]) -> dict[str, Any]:
    """By suite, false positives of passing and false negatives of failing answers; Wilson's intervals."""
    counts = Counter((label.suite, label.executed, label.correct) for label in labels)
    return {
        suite: {
            "false positives": _share(
                counts[suite, "passed", False], counts[suite, "passed", True] + counts[suite, "passed", False]
            ),
            "false negatives": _share(
                counts[suite, "failed", True], counts[suite, "failed", True] + counts[suite, "failed", False]
            ),
        }
        for suite in dict.fromkeys(label.suite for label in labels)
    }


def count_faults(labels: Sequence[FaultLabel]) -> dict[str, Any]:
    """By suite, how many of the faults that were read can be observed; Wilson's intervals."""
    counts = Counter((label.suite, label.observable) for label in labels)
    suites = dict.fromkeys(label.suite for label in labels)
    return {
        suite: _share(counts[suite, True], counts[suite, True] + counts[suite, False]) for suite in suites
    }


def _share(count: int, of: int) -> dict[str, Any]:
    if not of:
        return {"count": 0, "of": 0}
    low, high = wilson(count / of, of)
    return {"count": count, "of": of, "interval": [round(float(low), 4), round(float(high), 4)]}


def draw_answers(
    output: Path, suite: Suite, passing: int = 100, failing: int = 100, seed: int = 0
) -> dict[str, int]:
    """Write answers that were executed, drawn at random from all runs of a suite, to be read.

    A sample gives one passing and one failing answer at most, so that the labels are independent. Samples
    that have a label of that kind are left out.

    Args:
        output: the file
        suite: which suite
        passing: most answers that passed
        failing: most answers that failed
        seed: of the draw

    Returns:
        How many answers of either kind were written.

    Raises:
        LabError: a sample's instruction and reference cannot be read here.
    """
    labelled = {(label.executed, label.sample) for label in read_labels()[0]}
    labels: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for folder in list_runs(Settings.from_env()):
        run = load_run(folder)
        for sample_id, attempt in run.attempts.items():
            score = attempt.scores.get(EXECUTION[suite])
            if score is None or score.value is None or not attempt.code:
                continue
            executed = "passed" if score.value == 1 else "failed"
            if (executed, sample_id) in labelled:
                continue
            task = with_texts(run.config.dataset, attempt.task)
            if task.problem:
                raise LabError(task.problem)
            labels.setdefault((executed, sample_id), {}).setdefault(
                attempt.code,  # an answer that several checkpoints gave counts once
                {
                    "suite": suite,
                    "run": run.config.id,
                    "sample": sample_id,
                    "executed": executed,
                    "details": score.details,
                    "instruction": task.instruction,
                    "reference": task.reference,
                    "code": attempt.code,
                },
            )
    rng = random.Random(seed)
    drawn = []
    for kind, most in (("passed", passing), ("failed", failing)):
        samples = sorted(sample for executed, sample in labels if executed == kind)
        for sample in rng.sample(samples, min(most, len(samples))):
            drawn.append(rng.choice([answer for _, answer in sorted(labels[kind, sample].items())]))
    output.write_text(json.dumps(drawn, indent=1, ensure_ascii=False), encoding="utf-8")
    return {kind: sum(each["executed"] == kind for each in drawn) for kind in ("passed", "failed")}


if __name__ == "__main__":
    sys.exit(run_verb(draw_answers))
