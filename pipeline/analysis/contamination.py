"""Contaminated test samples of a set-up: their reference is in the training data or in the prompt."""

from __future__ import annotations

from pipeline.analysis.setups import Setup
from pipeline.data.overlap import THRESHOLD, context_overlap, measure_overlap
from pipeline.evaluation.datasets import load_dataset
from pipeline.generation.prompts import context_around
from pipeline.models.families import get_family
from pipeline.schema import LabError, Sample
from pipeline.settings import Settings


def find_contaminated(settings: Settings, setup: Setup) -> list[str]:
    """Return the ids of the contaminated samples, by either measure of ``pipeline.data.overlap``.

    A sample is contaminated if its reference is in the largest training subset, or, with the augmented
    prompt, a second time in its file. The whole file counts, though a prompt may show less of it. This loads
    the datasets.

    Raises:
        LabError: the dataset cannot be loaded, or is not the one of the runs.
    """
    contaminated: dict[str, None] = {}
    for variant in dict.fromkeys(run.config.variant for run in setup.runs):
        runs = [run.config for run in setup.runs if run.config.variant == variant]
        dataset = load_dataset(settings, setup.dataset, variant)
        if dataset.fingerprint != runs[0].dataset_fingerprint:
            raise LabError(
                f"The dataset here is {setup.dataset} {dataset.fingerprint}, the runs were made from "
                f"{runs[0].dataset_fingerprint}, so the training samples of their checkpoints are not known."
            )
        test = [dataset.get(sample) for sample in runs[0].sample_ids]
        usual = get_family(settings, setup.family).dataset
        largest: dict[str, int] = {}  # training subset, by the dataset that checkpoints were trained on
        for config in runs:
            trained = config.recipe.get("dataset", usual)
            if config.subset_size:
                largest[trained] = max(largest.get(trained, 0), config.subset_size)
        for name, size in largest.items():
            training = dataset if name == setup.dataset else load_dataset(settings, name, variant)
            overlaps = measure_overlap(test, training.train[:size], [size])
            contaminated.update((each.sample_id, None) for each in overlaps if each.contaminated(size))
        if variant == "augmented":
            contaminated.update((sample.id, None) for sample in test if _shown(sample) >= THRESHOLD)
    return list(contaminated)


def _shown(sample: Sample) -> float:
    context = context_around(sample.full_code, sample.function)
    return context_overlap(sample, context.before + context.after)
