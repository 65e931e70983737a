"""The suites made of installed packages: their samples, and how code is put where the reference stands."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from maintenance.suites.mutants import REPORT, mutants, stubs
from pipeline.data.packages.corpus import PACKAGES, load_corpus
from pipeline.data.packages.split import split_corpus
from pipeline.schema import LabError, Sample
from pipeline.scoring.execution.run import Executor, run_calls, sandbox_for
from pipeline.scoring.execution.sandbox import unavailable
from pipeline.scoring.execution.spec import Call, TestSpec
from pipeline.scoring.execution.suites.load import (
    HELD_OUT,
    PACKAGE_SUITES,
    PackageSuite,
    load_rows,
    make_spec,
    read_suite,
)
from pipeline.scoring.execution.suites.place import modules_with
from pipeline.scoring.execution.suites.suite import TestSuite, load_suite
from pipeline.settings import Settings

confined = pytest.mark.skipif(bool(unavailable()), reason="this system cannot confine a process")
SOME = 6
"""Samples that a test executes."""


@pytest.fixture(scope="module", params=PACKAGE_SUITES)
def suite(request: pytest.FixtureRequest, settings: Settings) -> TestSuite:
    return load_suite(settings, request.param)


@pytest.fixture(scope="module")
def some(suite: TestSuite) -> list[TestSpec]:
    return [suite.specs[sample_id] for sample_id in suite.dataset.test.ids[:SOME]]


@pytest.fixture(scope="module")
def executor(some: list[TestSpec]) -> Iterator[Executor]:
    with sandbox_for(some) as sandbox:
        yield Executor(sandbox)


@confined
def test_references_pass_and_are_not_flagged(executor: Executor, some: list[TestSpec]) -> None:
    results = executor.execute([(spec.reference, spec) for spec in some])
    assert [(result.verdict, result.flags) for result in results] == [("passed", ())] * SOME


@confined
def test_stubs_fail(executor: Executor, some: list[TestSpec]) -> None:
    jobs = [(stub, spec) for spec in some for stub in stubs(spec.reference)]
    assert "passed" not in {result.verdict for result in executor.execute(jobs)}


@confined
def test_most_mutants_fail(executor: Executor, some: list[TestSpec]) -> None:
    jobs = [(fault, spec) for spec in some for fault in mutants(spec.reference, REPORT, most=4)]
    passed = sum(result.verdict == "passed" for result in executor.execute(jobs))
    assert passed < 0.3 * len(jobs)


@pytest.mark.parametrize("name", PACKAGE_SUITES)
def test_what_ships_holds_no_line_of_a_package(settings: Settings, name: PackageSuite) -> None:
    for sample, spec in load_rows(settings, name):
        calls = "\n".join(f"{call.inputs}\n{call.expression}" for call in spec.calls)
        assert not [
            line for line in sample.function.split("\n") if len(line.strip()) > 40 and line.strip() in calls
        ]


def test_the_package_that_is_held_out_is_never_trained_on() -> None:
    assert HELD_OUT not in PACKAGES


@pytest.mark.parametrize("name", PACKAGE_SUITES)
def test_the_funnel_ends_with_the_samples_that_ship(settings: Settings, name: PackageSuite) -> None:
    record = read_suite(settings, name)
    counts = [count for _, count in record["funnel"]]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] == len(record["samples"]) >= 150
    assert record["contamination"]["training_samples"] > 10_000


def test_the_same_suite_has_the_same_fingerprint(settings: Settings, suite: TestSuite) -> None:
    assert load_suite(settings, suite.name).dataset.fingerprint == suite.dataset.fingerprint


def test_a_suite_s_notes_give_the_numbers_of_its_choice(settings: Settings, suite: TestSuite) -> None:
    (_, rows), *_, (_, kept) = read_suite(settings, suite.name)["funnel"]
    (note,) = suite.dataset.notes
    assert note.startswith(f"Chosen from {rows:,} ")
    assert f"{kept:,} confirmed in the sandbox" in note


def test_the_samples_of_packages_are_test_samples_of_the_dataset(settings: Settings) -> None:
    test = set(split_corpus(load_corpus(settings)).test.ids)
    assert {sample["id"] for sample in read_suite(settings, "packages")["samples"]} <= test


def test_the_method_page_gives_the_numbers_of_both_choices(settings: Settings) -> None:
    text = (settings.assets.parent / "docs" / "method.md").read_text(encoding="utf-8")
    packages, metrics = (dict(read_suite(settings, name)["funnel"]) for name in PACKAGE_SUITES)
    assert [step for step in packages if f"| {packages[step]:,} | {metrics[step]:,} |" not in text] == []


def test_a_sample_whose_reference_changed_is_left_out(settings: Settings, tmp_path: Path) -> None:
    record = read_suite(settings, "metrics")
    record["samples"][0]["reference"] = "another"
    assert len(load_rows(_with(settings, tmp_path, record), "metrics")) == len(record["samples"]) - 1


def test_other_versions_of_the_packages_are_said_in_words(settings: Settings, tmp_path: Path) -> None:
    record = read_suite(settings, "metrics")
    for sample in record["samples"]:
        sample["reference"] = "another"
    with pytest.raises(LabError, match="other versions of the packages"):
        load_rows(_with(settings, tmp_path, record), "metrics")


def _with(settings: Settings, assets: Path, record: object) -> Settings:
    (assets / "suites").mkdir()
    (assets / "suites" / "metrics.json.gz").write_bytes(gzip.compress(json.dumps(record).encode()))
    return replace(settings, assets=assets)


# Where code is put


def test_a_module_that_is_loaded_under_two_names_holds_a_definition_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "another_name_of_this_module", sys.modules[__name__])
    assert [module.__name__ for module, _ in modules_with("values", values)] == [__name__]


SUM = "torchmetrics.aggregation"


def spec_for(entry: str, *calls: Call, module: str = SUM) -> TestSpec:
    package, _, file = module.partition(".")
    sample = Sample("s", "", "", entry, "", 0, package, file.replace(".", "/") + ".py")
    return replace(make_spec(sample, "metrics", calls), reference="def unused(): pass")


@pytest.fixture(scope="module")
def placing() -> Iterator[Executor]:
    with sandbox_for([spec_for("SumMetric.update")]) as sandbox:
        yield Executor(sandbox)


def values(placing: Executor, code: str, spec: TestSpec) -> list[object]:
    run = run_calls(placing.sandbox, code, spec)
    return [run.stopped] if run.stopped else [outcome.value for outcome in run.outcomes]


UPDATE = Call("it = SumMetric()\nit.update(torch.tensor(2.0))", "float(it.compute())")


@confined
@pytest.mark.parametrize(
    "code",
    [
        "def update(self, value):\n    self.sum_value = self.sum_value + 10 * value",
        "class SumMetric(X):\n    def update(self, value):\n        self.sum_value += 10 * value",
    ],
)
def test_a_method_takes_its_reference_s_place_in_the_class(placing: Executor, code: str) -> None:
    assert values(placing, code, spec_for("SumMetric.update", UPDATE)) == [20.0]


@confined
def test_super_means_the_parent_of_the_real_class(placing: Executor) -> None:
    code = "def __init__(self):\n    super().__init__('sum', torch.tensor(5.0), state_name='sum_value')"
    assert values(placing, code, spec_for("SumMetric.__init__", UPDATE)) == [7.0]


@confined
def test_a_bare_function_becomes_the_static_method_that_it_replaces(placing: Executor) -> None:
    module = "torchmetrics.collections"
    spec = spec_for(
        "MetricCollection._equal_metric_states",
        Call("", "MetricCollection._equal_metric_states(1, 2)"),
        module=module,
    )
    assert values(placing, "def _equal_metric_states(a, b):\n    return a + b", spec) == [3]


@confined
def test_callers_in_the_package_call_the_candidate(placing: Executor) -> None:
    module = "torchmetrics.functional.regression.mse"
    call = Call(
        "from torchmetrics.functional import mean_squared_error as mse", "mse(torch.ones(2), torch.ones(2))"
    )
    code = "def _mean_squared_error_compute(*args, **kwargs):\n    return 'mine'"
    assert values(placing, code, spec_for("_mean_squared_error_compute", call, module=module)) == ["mine"]


@confined
@pytest.mark.parametrize(
    "code",
    [
        "from torchmetrics.functional.regression.mse import mean_squared_error",
        "from torchmetrics.functional import mean_squared_error",
        "import torchmetrics\nmean_squared_error = torchmetrics.functional.mean_squared_error",
    ],
)
def test_the_original_cannot_be_imported(placing: Executor, code: str) -> None:
    (stopped,) = values(
        placing, code, spec_for("mean_squared_error", module="torchmetrics.functional.regression.mse")
    )
    assert "Error" in str(stopped)
