"""Test suites: samples with the tests that execute what was written for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from pipeline.data.dataset import Dataset, LazySamples
from pipeline.schema import Sample
from pipeline.scoring.execution.spec import Suite, TestSpec
from pipeline.scoring.execution.suites.humaneval import load_humaneval
from pipeline.scoring.execution.suites.load import funnel_note, load_rows, read_suite
from pipeline.settings import Settings

DATASETS: dict[str, Suite] = {
    "packages-exec": "packages",
    "metrics-exec": "metrics",
    "humaneval": "humaneval",
}
"""The suites by the names of their datasets. All their samples are test samples."""


@dataclass(frozen=True)
class TestSuite:
    """Samples that can be executed.

    Attributes:
        name: which suite.
        dataset: its samples, all in the test split.
        specs: how each is tested, by sample id.
    """

    __test__ = False  # not a class of tests, for pytest

    name: Suite
    dataset: Dataset
    specs: Mapping[str, TestSpec]


def load_suite(settings: Settings, name: Suite) -> TestSuite:
    """Read a suite.

    Raises:
        LabError: it is not on this machine; the message describes how to get it.
    """
    if name == "humaneval":
        return _suite(name, load_humaneval(), ())
    return _suite(name, load_rows(settings, name), (funnel_note(read_suite(settings, name)),))


def suite_size(settings: Settings, name: Suite) -> int:
    """How many samples a suite has with the packages that its tests were made for; reads none of them.

    Raises:
        LabError: HumanEval is not on this machine.
    """
    return len(load_humaneval()) if name == "humaneval" else len(read_suite(settings, name)["samples"])


def _suite(name: Suite, rows: Sequence[tuple[Sample, TestSpec]], notes: tuple[str, ...]) -> TestSuite:
    content = [[asdict(sample), asdict(spec)] for sample, spec in rows]
    fingerprint = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    samples = [sample for sample, _ in rows]
    test = LazySamples(
        [sample.id for sample in samples], samples.__getitem__, lambda at: _searchable(samples[at])
    )
    title = next(dataset for dataset, suite in DATASETS.items() if suite == name)
    dataset = Dataset(title, fingerprint, train=test[:0], test=test, notes=notes)
    return TestSuite(name, dataset, {spec.sample_id: spec for _, spec in rows})


def _searchable(sample: Sample) -> str:
    return f"{sample.prompt} {sample.function_name} {sample.repo}/{sample.file}"
