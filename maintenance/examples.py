"""Find what Compare opens with in the stored runs: what training does, and samples that show it."""

from __future__ import annotations

import json
import sys
from typing import Any

from pipeline.analysis.clear_cases import DATA_EFFECTS, ClearCase, find_examples, strongest_variant
from pipeline.analysis.run_cache import RunCache
from pipeline.analysis.setups import Setup
from pipeline.command_line.verbs import run_verb
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.families import load_families
from pipeline.schema import TRAINED_VARIANTS, PromptVariant
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.settings import Settings
from ui.results.findings import effect_of

_EACH = 2  # of each effect


def examples() -> dict[str, Any]:
    """Write assets/examples.json: for each family the samples that show best what more data does.

    They are those of the prompt variant under which training helps most to pass the tests; an effect that no
    sample has there is shown under another.

    Returns:
        How many samples each family has.
    """
    settings = Settings.from_env()
    runs = RunCache(StoredRuns(settings))
    setups = [setup for setup in runs.setups() if setup.execution == EXECUTION["packages"]]
    chosen, findings = {}, {}
    for family in load_families(settings):
        setup = next((each for each in setups if each.family == family), None)
        if setup:
            chosen[family] = [_record(variant, example) for variant, example in _chosen(setup)]
            findings[family] = _findings(runs, setup)
    whole = {"command": "python -m maintenance.examples", "families": chosen, "findings": findings}
    text = json.dumps(whole, indent=1)
    (settings.assets / "examples.json").write_text(text + "\n", encoding="utf-8")
    return {family: len(found) for family, found in chosen.items()}


def _findings(runs: RunCache, setup: Setup) -> list[dict[str, Any]]:
    """What training does under each prompt, that which it helps most first; none if that may be noise."""
    analysis = runs.analysis(setup, EXECUTION["packages"])
    first = strongest_variant(setup)
    found = []
    for variant in sorted(TRAINED_VARIANTS, key=lambda each: each != first):
        effect = effect_of(analysis, variant)
        if effect and effect.first.x == 0:
            points = [point for point in analysis.points if point.variant == variant]
            passed = {int(point.x): round(point.value, 3) for point in points}
            found.append({"prompt": variant, "passed": passed, "differs": effect.whole.distinguishable})
    return found if found and found[0]["differs"] else []


def _chosen(setup: Setup) -> list[tuple[PromptVariant, ClearCase]]:
    first = strongest_variant(setup)
    found = [
        (variant, example)
        for variant in (first, *TRAINED_VARIANTS)
        for example in find_examples(setup, variant, _EACH)
    ]
    by_effect = {
        effect: [each for each in found if each[1].effect == effect][:_EACH] for effect in DATA_EFFECTS
    }
    return [each for some in by_effect.values() for each in some]


def _record(variant: PromptVariant, example: ClearCase) -> dict[str, Any]:
    return {
        "effect": example.effect,
        "prompt": variant,
        "sample": example.sample,
        "passed": example.passed,
        "chrF": example.chrf,
    }


if __name__ == "__main__":
    sys.exit(run_verb(examples))
