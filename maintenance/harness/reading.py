"""What a person found who read answers of models, and which answers are to be read.

``python -m maintenance.harness.reading --output FILE`` writes the answers; what was found goes to
``assets/studies/execution_labels.json``, one entry for each answer.
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

from pipeline.evaluation.store import list_runs, load_run
from pipeline.json_files import parse_object
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.settings import ASSETS, Settings
from pipeline.stats.intervals import wilson
from training.command_line import run_verb

LABELS = ASSETS / "studies" / "execution_labels.json"


@dataclass(frozen=True, slots=True)
class Label:
    """What a person found about one answer.

    Attributes:
        run: id of the run.
        sample: id of the sample.
        executed: what execution says.
        correct: whether the answer does what the instruction and the reference ask for.
        note: why, in a few words.
    """

    run: str
    sample: str
    executed: Literal["passed", "failed"]
    correct: bool
    note: str = ""


def read_labels() -> list[Label]:
    """The stored labels; none where nobody has read answers."""
    if not LABELS.exists():
        return []
    return [Label(**each) for each in parse_object(LABELS.read_bytes())["labels"]]


def count_labels(labels: Sequence[Label]) -> dict[str, Any]:
    """False positives among passing answers, false negatives among failing ones; Wilson's intervals."""
    counts = Counter((label.executed, label.correct) for label in labels)
    return {
        "false positives": _share(counts["passed", False], counts["passed", True] + counts["passed", False]),
        "false negatives": _share(counts["failed", True], counts["failed", True] + counts["failed", False]),
    }


def _share(count: int, of: int) -> dict[str, Any]:
    if not of:
        return {"count": 0, "of": 0}
    low, high = wilson(count / of, of)
    return {"count": count, "of": of, "interval": [round(float(low), 4), round(float(high), 4)]}


def draw_answers(output: Path, passing: int = 100, failing: int = 100, seed: int = 0) -> dict[str, int]:
    """Write answers that were executed, drawn evenly from all shipped runs, for a person to read.

    Args:
        output: the file
        passing: most answers that passed
        failing: most answers that failed
        seed: of the draw

    Returns:
        How many answers of either kind were written.
    """
    found: dict[bool, dict[str, dict[str, Any]]] = {True: {}, False: {}}
    for folder in list_runs(Settings.from_env()):
        run = load_run(folder)
        for sample_id, attempt in run.attempts.items():
            score = next(
                (attempt.scores[name] for name in EXECUTION.values() if name in attempt.scores), None
            )
            if score is None or score.value is None or not attempt.code:
                continue
            found[score.value == 1].setdefault(
                f"{sample_id}\0{attempt.code}",  # an answer that several checkpoints gave is read once
                {
                    "run": run.config.id,
                    "sample": sample_id,
                    "executed": "passed" if score.value == 1 else "failed",
                    "details": score.details,
                    "instruction": attempt.task.instruction,
                    "reference": attempt.task.reference,
                    "code": attempt.code,
                },
            )
    rng = random.Random(seed)
    drawn = []
    for passed, most in ((True, passing), (False, failing)):
        answers = [found[passed][key] for key in sorted(found[passed])]
        drawn += answers if len(answers) <= most else rng.sample(answers, most)
    output.write_text(json.dumps(drawn, indent=1, ensure_ascii=False), encoding="utf-8")
    return {kind: sum(each["executed"] == kind for each in drawn) for kind in ("passed", "failed")}


if __name__ == "__main__":
    sys.exit(run_verb(draw_answers))
