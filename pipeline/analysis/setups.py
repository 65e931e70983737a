"""Evaluation set-ups: runs that can be compared with each other, and their scores as a table."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import pandas as pd

from pipeline import stats
from pipeline.evaluation.datasets import is_from_packages
from pipeline.evaluation.runs import Run, RunConfig
from pipeline.evaluation.texts import digest_of
from pipeline.schema import SIZE_NAME, VARIANTS, Attempt, PromptVariant, SamplingParams
from pipeline.scoring import in_order
from pipeline.scoring.execution.spec import EXECUTION
from pipeline.stats import Codes

Axis = Literal["subset_size", "learning_rate", "lora_r", "lora_alpha", "epochs", "checkpoint"]
"""What a curve runs along: an attribute of the checkpoints, or a plain list of them."""
AXES: tuple[Axis, ...] = get_args(Axis)


@dataclass(frozen=True)
class Condition:
    """The runs of one point of an axis under one prompt variant: one for each training seed.

    Their checkpoints differ in nothing else than the seed: only these may be averaged.

    Attributes:
        x: the checkpoints' value of the axis, or their place in the list; 0 for the baseline.
    """

    variant: PromptVariant
    axis: Axis
    x: float
    runs: tuple[Run, ...]

    @property
    def size(self) -> int | None:
        """Training samples; 0 for the baseline, None if unknown."""
        return self.runs[0].config.subset_size

    @property
    def checkpoint(self) -> str:
        """The name of the first one."""
        return self.runs[0].config.checkpoint

    def scored_by(self, metric: str) -> Condition:
        """The condition with those of its runs that a metric has scored, if only as unscored."""
        return replace(self, runs=tuple(run for run in self.runs if run.scores(metric)))


@dataclass(frozen=True)
class Along:
    """The conditions of a set-up along one axis, by prompt variant.

    Attributes:
        left_out: names of the checkpoints that also differ in something else, so that the axis cannot show
            them; a list of checkpoints leaves none out.
    """

    axis: Axis
    conditions: tuple[Condition, ...]
    left_out: tuple[str, ...] = ()

    @property
    def values(self) -> int:
        """The number of different values of the axis, without the baseline."""
        return len({condition.x for condition in self.conditions} - {0})


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

    def along(self, axis: Axis) -> Along:
        """The conditions along an axis: the baseline, and checkpoints that differ in nothing else.

        Of the checkpoints that differ in more, those are shown that have the most values of the axis.
        """
        base, trained = _group_seeds(self.runs)
        if axis == "checkpoint":
            ordered = sorted(trained, key=lambda runs: _order(runs[0].config)[1:])
            shown = [(float(place), runs) for place, runs in enumerate(ordered, start=1)]
        else:
            shown = _widest(trained, axis)
        conditions = [
            Condition(runs[0].config.variant, axis, x, tuple(runs))
            for x, runs in [*((0, runs) for runs in base), *shown]
        ]
        inside = {condition.runs[0].config.id for condition in conditions}
        return Along(
            axis,
            tuple(sorted(conditions, key=lambda each: (VARIANTS.index(each.variant), each.x))),
            tuple(runs[0].config.checkpoint for runs in trained if runs[0].config.id not in inside),
        )

    @property
    def axes(self) -> list[Axis]:
        """The training-set size, and the other axes on which checkpoints differ."""
        others = [axis for axis in AXES[1:-1] if self.along(axis).values > 1]
        listed = bool(others) or bool(self.along("subset_size").left_out)
        return ["subset_size", *others, *(["checkpoint"] if listed else [])]  # type: ignore[list-item]

    def ladder(self, variant: PromptVariant) -> dict[int, Run]:
        """The runs of one prompt variant by training-set size, of the first seed each."""
        along = self.along("subset_size").conditions
        return {int(each.x): each.runs[0] for each in along if each.variant == variant}

    @property
    def metrics(self) -> list[str]:
        """All metrics that an attempt was scored with, in the order of ``in_order``."""
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


def _order(config: RunConfig) -> tuple[int, float, int, bool, str]:
    size = math.inf if config.subset_size is None else config.subset_size
    own_name = SIZE_NAME.match(config.checkpoint) is None
    return VARIANTS.index(config.variant), size, config.training_seed or 0, own_name, config.checkpoint


def _group_seeds(runs: Iterable[Run]) -> tuple[list[list[Run]], list[list[Run]]]:
    """The runs of the baseline, and those of each other condition, in order.

    Checkpoints of which not all is known, or of the same seed as another one, stand alone.
    """
    base: list[list[Run]] = []
    trained: dict[tuple[object, ...], list[Run]] = {}
    for run in runs:
        config = run.config
        if config.is_baseline:
            base.append([run])
            continue
        known = "epochs" in config.recipe if config.recipe else SIZE_NAME.match(config.checkpoint)
        key: tuple[object, ...] = (config.variant, config.subset_size, _recipe(config))
        alike = trained.get(key, [])
        taken = config.training_seed in [one.config.training_seed for one in alike]
        if taken or not known or config.subset_size is None or config.training_seed is None:
            key = (config.variant, config.checkpoint)
        trained.setdefault(key, []).append(run)
    return base, list(trained.values())


def _recipe(config: RunConfig, without: str = "") -> str:
    return repr(sorted((name, value) for name, value in config.recipe.items() if name != without))


def _widest(trained: Sequence[list[Run]], axis: Axis) -> list[tuple[float, list[Run]]]:
    """Those that differ along the axis alone, with their values of it: of several such sets the widest."""
    sets: dict[object, dict[tuple[PromptVariant, float], list[Run]]] = {}
    for runs in trained:
        config = runs[0].config
        x = config.subset_size if axis == "subset_size" else config.recipe.get(axis)
        if isinstance(x, int | float) and x > 0:
            size = None if axis == "subset_size" else config.subset_size
            others = (size, _recipe(config, axis))
            sets.setdefault(others, {}).setdefault((config.variant, float(x)), runs)
    if not sets:
        return []
    # Of equal ones the one with more runs, then the later one, which is of a larger size.
    widest = max(
        reversed(sets.values()),
        key=lambda one: (len({x for _, x in one}), sum(map(len, one.values()))),
    )
    return [(x, runs) for (_, x), runs in widest.items()]


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
