"""``python -m maintenance.harness``: measure how often execution is wrong, and write the study."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from maintenance.harness.reading import count_answers, count_faults, read_labels
from maintenance.harness.study import STUDY, measure
from pipeline.command_line.commands import command_text
from pipeline.command_line.signature import command
from pipeline.command_line.verbs import run_verb
from pipeline.json_files import parse_object
from pipeline.schema import LabError
from pipeline.scoring.execution.spec import Suite
from pipeline.scoring.execution.suites.suite import load_suite
from pipeline.settings import Settings
from pipeline.versions import package_versions
from training.jobs.progress import Reporter


def study(
    suites: str = "packages,metrics,humaneval", faults: int = 6, odd: Path | None = None
) -> dict[str, Any]:
    """Measure how often execution is wrong, and write ``assets/studies/execution.json``.

    Args:
        suites: names, separated by commas; other suites keep their figures. "none" only counts the labels
        faults: number of faults for each sample
        odd: file that gets the code with an unexpected result: it passes and should fail, or the reverse

    Returns:
        What was written.
    """
    settings, report = Settings.from_env(), Reporter()
    known = parse_object(STUDY.read_bytes()) if STUDY.exists() else {}
    measured = dict(known.get("suites", {}))
    for name in suites.split(",") if suites != "none" else ():
        suite = load_suite(settings, _suite(name))
        measured[name], strange = measure(list(suite.specs.values()), faults, report)
        measured[name]["fingerprint"] = suite.dataset.fingerprint
        if odd:
            with odd.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(each) + "\n" for each in strange)
    answers, passing_faults = read_labels()
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": command_text(command(study, {"faults": faults})),
        "versions": package_versions(),
        "suites": measured,
        "answers read": count_answers(answers),
        "passing faults read, of which can be observed": count_faults(passing_faults),
    }
    STUDY.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return record


def _suite(name: str) -> Suite:
    match name:
        case "packages" | "metrics" | "humaneval":
            return name
    raise LabError(f"There is no suite {name!r}.")


if __name__ == "__main__":
    sys.exit(run_verb(study))
