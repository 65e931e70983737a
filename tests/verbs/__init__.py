"""Small real verbs, so that what runs jobs can be tested without training a model."""

VERBS = {
    "count": "tests.verbs.count",
    "finetune": "tests.verbs.finetune",
    "evaluate": "tests.verbs.evaluate",
    "sweep": "training.sweep",
}
