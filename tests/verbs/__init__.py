"""Small real verbs, so that what runs jobs can be tested without training a model."""
