"""From a source to a cleaned and split dataset in memory, and what to say about it before it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from pipeline.data.dataset import TEST_SHARE
from pipeline.data.duplicates import copy_key
from pipeline.data.overlap import measure_overlap
from pipeline.data.own.rows import Columns, LeftOut, make_samples
from pipeline.data.own.table import Table
from pipeline.schema import DEFAULT_SEED, LabError, Sample, counted

LONGEST_CODE = 2_000
"""Characters, unless another limit is asked for: about 600 tokens, where a small model takes 1,024."""


@dataclass(frozen=True)
class Choices:
    """How a source becomes a dataset.

    Attributes:
        columns: which of its columns is what.
        test_share: the share of the samples that are tested on.
        longest: the most characters of code; longer rows are left out.
        seed: of the split and the order.
    """

    columns: Columns
    test_share: float = TEST_SHARE
    longest: int = LONGEST_CODE
    seed: int = DEFAULT_SEED


@dataclass(frozen=True)
class Prepared:
    """A source that is cleaned and split, and not yet kept.

    Attributes:
        name: of the dataset, with which the ids of its samples start.
        train: in the order of the training subsets.
        test: in the order of the evaluations.
        left_out: rows that cannot be used.
        contaminated: number of test samples whose code is in the training samples, by the measure of
            ``pipeline.data.overlap``.
        fingerprint: 12 hex digits of the SHA-256 of the samples, their order and their split.
    """

    name: str
    table: Table
    choices: Choices
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    left_out: tuple[LeftOut, ...]
    contaminated: int
    fingerprint: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results should know, as sentences."""
        notes = [*self.table.unread, *(each.sentence for each in self.left_out)]
        if self.contaminated:
            have = "has" if self.contaminated == 1 else "have"
            notes.append(
                f"{self.contaminated:,} of the {counted(len(self.test), 'test sample')} {have} code that is "
                "for the most part in the training samples too; a checkpoint may have memorized it."
            )
        if not self.choices.columns.context:
            notes.append("No column holds the file around the code: there is no augmented prompt.")
        if not self.choices.columns.group:
            notes.append("No column says which rows belong together, so only equal code stays on one side.")
        return tuple(notes)


def prepare(table: Table, name: str, choices: Choices) -> Prepared:
    """Clean and split a source; nothing is written.

    Raises:
        LabError: a column is not there, or the rows that can be used are too few to split them.
    """
    samples, left_out = make_samples(table, choices.columns, name, choices.longest)
    train, test = _split(samples, choices.test_share, choices.seed)
    overlaps = measure_overlap(test, train, [len(train)])
    return Prepared(
        name,
        table,
        choices,
        tuple(train),
        tuple(test),
        tuple(left_out),
        sum(each.contaminated(len(train)) for each in overlaps),
        _fingerprint(train, test),
    )


def _split(samples: Sequence[Sample], test_share: float, seed: int) -> tuple[list[Sample], list[Sample]]:
    """Split by groups: whole groups in the order of their hashes, until the test split has its share.

    A group is the rows with the same value of the group's column, or without one the rows with the same code.
    A group that would make the test split larger than its share stays in the training split.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.repo or f"code/{copy_key('', sample.function)[0]}", []).append(sample)
    if len(groups) < 2:
        raise LabError(
            f"{counted(len(samples), 'row')} can be used, and all belong together, so there is nothing to "
            "test on. Choose another column for the rows that belong together, or none."
        )
    room = max(1, round(test_share * len(samples)))
    by_hash = sorted(
        groups.values(), key=lambda group: _draw(seed, f"split/{group[0].repo or _row(group[0])}")
    )
    test: list[Sample] = []
    train: list[Sample] = []
    for group in by_hash:
        (test if len(test) + len(group) <= room else train).extend(group)
    if not test:  # every group is larger than the share
        test = min(by_hash, key=len)
        train = [sample for group in by_hash if group is not test for sample in group]
    return _in_order(train, seed), _in_order(test, seed)


def _in_order(samples: Sequence[Sample], seed: int) -> list[Sample]:
    return sorted(samples, key=lambda sample: _draw(seed, f"order/{_row(sample)}"))


def _row(sample: Sample) -> str:
    """The number of its row: the split of a source is the same under each name."""
    return sample.id.rpartition("/")[2]


def _draw(seed: int, key: str) -> str:
    """A text that depends on seed and key only, and whose order is random."""
    return hashlib.sha256(f"{seed}/{key}".encode()).hexdigest()


def _fingerprint(train: Sequence[Sample], test: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for side in (train, test):
        digest.update(f"{len(side)}\n".encode())
        for sample in side:
            digest.update(json.dumps(asdict(sample), sort_keys=True).encode())
    return digest.hexdigest()[:12]
