"""How the page is wired."""

from __future__ import annotations

from collections import defaultdict

import app
from pipeline.analysis.run_cache import RunCache
from pipeline.settings import Settings
from training.jobs import open_runner
from training.sweep import VERBS
from ui.about import metric_table
from ui.lab import Lab
from ui.markup import escape


def test_at_most_one_callback_of_an_event_waits_for_its_turn(settings: Settings) -> None:
    # A callback with "always_last" that was called while it ran makes Gradio send the whole event again. Two
    # of them on one event then call each other without end, as soon as their answers overlap.
    page = app.build(Lab(settings), open_runner(settings, VERBS))
    waiting = defaultdict(list)
    for call in page.config["dependencies"]:
        for target, event in call["targets"]:
            # What runs in the browser alone never waits; "load" and "then" send each callback by itself.
            waits = call["backend_fn"] and call["trigger_mode"] == "always_last"
            if waits and event not in ("load", "then"):
                waiting[target, event].append(call["api_name"])
    assert {event: calls for event, calls in waiting.items() if len(calls) > 1} == {}
    assert waiting


def test_no_callback_waits_for_a_click_on_a_choice_that_can_also_be_typed(settings: Settings) -> None:
    page = app.build(Lab(settings), open_runner(settings, VERBS))
    fields = {each["id"] for each in page.config["components"] if each["type"] == "dropdown"}
    targets = [tuple(target) for call in page.config["dependencies"] for target in call["targets"]]
    assert fields
    assert [target for target in targets if target[0] in fields and target[1] == "select"] == []


def test_about_explains_every_score_of_the_shipped_runs(settings: Settings) -> None:
    stored = {name for setup in RunCache(Lab(settings).stored).setups() for name in setup.metrics}
    table = metric_table()
    kinds = {name.split(" (")[0] if name.startswith("CodeJudge") else name for name in stored}
    assert [name for name in kinds if f'">{escape(name)}' not in table] == []
    assert any(name.startswith("CodeJudge") for name in kinds)
