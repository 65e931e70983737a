"""Evaluation set-ups: runs that can be compared with each other, and their scores as a table."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import pandas as pd

from pipeline import stats
from pipeline.evaluation.datasets import is_from_packages
from pipeline.evaluation.runs import Run, RunConfig
from pipeline.evaluation.texts import digest_of
from pipeline.schema import VARIANTS, Attempt, PromptVariant, SamplingParams
from pipeline.scoring import in_order
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.stats import Codes


@dataclass(frozen=True)
class Condition:
    """The runs of one training-set size and prompt variant: one for each training seed."""

    variant: PromptVariant
    size: int
    runs: tuple[Run, ...]


@dataclass(frozen=True)
class Setup:
    """An evaluation set-up: runs of one family on the same samples with the same decoding.

    If a dataset has different test samples for each prompt variant, the runs of both variants are in one
    set-up, but only runs with the same test samples are tested against each other.

    Attributes:
        runs: one for each checkpoint and prompt variant, by variant, size and training seed.
        set_aside: number of other runs of the same columns, which are not in ``runs``.
        matched: whether the runs are from several versions of the dataset. They then hold only the samples
            that are the same in all of these versions.
    """

    family: str
    dataset: str
    decoding: SamplingParams
    runs: tuple[Run, ...]
    set_aside: int = 0
    matched: bool = False

    @property
    def samples(self) -> int:
        """Number of test samples of each run."""
        return len(self.runs[0].config.sample_ids)

    @property
    def key(self) -> str:
        """A short name that does not change when runs of other sizes are added."""
        what = repr((self.dataset, self.decoding, test_set(self.runs[0])))
        return f"{self.family}-{hashlib.sha256(what.encode()).hexdigest()[:8]}"

    @property
    def conditions(self) -> list[Condition]:
        """The runs by prompt variant and training-set size."""
        grouped = groupby(self.runs, lambda run: (run.config.variant, run.config.subset_size))
        return [Condition(variant, size, tuple(runs)) for (variant, size), runs in grouped]

    @property
    def metrics(self) -> list[str]:
        """All metrics that an attempt was scored with: execution, CodeJudge and CodeBERTScore first."""
        attempts = (attempt for run in self.runs for attempt in run.attempts.values())
        return in_order({name for attempt in attempts for name in attempt.scores})

    @property
    def execution(self) -> str | None:
        """The metric of passed tests; None if no attempt was tested."""
        return next((name for name in self.metrics if name in EXECUTION.values()), None)


def find_setups(runs: Iterable[Run]) -> list[Setup]:
    """Group the runs into set-ups: most runs first, and among equal ones the lower temperature first.

    Where other versions of the packages are installed than those of a stored run, new runs have other test
    samples. Runs of several versions are compared in a further set-up, on the samples that are the same.
    """
    groups: dict[tuple[object, ...], dict[tuple[object, ...], list[Run]]] = {}
    for run in runs:
        place = (run.config.family, run.config.dataset, run.config.decoding.effective)
        groups.setdefault(place, {}).setdefault(test_set(run), []).append(run)
    setups = []
    for by_test_set in groups.values():
        by_size: dict[int, list[list[Run]]] = {}
        for group in by_test_set.values():
            by_size.setdefault(len(group[0].config.sample_ids), []).append(group)
        setups += [_setup(group) for alike in by_size.values() for group in _join_variants(alike)]
        if matched := _match_versions(list(by_test_set.values())):
            setups.append(replace(_setup(matched), matched=True))
    return sorted(
        setups, key=lambda each: (each.matched, -len(each.runs), each.decoding.temperature, each.key)
    )


def test_set(run: Run) -> tuple[str, tuple[str, ...]]:
    """Return what must be equal for two runs to be tested against each other."""
    return run.config.dataset_fingerprint, run.config.sample_ids


def _join_variants(groups: list[list[Run]]) -> list[list[Run]]:
    """Join two groups if they are the runs of the two prompt variants."""
    variants = [{run.config.variant for run in group} for group in groups]
    if len(groups) == 2 and variants[0].isdisjoint(variants[1]):
        return [groups[0] + groups[1]]
    return groups


def _match_versions(groups: list[list[Run]]) -> list[Run]:
    """Return runs of several versions of a dataset, with the samples that are the same in all of them.

    Args:
        groups: runs of one family, dataset and decoding; those of a group have the same test samples.

    Returns:
        The runs of the largest group, and those of all groups that share half of their samples with it or
        more; nothing if there are none, or the dataset is not made of installed packages.
    """
    joined, *others = sorted(groups, key=len, reverse=True)
    config = joined[0].config
    if not is_from_packages(config.dataset):
        return []
    shared: dict[str, str] = {}
    versions = {config.dataset_fingerprint}
    for group in others:
        other = group[0].config
        if other.dataset_fingerprint in versions:
            continue
        same = dict((shared or _texts(joined)).items() & _texts(group).items())
        if len(same) >= max(len(config.sample_ids), len(other.sample_ids)) / 2:
            joined, shared = joined + group, same
            versions.add(other.dataset_fingerprint)
    if not shared:
        return []
    ids = tuple(sample for sample in config.sample_ids if sample in shared)
    return [_restricted(run, ids, " and ".join(sorted(versions))) for run in joined]


def _texts(runs: Iterable[Run]) -> dict[str, str]:
    """The digest of each sample's instruction and reference."""
    tasks = {sample: attempt.task for run in runs for sample, attempt in run.attempts.items()}
    return {sample: digest_of(task) for sample, task in tasks.items()}


