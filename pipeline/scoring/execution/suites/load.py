"""Reads the suites ``packages-exec`` and ``metrics-exec``: shipped calls for code of installed packages.

What ships holds ids, calls and hashes, and none of the packages' text: instruction, reference and file come
from the installed package. A sample is skipped if its reference differs in the installed version.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, get_args

from pipeline.data.dataset import LazySamples
from pipeline.data.packages.corpus import Corpus, harvest, load_corpus
from pipeline.data.packages.split import in_order, split_corpus
from pipeline.schema import LabError, Sample, counted
from pipeline.scoring.execution.spec import Call, TestSpec
from pipeline.scoring.execution.suites.place import module_name
from pipeline.settings import Settings

PackageSuite = Literal["packages", "metrics"]
PACKAGE_SUITES: tuple[PackageSuite, ...] = get_args(PackageSuite)
HELD_OUT = "torchmetrics"
"""The package of the suite ``metrics``. It is never among those of the training data."""

_ROWS: dict[PackageSuite, Callable[[Settings], LazySamples]] = {
    "packages": lambda settings: split_corpus(load_corpus(settings)).test,
    "metrics": lambda settings: _every_row(Corpus(harvest([HELD_OUT]))),
}
_log = logging.getLogger(__name__)


def suite_rows(settings: Settings, suite: PackageSuite) -> LazySamples:
    """Every row that the suite is chosen from, in its seeded order.

    Raises:
        LabError: a package is missing.
    """
    return _ROWS[suite](settings)


def load_rows(settings: Settings, suite: PackageSuite) -> list[tuple[Sample, TestSpec]]:
    """The samples of a suite and how they are tested, in the seeded order of the dataset.

    Raises:
        LabError: a package is missing, or none of the references is the one that the calls were made for.
    """
    stored = {sample["id"]: sample for sample in read_suite(settings, suite)["samples"]}
    rows = suite_rows(settings, suite)
    known = [rows[at] for at, sample_id in enumerate(rows.ids) if sample_id in stored]
    same = [sample for sample in known if digest(sample.function) == stored[sample.id]["reference"]]
    if not same:
        raise LabError(
            f"The tests of the suite {suite} were made for other versions of the packages. Install those of "
            "constraints.txt: pip install -r requirements.txt -c constraints.txt."
        )
    if left := len(stored) - len(same):
        _log.warning(
            "%s of the suite %s changed in the installed packages; left out", counted(left, "sample"), suite
        )
    return [(sample, make_spec(sample, suite, _calls(stored[sample.id]))) for sample in same]


def read_suite(settings: Settings, suite: PackageSuite) -> dict[str, Any]:
    """What a build stored: ``samples``, ``funnel``, ``versions``, ``contamination``, ``mutants``."""
    record: dict[str, Any] = json.loads(gzip.decompress(record_path(settings, suite).read_bytes()))
    return record


def funnel_note(record: dict[str, Any]) -> str:
    """How many rows were left after each step of the suite's choice, as a sentence."""
    (_, rows), *steps = record["funnel"]
    left = ", ".join(f"{count:,} {_STEPS[step]}" for step, count in steps)
    return f"Chosen from {rows:,} functions, methods and classes. Left after each step: {left}."


_STEPS = {
    "imported": "whose module can be imported",
    "called": "with a call that returns",
    "repeated": "that give the same again within a second",
    "outputs": "with three different outputs",
    "lines": "with over 80% of their lines reached",
    "mutants": "with 80% of their mutants noticed",
    "stubs": "that every stub fails",
    "confirmed": "confirmed in the sandbox",
}
"""The steps of ``maintenance.suites.build``, for people."""


def record_path(settings: Settings, suite: PackageSuite) -> Path:
    """The shipped file of a suite."""
    return settings.assets / "suites" / f"{suite}.json.gz"


def make_spec(sample: Sample, suite: PackageSuite, calls: tuple[Call, ...]) -> TestSpec:
    """How a function, method or class of a package is tested with some calls."""
    module, entry = module_name(sample.repo, sample.file), sample.function_name
    place = "pipeline.scoring.execution.suites.place"
    future = "from __future__ import annotations\n" * (
        "from __future__ import annotations" in sample.full_code
    )
    return TestSpec(
        sample_id=sample.id,
        suite=suite,
        entry=entry,
        reference=sample.function,
        module=module,
        prelude=f"{future}from {place} import enter as _enter\n_enter(globals(), {module!r}, {entry!r})\n",
        setup=(
            f"from {place} import install as _install\n_install(globals(), {entry!r})\n"
            "import torch\nfrom pipeline.scoring.execution.suites import recipes as make\n"
        ),
        calls=calls,
    )


def digest(source: str) -> str:
    """The hash that identifies a reference."""
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _calls(stored: dict[str, Any]) -> tuple[Call, ...]:
    return tuple(Call(inputs, expression, tuple(watched)) for inputs, expression, watched in stored["calls"])


def _every_row(corpus: Corpus) -> LazySamples:
    return in_order(corpus, list(range(len(corpus))))
