"""Both datasets behind one interface: train and test samples in one seeded order, and nested subsets."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

from pipeline.corpus import Corpus, load_corpus
from pipeline.schema import DEFAULT_SEED, LabError, Progress, PromptVariant, Sample
from pipeline.settings import Settings

ARXIVDL = "AlgorithmicResearchGroup/ArXivDLInstruct"
TEST_SHARE = 0.2
LONGEST_FUNCTION, LONGEST_FILE = 1000, 5000
"""Characters; the second one for the augmented prompt of arxivdl only."""


@dataclass(frozen=True)
class Lazy(Sequence[Sample]):
    """Samples made on access, as a file's code in each of them would not fit into memory.

    Attributes:
        ids: of every sample, in order.
        make: the sample at an index.
        text: what a search looks through, of the sample at an index.
    """

    ids: Sequence[str]
    make: Callable[[int], Sample]
    text: Callable[[int], str]

    def __len__(self) -> int:
        return len(self.ids)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Lazy: ...
    def __getitem__(self, index: int | slice) -> Sample | Lazy:
        """One sample; for a slice a sequence that is as lazy."""
        places = range(len(self))[index]
        if isinstance(places, int):
            return self.make(places)
        return Lazy(self.ids[index], lambda at: self.make(places[at]), lambda at: self.text(places[at]))

    @cached_property
    def haystack(self) -> list[str]:
        """Every sample's searchable text in lower case."""
        return [self.text(index).lower() for index in range(len(self))]


@dataclass(frozen=True)
class Dataset:
    """A dataset as one prompt variant sees it; ``train`` and ``test`` are in their seeded order."""

    name: str
    fingerprint: str
    train: Lazy
    test: Lazy

    def subset(self, n: int) -> Sequence[Sample]:
        """The first ``n`` training samples: each smaller subset is a prefix of each larger one.

        Raises:
            LabError: there are not that many.
        """
        return _first(self.train, n, "training")

    def evaluation(self, n: int = 200) -> Sequence[Sample]:
        """The first ``n`` test samples; raises ``LabError`` where there are fewer."""
        return _first(self.test, n, "test")

    def get(self, sample_id: str) -> Sample:
        """One sample of either split; raises ``LabError`` for an unknown id."""
        found = self._places.get(sample_id)
        if found is None:
            raise LabError(f"The dataset {self.name} has no sample {sample_id!r}.")
        samples, index = found
        return samples.make(index)

    def search(self, text: str = "", limit: int = 20, offset: int = 0) -> list[Sample]:
        """Test samples whose instruction, function name, repository or file holds every word of ``text``."""
        return [self.test[index] for index in self.matches(text)[offset : offset + limit]]

    def matches(self, text: str = "") -> Sequence[int]:
        """Indices of the test samples that a search finds, in order."""
        words = text.lower().split()
        every = range(len(self.test))
        if not words:
            return every
        return [index for index in every if all(word in self.test.haystack[index] for word in words)]

    @cached_property
    def _places(self) -> dict[str, tuple[Lazy, int]]:
        splits = (self.train, self.test)
        return {each: (samples, index) for samples in splits for index, each in enumerate(samples.ids)}


def load_dataset(
    settings: Settings, name: str, variant: PromptVariant = "regular", progress: Progress | None = None
) -> Dataset:
    """The dataset ``arxivdl`` or ``packages``.

    Raises:
        LabError: unknown name, the Hub is out of reach, or the corpus cannot be built; said in words.
    """
    if name == "packages":
        return packages(load_corpus(settings, progress))
    if name == "arxivdl":
        return arxivdl(variant, progress=progress)
    raise LabError(f"There is no dataset {name!r}. There are: packages, arxivdl.")


def packages(corpus: Corpus) -> Dataset:
    """The embedded dataset, the same under both prompt variants.

    Split and order come from SHA-256 rather than from a library's random generator: they do not change with
    library versions, and a sample keeps its place when others come or go. What shares a top-level definition
    (a class, its methods, what is nested in them) stays on one side, since one's text holds the other's.
    """
    train: list[int] = []
    test: list[int] = []
    for index, sample_id in enumerate(corpus.ids):
        file, _, name = sample_id.partition("::")
        share = _draw(f"split/{file}::{name.partition('.')[0]}")
        (test if share < TEST_SHARE else train).append(index)
    return Dataset("packages", corpus.fingerprint, _in_order(corpus, train), _in_order(corpus, test))