def _restricted(run: Run, samples: tuple[str, ...], fingerprint: str) -> Run:
    config = replace(run.config, sample_ids=samples, dataset_fingerprint=fingerprint)
    attempts = {sample: run.attempts[sample] for sample in samples if sample in run.attempts}
    return replace(run, config=config, attempts=attempts)


def _setup(runs: list[Run]) -> Setup:
    """Make a set-up of the newest complete run of each column, or the newest one if none is complete."""
    newest: dict[tuple[str, str], Run] = {}
    for run in sorted(runs, key=lambda run: (run.complete, run.config.created)):
        newest[run.config.column, run.config.variant] = run
    first = runs[0].config
    ordered = sorted(newest.values(), key=lambda run: _order(run.config))
    aside = len(runs) - len(newest)
    return Setup(first.family, first.dataset, first.decoding.effective, tuple(ordered), aside)


def _order(config: RunConfig) -> tuple[int, int, int]:
    return VARIANTS.index(config.variant), config.subset_size, config.training_seed or 0


@dataclass(frozen=True)
class SampleClusters:
    """The clusters of similar samples for intervals and tests.

    Attributes:
        codes: the cluster of each sample.
        together: what a cluster is: ``repository``, ``file``, or empty if each sample is its own.
        repos: number of repositories of the samples.
    """

    codes: Codes
    together: str
    repos: int


def sample_clusters(runs: Sequence[Run], samples: Sequence[str]) -> SampleClusters:
    """Return the clusters of these samples."""
    repo_of = {attempt.task.sample_id: attempt.task.repo for run in runs for attempt in run.attempts.values()}
    repos = [repo_of.get(sample) or sample for sample in samples]
    files = [sample.partition("::")[0] for sample in samples]  # ids are file::function, or a row's number
    codes, together = stats.choose_clusters({"repository": repos, "file": files})
    return SampleClusters(codes, together, len(set(repos)))


def score_table(runs: Sequence[Run], metric: str) -> pd.DataFrame:
    """Return the scores, samples by run id, NaN if a sample is unscored or missing."""
    samples = list(dict.fromkeys(sample for run in runs for sample in run.config.sample_ids))
    columns = {
        run.config.id: [_value(run.attempts.get(sample), metric) for sample in samples] for run in runs
    }
    return pd.DataFrame(columns, index=pd.Index(samples, name="sample"), dtype=float)


def _value(attempt: Attempt | None, metric: str) -> float | None:
    score = attempt.scores.get(metric) if attempt else None
    return score.value if score else None
