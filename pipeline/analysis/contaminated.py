"""Which test samples of a set-up the training data of its largest checkpoint may hold."""

from __future__ import annotations

from pipeline.analysis.setups import Setup
from pipeline.contamination import training_overlap
from pipeline.dataset import load_dataset
from pipeline.schema import LabError
from pipeline.settings import Settings


def contaminated(settings: Settings, setup: Setup) -> list[str]:
    """Ids of the samples that the largest training subset holds too much of, in order; loads the dataset.

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
        overlaps = training_overlap(test, dataset.subset(largest), [largest])
        found.update((each.sample_id, None) for each in overlaps if each.contaminated(largest))
    return list(found)
