"""Datasets by name; those of the test suites are among them."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.data.arxivdl import load_arxivdl
from pipeline.data.dataset import Dataset
from pipeline.data.packages.corpus import PACKAGES, load_corpus
from pipeline.data.packages.corpus import read_sample as read_from_packages
from pipeline.data.packages.split import split_corpus
from pipeline.schema import LabError, Progress, PromptVariant, Sample
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


def load_dataset(
    settings: Settings, name: str, variant: PromptVariant = "regular", progress: Progress | None = None
) -> Dataset:
    """Load a dataset.

    Raises:
        LabError: the name is unknown, the Hub cannot be reached, or the corpus cannot be built.
    """
    if name in DATASETS:
        return load_suite(settings, DATASETS[name]).dataset
    loaders: dict[str, Callable[[], Dataset]] = {
        "packages": lambda: split_corpus(load_corpus(settings, progress)),
        "arxivdl": lambda: load_arxivdl(
            variant, progress=progress, cache=settings.data_dir / "datasets" / "arxivdl"
        ),
    }
    if name not in loaders:
        raise LabError(f"There is no dataset {name!r}. There are: {', '.join([*loaders, *DATASETS])}.")
    return loaders[name]()