def _in_order(corpus: Corpus, indices: list[int]) -> Lazy:
    order = sorted(indices, key=lambda index: _draw(f"order/{corpus.ids[index]}"))
    return Lazy(
        [corpus.ids[index] for index in order],
        lambda at: corpus.sample(order[at]),
        lambda at: f"{corpus.instruction(order[at])}\n{corpus.ids[order[at]]}",
    )


def _draw(key: str) -> float:
    """A number from 0 to 1 that only the key and the protocol's seed decide."""
    return int.from_bytes(hashlib.sha256(f"{DEFAULT_SEED}/{key}".encode()).digest()[:8]) / 2**64


def arxivdl(variant: PromptVariant, source: str = ARXIVDL, progress: Progress | None = None) -> Dataset:
    """ArXivDLInstruct with the filter, split and order that the published checkpoints were evaluated with.

    The calls are those of ``datasets`` itself, so the first 200 test samples are the published ones. How the
    published checkpoints' training samples were drawn is not known; here they are shuffled with that seed.

    Args:
        variant: under ``augmented`` long files are left out, so the two variants have different splits.
        source: the dataset's id on the Hub, or a folder with the same columns.
        progress: told that the reading begins.

    Raises:
        LabError: the Hub is out of reach, or the columns are others.
    """
    import datasets

    if progress:
        progress(0.0, f"reading {source}")
    try:
        rows = datasets.load_dataset(source, split="train")
    except Exception as error:  # those of the hub, the network, the disk and the parsers share no base class
        raise LabError(
            f"The dataset {source} cannot be read: {error} It comes from the Hugging Face Hub; "
            "the embedded dataset, packages, needs no network."
        ) from error
    missing = {"prompt", "function", "full_code", "file_length"} - set(rows.column_names)
    if missing:
        raise LabError(f"The dataset {source} lacks the columns {', '.join(sorted(missing))}.")
    rows = rows.add_column("row", list(range(len(rows))))
    rows = rows.filter(lambda function: len(function) <= LONGEST_FUNCTION, input_columns="function")
    if variant == "augmented":
        rows = rows.filter(lambda length: length <= LONGEST_FILE, input_columns="file_length")
    split = rows.train_test_split(test_size=TEST_SHARE, seed=DEFAULT_SEED)
    train, test = (_from_rows(split[side].shuffle(seed=DEFAULT_SEED)) for side in ("train", "test"))
    # Hashing all of its 2 GB would take longer than it is worth: the sizes and the first rows tell.
    heads = [(each.id, each.prompt, each.function) for side in (train, test) for each in side[:200]]
    digest = hashlib.sha256(json.dumps([len(train), len(test), heads]).encode())
    return Dataset("arxivdl", digest.hexdigest()[:12], train, test)


def _from_rows(rows: Any) -> Lazy:
    """Samples from rows of ``datasets``; an id is the row's place in the published dataset."""
    names = [name for name in ("prompt", "function_name", "repo", "file") if name in rows.column_names]
    light = rows.select_columns(names)
    return Lazy(
        [f"arxivdl/{row}" for row in rows["row"]],
        lambda at: _sample(rows[at]),
        lambda at: "\n".join(str(value) for value in light[at].values()),
    )


def _sample(row: dict[str, Any]) -> Sample:
    return Sample(
        id=f"arxivdl/{row['row']}",
        prompt=row["prompt"],
        function=row["function"],
        function_name=row.get("function_name") or "",
        full_code=row["full_code"],
        file_length=row["file_length"],
        repo=row.get("repo") or "",
        file=row.get("file") or "",
    )


def _first(samples: Lazy, n: int, what: str) -> Sequence[Sample]:
    if not 0 < n <= len(samples):
        raise LabError(f"{n:,} {what} samples were asked for; this dataset has {len(samples):,}.")
    return samples[:n]
