"""The command ``python -m pipeline.corpus``; the dataset itself is in ``pipeline.data.packages``."""
