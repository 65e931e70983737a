"""Which test samples of a set-up were given away: by the training data, or by their own prompt's context."""

from __future__ import annotations

from pipeline.analysis.setups import Setup
from pipeline.data.contamination import THRESHOLD, context_overlap, training_overlap
from pipeline.data.load import load_dataset
from pipeline.generation.prompts import context_around
from pipeline.models.families import get_family
from pipeline.schema import LabError, Sample
from pipeline.settings import Settings


def contaminated(settings: Settings, setup: Setup) -> list[str]:
    """Ids of the samples whose reference is given away, by either measure of ``pipeline.data.contamination``.

    Held by the largest training subset, or, with the augmented prompt, standing a second time in the file
    around it (all of the file counts, though a prompt may show less of it). Loads the datasets.

    Raises:
        LabError: the dataset cannot be had, or is not the one that the runs were made from.
    """
    found: dict[str, None] = {}
    for variant in dict.fromkeys(run.config.variant for run in setup.runs):
        runs = [run.config for run in setup.runs if run.config.variant == variant]
        dataset = load_dataset(settings, setup.dataset, variant)
        if dataset.fingerprint != runs[0].dataset_fingerprint:
            raise LabError(
                f"The dataset here is {setup.dataset} {dataset.fingerprint}, the runs were made from "
                f"{runs[0].dataset_fingerprint}: it cannot say what their checkpoints were trained on."
            )
        largest = max(config.subset_size for config in runs)
        test = [dataset.get(sample) for sample in runs[0].sample_ids]
        # The samples of a test suite come from elsewhere than those that the family is trained on.
        trained = get_family(settings, setup.family).dataset
        training = dataset if trained == setup.dataset else load_dataset(settings, trained, variant)
        overlaps = training_overlap(test, training.train[:largest], [largest])
        found.update((each.sample_id, None) for each in overlaps if each.contaminated(largest))
        if variant == "augmented":
            found.update((sample.id, None) for sample in test if _shown(sample) >= THRESHOLD)
    return list(found)


def _shown(sample: Sample) -> float:
    context = context_around(sample.full_code, sample.function)
    return context_overlap(sample, context.before + context.after)
