"""Choose the samples that Compare opens with, from the stored runs."""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.analysis.examples import find_examples
from pipeline.analysis.run_cache import RunCache
from pipeline.command_line.verbs import run_verb
from pipeline.models.families import load_families
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.settings import Settings

_EACH = 2  # of each effect


def examples() -> dict[str, Any]:
    """Write assets/examples.json: for each family the samples that show best what more data does.

    Returns:
        How many samples each family has.
    """
    settings = Settings.from_env()
    setups = [setup for setup in RunCache(settings).setups() if setup.execution == EXECUTION["packages"]]
    chosen = {}
    for family in load_families(settings):
        setup = next((each for each in setups if each.family == family), None)
        if setup:
            chosen[family] = [
                {
                    "effect": example.effect,
                    "sample": example.sample,
                    "passed": example.passed,
                    "chrF": example.chrf,
                }
                for example in find_examples(setup, "regular", _EACH)
            ]
    text = json.dumps({"command": "python -m maintenance.examples", "families": chosen}, indent=1)
    (settings.assets / "examples.json").write_text(text + "\n", encoding="utf-8")
    return {family: len(found) for family, found in chosen.items()}


if __name__ == "__main__":
    sys.exit(run_verb(examples))
