"""Stored answers: what the page shows of a sample before any model is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.analysis.clear_cases import find_examples
from pipeline.analysis.run_cache import RunCache
from pipeline.evaluation.stored_runs import StoredRuns
from pipeline.models.checkpoints import columns
from pipeline.models.families import get_family
from pipeline.schema import Column, SamplingParams
from pipeline.settings import ROOT, Settings
from tests.made_up_runs import EXECUTION, GREEDY, bare_settings, make_run

FIRST = "pkg0/module_0.py::function_0"


@pytest.fixture
def own(tmp_path: Path) -> Settings:
    return bare_settings(tmp_path)


def column(settings: Settings, key: str, fingerprint: str = "abc123") -> Column:
    """A column of the small family, with the fingerprint that made-up runs have."""
    known = columns(settings, get_family(settings, "smollm2-135m"))[key]
    if known.checkpoint.is_baseline:
        return known
    return replace(known, checkpoint=replace(known.checkpoint, fingerprint=fingerprint))


@pytest.mark.parametrize("name", ["smollm2-135m", "qwen2.5-coder-1.5b"])
def test_every_sample_of_the_shipped_runs_has_an_answer_of_every_checkpoint(
    settings: Settings, name: str
) -> None:
    family, stored = get_family(settings, name), StoredRuns(settings)
    regular = [each for key, each in columns(settings, family).items() if key.endswith("/regular")]
    shipped = next(
        run.config
        for run in stored.runs()
        if run.config.family == name and run.config.dataset == "packages" and not run.config.subset_size
    )
    for sample in shipped.sample_ids:
        assert set(stored.answers(regular, sample, family.sampling)) == set(regular)


def test_an_answer_of_another_sampling_or_adapter_is_not_stored(own: Settings) -> None:
    make_run(own, 200)
    stored, asked = StoredRuns(own), column(own, "200/regular")
    assert set(stored.answers([asked], FIRST, replace(GREEDY, min_p=0.3, seed=7))) == {asked}
    assert not stored.answers([asked], FIRST, SamplingParams(0.1, 0.1, 256))
    assert not stored.answers([asked], FIRST, replace(GREEDY, max_new_tokens=64))
    assert not stored.answers([column(own, "200/regular", "other")], FIRST, GREEDY)
    assert not stored.answers([asked], "pkg0/module_0.py::unknown", GREEDY)


def test_all_answers_are_from_the_dataset_that_has_most_columns_and_else_from_executed_runs(
    own: Settings,
) -> None:
    make_run(own, 0), make_run(own, 200)
    make_run(own, 200, dataset="packages-exec", values={EXECUTION: [1.0]})
    stored, both = StoredRuns(own), [column(own, "baseline/regular"), column(own, "200/regular")]
    datasets = {each.config.dataset for each in stored.answers(both, FIRST, GREEDY).values()}
    assert datasets == {"packages"}
    (alone,) = stored.answers(both[1:], FIRST, GREEDY).values()
    assert alone.config.dataset == "packages-exec"


def test_of_two_runs_of_a_column_the_newest_counts_also_if_it_appears_later(own: Settings) -> None:
    old, stored, asked = make_run(own, 0), StoredRuns(own), column(own, "baseline/regular")
    assert stored.answers([asked], FIRST, GREEDY)[asked].config == old.config
    new = make_run(own, 0, created="2026-02-02T00:00:00+00:00")
    assert stored.answers([asked], FIRST, GREEDY)[asked].config == new.config


def test_stories_have_one_change_of_the_verdict_and_come_with_the_steepest_change_of_chrf(
    own: Settings,
) -> None:
    ladder = {0: [0, 1, 0, 0], 200: [0, 1, 1, 0], 500: [1, 0, 0, 0], 1000: [1, 0, 1, 0]}
    for size, passed in ladder.items():
        values = {EXECUTION: passed, "chrF": [40 + size / 50, 60 - size / 50, 50, 30]}
        make_run(own, size, values=values, dataset="humaneval")
    (setup,) = RunCache(StoredRuns(own)).setups()
    found = {example.effect: example.sample[-1] for example in find_examples(setup, "regular", 2)}
    assert found == {"helps": "0", "harms": "1", "changes nothing": "3"}


def test_stored_answers_need_neither_torch_nor_scipy() -> None:
    code = (
        "import sys; from pipeline.evaluation.stored_runs import StoredRuns\n"
        "from pipeline.settings import Settings\n"
        "assert StoredRuns(Settings.from_env()).runs(); print([m for m in ('torch', 'scipy', 'pandas') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_page_is_built_with_a_finished_comparison_and_loads_nothing_for_it(tmp_path: Path) -> None:
    code = (
        "import json, sys; from pathlib import Path; import app; from pipeline.settings import Settings\n"
        "from training.jobs import open_runner; from training.sweep import VERBS; from ui.lab import Lab\n"
        "settings = Settings(Path(sys.argv[1]))\n"
        "page = app.build(Lab(settings), open_runner(settings, VERBS))\n"
        "panes = next(each for each in page.blocks.values() if each.elem_id == 'panes')\n"
        "print(json.dumps([panes.value, [m for m in ('torch', 'scipy') if m in sys.modules]]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True
    )
    shown, loaded = json.loads(done.stdout.splitlines()[-1])
    assert loaded == []
    assert "Stored answers to" in shown
    assert shown.count('data-origin="stored"') > 2
    assert not (tmp_path / "datasets").exists()
