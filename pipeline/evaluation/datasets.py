"""Datasets by name: the built-in ones, those of the test suites, and those of one's own."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.data.arxivdl import load_arxivdl
from pipeline.data.dataset import BUILT_IN, Dataset
from pipeline.data.own.store import find_own, list_own, load_own
from pipeline.data.packages.corpus import PACKAGES, load_corpus
from pipeline.data.packages.corpus import read_sample as read_from_packages
from pipeline.data.packages.split import split_corpus
from pipeline.schema import FieldError, LabError, Progress, PromptVariant, Sample, quoted
from pipeline.scoring.execution.suites.humaneval import read_problem
from pipeline.scoring.execution.suites.load import HELD_OUT
from pipeline.scoring.execution.suites.suite import DATASETS, load_suite
from pipeline.settings import Settings

_FROM_PACKAGES: dict[str, Callable[[str], Sample | None]] = {
    "packages": lambda sample_id: read_from_packages(PACKAGES, sample_id),
    "packages-exec": lambda sample_id: read_from_packages(PACKAGES, sample_id),
    "metrics-exec": lambda sample_id: read_from_packages([HELD_OUT], sample_id),
    "humaneval": read_problem,
}
"""Readers of one sample, for the datasets whose samples are in installed packages."""


def is_from_packages(dataset: str) -> bool:
    """Whether the dataset's samples can be read one by one from installed packages."""
    return dataset in _FROM_PACKAGES


def read_sample(dataset: str, sample_id: str) -> Sample | None:
    """Read one sample from the installed package that has it, without loading its dataset.

    Returns:
        None if no installed package has it, or the dataset is not from installed packages.
    """
    return _FROM_PACKAGES[dataset](sample_id) if dataset in _FROM_PACKAGES else None


def dataset_names(settings: Settings) -> list[str]:
    """Names of the datasets to train on: the built-in ones, then those of one's own."""
    return [*BUILT_IN, *(own.name for own in list_own(settings))]


def check_dataset(settings: Settings, name: str) -> None:
    """Raise ``FieldError`` if there is no dataset of this name to train on, or its record is damaged."""
    if name not in BUILT_IN and find_own(settings, name) is None:
        names = ", ".join(dataset_names(settings))
        raise FieldError("dataset", f"must be one of {names}; there is no {quoted(name)}.")


def load_dataset(
    settings: Settings, name: str, variant: PromptVariant = "regular", progress: Progress | None = None
) -> Dataset:
    """Load a dataset.

    Raises:
        LabError: the name is unknown, the Hub cannot be reached, the corpus cannot be built, or the dataset
            has nothing for the prompt variant.
    """
    if name in DATASETS:
        return load_suite(settings, DATASETS[name]).dataset
    if name == "packages":
        return split_corpus(load_corpus(settings, progress))
    if name == "arxivdl":
        cache = settings.data_dir / "datasets" / "arxivdl"
        return load_arxivdl(variant, progress=progress, cache=cache)
    own = find_own(settings, name)
    if own is None:
        names = ", ".join([*dataset_names(settings), *DATASETS])
        raise LabError(f"There is no dataset {quoted(name)}. There are: {names}.")
    return load_own(settings, own, variant)


def dataset_version(settings: Settings, name: str) -> str:
    """What changes when a dataset of one's own is imported again; empty for the others, and for none."""
    own = find_own(settings, name)
    return own.fingerprint if own else ""
